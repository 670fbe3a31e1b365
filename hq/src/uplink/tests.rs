//! A hand-made terminal calls a real HQ over QUIC on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use quinn::{ConnectionError, Endpoint, RecvStream, SendStream};
use storemesh_host::{
    clock::wall,
    db::Db,
    frames::write_frame,
    quic::{client_endpoint, connect, server_endpoint},
};
use storemesh_keys::{
    Certificate, ChainId, Enrolment, Expiry, HqSigned, HqSigner, SecretKey, Signed, Trust,
};
use storemesh_protocol::{
    content::{ChunkId, pack, unpack},
    feeds::{Boot, hq::Cursor},
    hq::{Answer, Hq, INVITATION_VALID, Order},
    wire::{
        self, CONTROL_MAX,
        bulk::{HEAD_MAX, Reply, Request},
        feeds::{FEED_FRAME_MAX, FEEDS_STREAM, FeedFrame},
        mesh::BULK_STREAM,
        uplink::{AskLease, Enrol, FromHq, Hello, ToHq},
    },
};
use tempfile::TempDir;

use super::*;
use crate::{db, driver, feeds::till::Till, own_key};

/// HQ without its admin API.
struct World {
    _data: TempDir,
    inbox: Inbox,
    chunks: Chunks,
    books: Arc<Db>,
    signer: HqSigner,
    trust: Trust,
    hq: SecretKey,
    address: SocketAddr,
}

async fn world() -> World {
    let data = tempfile::tempdir().unwrap();
    let root = SecretKey::generate();
    own_key::create(data.path(), &root, &"acme".parse().unwrap(), wall()).unwrap();
    let own = own_key::load(data.path(), wall()).unwrap();
    assert_eq!(own.trust.chain, ChainId::of_root(root.public()));
    let db = db::open(&data.path().join("hq.redb")).unwrap();
    let hq = Hq::load(own.signer.clone(), own.trust, &db.rows().unwrap()).unwrap();
    let (inbox, _) = driver::start(hq, db).unwrap();
    let books = Arc::new(crate::feeds::open(&data.path().join(crate::feeds::FILE)).unwrap());
    let feeds = crate::feeds::start(&own, books.clone(), inbox.clone()).await.unwrap().inbox;
    let chunks = Chunks::open(data.path()).unwrap();
    let endpoint = server_endpoint(&own.key, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(Uplink::new(inbox.clone(), feeds, chunks.clone()).listen(Listener::new(endpoint)));
    World {
        _data: data,
        inbox,
        chunks,
        books,
        signer: own.signer,
        trust: own.trust,
        hq: own.key,
        address,
    }
}

struct Caller {
    _endpoint: Endpoint,
    connection: Connection,
    out: SendStream,
    input: RecvStream,
}

impl World {
    async fn call(&self, key: &SecretKey, hello: ToHq) -> Caller {
        let endpoint = client_endpoint(key).unwrap();
        let (connection, hq) = connect(&endpoint, self.address).await.unwrap();
        assert_eq!(hq, self.hq.peer_id());
        let (out, input) = connection.open_bi().await.unwrap();
        let mut caller = Caller { _endpoint: endpoint, connection, out, input };
        caller.say(&hello).await;
        caller
    }

    async fn order(&self, order: Order) -> Answer {
        self.inbox.order(order).await.unwrap().unwrap()
    }

    /// A terminal with a certificate.
    async fn enrolled(&self) -> (SecretKey, HqSigned<Certificate>) {
        let store: storemesh_keys::Name = "s1".parse().unwrap();
        _ = self.order(Order::AddStore { store: store.clone() }).await;
        let code = SecretKey::generate();
        let invitation = code.public();
        _ = self.order(Order::Invite { store, invitation, valid: INVITATION_VALID }).await;

        let key = SecretKey::generate();
        let name = "till-1".parse().unwrap();
        let enrolment = Enrolment { chain: self.trust.chain, peer: key.peer_id(), name };
        let proof = Signed::sign(&code, &enrolment);
        let mut caller = self.call(&key, hello(None)).await;
        let welcome = caller.hear().await.welcome.unwrap();
        assert_eq!(welcome.online.verify(self.trust.chain.root()).unwrap().key, self.hq.public());
        caller.say(&ToHq { enrol: Some(Enrol { invitation, proof }), ..ToHq::default() }).await;
        let certificate = caller.hear().await.enrolled.unwrap();
        let read = certificate.verify(&self.trust, wall(), Expiry::Enforced).unwrap();
        assert_eq!((read.peer, read.store.as_ref()), (key.peer_id(), "s1"));
        (key, certificate)
    }
}

impl Caller {
    async fn say(&mut self, frame: &ToHq) {
        write_frame(&mut self.out, &wire::encode(frame)).await.unwrap();
    }

    async fn hear(&mut self) -> FromHq {
        wire::decode(&read_frame(&mut self.input, CONTROL_MAX).await.unwrap().unwrap()).unwrap()
    }

    /// Why HQ hung up, which it does soon.
    async fn hung_up(&self) -> ConnectionError {
        timeout(2 * LINGER, self.connection.closed()).await.expect("HQ hangs up")
    }
}

fn hello(certificate: Option<HqSigned<Certificate>>) -> ToHq {
    ToHq { hello: Some(Hello { certificate, listen: Vec::new() }), ..ToHq::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_terminal_fetches_chunks_in_the_order_in_which_it_asks() {
    let world = world().await;
    let noise: Vec<u8> = (0..50_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
    let packed: Vec<_> =
        [b"till program".repeat(20_000), noise].iter().map(|it| pack(it)).collect();
    for (chunk, stored) in &packed {
        world.chunks.put(chunk, stored).unwrap();
    }
    let (key, certificate) = world.enrolled().await;
    let mut caller = world.call(&key, hello(Some(certificate))).await;
    assert!(caller.hear().await.welcome.is_some());
    caller.say(&ToHq { ask_lease: Some(AskLease {}), ..ToHq::default() }).await;
    let lease = caller.hear().await.lease.unwrap();
    let lease = lease.verify(&world.trust, wall(), Expiry::Enforced).unwrap();
    assert_eq!((lease.holder, lease.epoch), (key.peer_id(), 1));

    let nobodys = ChunkId([7; 32]);
    let asked = [packed[1].0.id, nobodys, packed[0].0.id, packed[1].0.id];
    let (mut out, mut input) = caller.connection.open_bi().await.unwrap();
    out.write_all(&[BULK_STREAM]).await.unwrap();
    for chunk in asked {
        write_frame(&mut out, &wire::encode(&Request { chunk })).await.unwrap();
    }
    for chunk in asked {
        let head = read_frame(&mut input, HEAD_MAX).await.unwrap().unwrap();
        let head: Reply = wire::decode(&head).unwrap();
        assert_eq!(head.chunk, chunk);
        let mut stored = vec![0; head.length as usize];
        input.read_exact(&mut stored).await.unwrap();
        match packed.iter().find(|(known, _)| known.id == chunk) {
            Some((known, _)) => {
                assert_eq!(unpack(known, &stored).unwrap().len(), known.plain as usize);
            }
            None => assert_eq!(head.length, 0),
        }
    }
    out.finish().unwrap();
    assert!(read_frame(&mut input, HEAD_MAX).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_no_chunk() {
    let world = world().await;
    let (chunk, stored) = pack(b"till program");
    world.chunks.put(&chunk, &stored).unwrap();
    let mut caller = world.call(&SecretKey::generate(), hello(None)).await;
    assert!(caller.hear().await.welcome.is_some());
    let (mut out, mut input) = caller.connection.open_bi().await.unwrap();
    out.write_all(&[BULK_STREAM]).await.unwrap();
    write_frame(&mut out, &wire::encode(&Request { chunk: chunk.id })).await.unwrap();
    let answer = timeout(Duration::from_millis(300), read_frame(&mut input, HEAD_MAX)).await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_before_hq_hangs_up() {
    let world = world().await;
    let key = SecretKey::generate();
    let enrolment =
        Enrolment { chain: world.trust.chain, peer: key.peer_id(), name: "till".parse().unwrap() };
    let code = SecretKey::generate();
    let mut frame = hello(None);
    let (invitation, proof) = (code.public(), Signed::sign(&code, &enrolment));
    frame.enrol = Some(Enrol { invitation, proof });
    let mut caller = world.call(&key, frame).await;
    assert!(caller.hear().await.welcome.is_some());
    let refused = caller.hear().await.refused.unwrap();
    assert!(!refused.why.is_empty());
    assert!(matches!(caller.hung_up().await, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_too_much_or_nonsense_is_hung_up_on() {
    let world = world().await;
    for (length, body) in [(u32::MAX, &[0_u8; 8][..]), (8, b"nonsense")] {
        let endpoint = client_endpoint(&SecretKey::generate()).unwrap();
        let (connection, _) = connect(&endpoint, world.address).await.unwrap();
        let (mut out, _input) = connection.open_bi().await.unwrap();
        out.write_all(&[&length.to_be_bytes(), body].concat()).await.unwrap();
        let why = timeout(2 * LINGER, connection.closed()).await.expect("HQ hangs up");
        assert!(matches!(why, ConnectionError::ApplicationClosed(_)), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_comes_back_holds_its_lease_and_is_seen_to_go() {
    let world = world().await;
    let (key, certificate) = world.enrolled().await;
    let caller = world.call(&key, hello(Some(certificate.clone()))).await;
    caller.connection.close(0_u32.into(), b"");
    let mut caller = world.call(&key, hello(Some(certificate))).await;
    caller.hear().await;
    caller.say(&ToHq { ask_lease: Some(AskLease {}), ..ToHq::default() }).await;
    assert!(caller.hear().await.lease.is_some());
    let Answer::Fleet(rows) = world.order(Order::Fleet).await else { panic!() };
    assert!(rows[0].gateway && rows[0].online);
    drop(caller);
    // A dropped connection says goodbye; HQ hears it within moments.
    for _ in 0..50 {
        let Answer::Fleet(rows) = world.order(Order::Fleet).await else { panic!() };
        if !rows[0].online {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("HQ still takes it for online");
}

/// What HQ says on a feeds stream, put together until `enough`.
async fn hear_feeds(input: &mut RecvStream, enough: impl Fn(&FeedFrame) -> bool) -> FeedFrame {
    let hearing = async {
        loop {
            let frame = read_frame(input, FEED_FRAME_MAX).await.unwrap().expect("it goes on");
            let frame = FeedFrame::read(&frame).unwrap();
            if enough(&frame) {
                return frame;
            }
        }
    };
    timeout(Duration::from_secs(10), hearing).await.expect("HQ says it soon")
}

async fn open_feeds(caller: &Caller) -> (SendStream, RecvStream) {
    let (mut out, input) = caller.connection.open_bi().await.unwrap();
    out.write_all(&[FEEDS_STREAM]).await.unwrap();
    (out, input)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_a_terminal_gives_is_acknowledged_when_it_is_on_disk() {
    let world = world().await;
    let (key, certificate) = world.enrolled().await;
    let mut till = Till::new(&world.signer, "till-1", "s1").with(&key, certificate.clone());
    let mut caller = world.call(&key, hello(Some(certificate))).await;
    assert!(caller.hear().await.welcome.is_some());
    let (mut out, mut input) = open_feeds(&caller).await;
    let first = hear_feeds(&mut input, |frame| frame.boot.is_some()).await;
    assert_eq!(first.boot, Some(Boot(1)), "HQ's generation");
    write_frame(&mut out, &till.writes("sales", b"{}")).await.unwrap();
    let acked = hear_feeds(&mut input, |frame| frame.acks.is_some()).await.acks.unwrap();
    let ack = acked[0].verify(&world.trust, wall(), Expiry::Enforced).unwrap();
    assert_eq!((ack.seq, ack.feed.author.peer()), (1, key.peer_id()));
    let on_disk = world.books.look(|read| Cursor::newest(read).to_string()).unwrap();
    assert_eq!(on_disk, "1-1");

    // It may end its stream and open another.
    out.finish().unwrap();
    let (mut out, mut input) = open_feeds(&caller).await;
    write_frame(&mut out, &till.writes("sales", b"{}")).await.unwrap();
    hear_feeds(&mut input, |frame| frame.acks.is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_no_kind_is_reset_and_nonsense_on_feeds_ends_the_link() {
    let world = world().await;
    let (key, certificate) = world.enrolled().await;
    let mut caller = world.call(&key, hello(Some(certificate))).await;
    assert!(caller.hear().await.welcome.is_some());
    let (mut out, mut input) = caller.connection.open_bi().await.unwrap();
    out.write_all(&[77]).await.unwrap();
    assert!(matches!(input.read(&mut [0]).await, Err(quinn::ReadError::Reset(_))));

    let (mut out, _input) = open_feeds(&caller).await;
    write_frame(&mut out, b"nonsense").await.unwrap();
    assert!(matches!(caller.hung_up().await, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_hears_nothing_of_feeds() {
    let world = world().await;
    let mut caller = world.call(&SecretKey::generate(), hello(None)).await;
    assert!(caller.hear().await.welcome.is_some());
    let (_out, mut input) = open_feeds(&caller).await;
    let heard = timeout(Duration::from_millis(300), read_frame(&mut input, FEED_FRAME_MAX)).await;
    assert!(heard.is_err(), "{heard:?}");
}
