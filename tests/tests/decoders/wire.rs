//! Frames, before anybody looks at what they say.

use core::net::SocketAddr;

use storemesh_keys::{Enrolment, Signed};
use storemesh_protocol::{
    Unseen,
    content::{Bits, ChunkId, ListId},
    wire::{
        CONTROL_MAX, REPORT_MAX, bulk, decode, encode,
        mesh::{
            self, AskUnseen, Candidate, Dark, Got, Have, Hello, Listen, Offer, Phase, Presence,
            ProductState, Seen, UnseenAnswer,
        },
        uplink::{
            self, AskLease, AskPart, Enrol, FromHq, GiveBack, Known, Refused, Report,
            TerminalState, ToHq, Word,
        },
    },
};
use storemesh_tests::fuzz::Target;

use crate::{
    MEMORY,
    chain::{certificate, chain, lease, name, peer, signer, terminal},
};

/// The largest frame may be made of the smallest parts: a presence's product takes 20 bytes on the
/// wire and some 200 in memory, in a list that grows by doubling.
const TIMES: usize = 32;

pub(crate) fn presence() -> Presence {
    let product = ProductState {
        product: name("pos"),
        wanted: name("2"),
        running: Some(name("1")),
        chunks_have: 3,
        chunks_total: 400,
        bytes_from_hq: 5,
        bytes_from_neighbours: 1 << 40,
        phase: Phase::NoRoom,
        bytes_lacking: Some(7),
    };
    Presence { products: vec![product.clone(), product] }
}

fn addresses() -> Vec<SocketAddr> {
    vec!["10.0.0.1:7410".parse().unwrap(), "[fe80::1]:7410".parse().unwrap()]
}

fn unseen(number: u8) -> Signed<Unseen> {
    let unseen = Unseen {
        chain: chain(),
        store: name("s1"),
        generation: 1,
        epoch: 3,
        asker: peer(3),
        challenge: 7,
    };
    Signed::sign(&terminal(number), &unseen)
}

pub(crate) fn hello(number: u8) -> mesh::Frame {
    let listen = vec!["10.0.0.1:7410".parse().unwrap(), "[fe80::1%3]:7410".parse().unwrap()];
    let certificate = certificate(number).into_signed();
    mesh::Frame { hello: Some(Hello { certificate, listen }), ..mesh::Frame::default() }
}

pub(crate) fn mesh_frames() -> Vec<mesh::Frame> {
    let frame = mesh::Frame::default;
    let (list, manifest) = {
        let (head, manifest) = crate::chain::release("2");
        (storemesh_protocol::content::list_id(&head.manifest), manifest)
    };
    let content = storemesh_protocol::content::list_id(manifest.chunks());
    let bits = Bits::full(9);
    let candidate = Candidate {
        wired: true,
        mains: false,
        delay_ms: Some(40),
        bytes_per_s: Some(2_000_000),
        uptime_s: 600,
        no_room: true,
        ended: true,
    };
    let seen = Seen { peer: peer(3), name: name("till-3") };
    vec![
        hello(4),
        frame(),
        mesh::Frame { lease: Some(lease(3, 4).into_signed()), ..frame() },
        mesh::Frame {
            have: Some(Have { list: content, chunks: bits, more: Some(true) }),
            ..frame()
        },
        mesh::Frame { have: Some(Have { list, chunks: Bits::full(1), more: None }), ..frame() },
        mesh::Frame { got: Some(Got { list: content, chunks: vec![0, 5, 300] }), ..frame() },
        mesh::Frame { presence: Some(presence()), ..frame() },
        mesh::Frame { dark: Some(Dark { over: None }), ..frame() },
        mesh::Frame { listen: Some(Listen { addresses: addresses() }), ..frame() },
        mesh::Frame { candidate: Some(candidate), ..frame() },
        mesh::Frame { offer: Some(Offer {}), ..frame() },
        mesh::Frame {
            ask_unseen: Some(AskUnseen { generation: 1, epoch: 3, challenge: 7 }),
            ..frame()
        },
        mesh::Frame { unseen: Some(UnseenAnswer { word: Some(unseen(4)) }), ..frame() },
        mesh::Frame { sees: Some(vec![seen]), ..frame() },
    ]
}

pub(crate) fn to_hq_frames() -> Vec<ToHq> {
    let frame = ToHq::default;
    let code = terminal(99);
    let enrolment = Enrolment { chain: chain(), peer: peer(4), name: name("till-4") };
    let enrol = Enrol { invitation: code.public(), proof: Signed::sign(&code, &enrolment) };
    let hello =
        |certificate| uplink::Hello { certificate, listen: vec!["10.0.0.1:7410".parse().unwrap()] };
    let word = Word { by: peer(4), unseen: unseen(4) };
    let state = TerminalState { peer: peer(4), presence: presence() };
    vec![
        ToHq { hello: Some(hello(Some(certificate(4).into_signed()))), ..frame() },
        ToHq { hello: Some(hello(None)), ..frame() },
        ToHq { enrol: Some(enrol), ..frame() },
        ToHq { ask_lease: Some(AskLease {}), ..frame() },
        ToHq { report: Some(Report { terminals: vec![state], epoch: 3 }), ..frame() },
        ToHq { pong: Some(9), ..frame() },
        ToHq { listen: Some(Listen { addresses: addresses() }), ..frame() },
        ToHq { ask_part: Some(AskPart { challenge: 7, words: vec![word] }), ..frame() },
        ToHq { give_back: Some(GiveBack { to: Some(peer(5)) }), ..frame() },
    ]
}

pub(crate) fn from_hq_frames() -> Vec<FromHq> {
    let frame = FromHq::default;
    let known = Known {
        peer: peer(5),
        name: name("till-5"),
        listen: vec!["10.0.0.5:7410".parse().unwrap()],
    };
    let welcome = uplink::Welcome { online: signer().online().clone(), terminals: vec![known] };
    vec![
        FromHq { welcome: Some(welcome), ..frame() },
        FromHq { enrolled: Some(certificate(3).into_signed()), ..frame() },
        FromHq { refused: Some(Refused { why: "no".to_owned() }), ..frame() },
        FromHq { lease: Some(lease(4, 3).into_signed()), ..frame() },
        FromHq { ping: Some(9), ..frame() },
        FromHq { challenge: Some(7), ..frame() },
        FromHq { ended: Some(3), ..frame() },
    ]
}

/// What is accepted is the same after being written and read again.
pub(crate) fn again<T>(input: &[u8]) -> String
where
    T: minicbor::Encode<()> + for<'a> minicbor::Decode<'a, ()> + PartialEq + std::fmt::Debug,
{
    match decode::<T>(input) {
        Err(why) => why.to_string(),
        Ok(frame) => {
            let encoded = encode(&frame);
            assert_eq!(decode::<T>(&encoded).as_ref(), Ok(&frame));
            format!("read {}", shape(&frame))
        }
    }
}

/// Which parts it has, not what they say: no hash is a word with other letters than `a` to `f`.
pub(crate) fn shape(frame: &impl std::fmt::Debug) -> String {
    let said = format!("{frame:?}");
    let words = said.split(|c: char| !c.is_ascii_alphanumeric());
    let is_name =
        |word: &&str| word.chars().all(|c| c.is_ascii_alphabetic()) && word.contains(|c| 'f' < c);
    words.filter(is_name).take(40).collect::<Vec<_>>().concat()
}

pub(crate) fn try_out(
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    memory_max: fn(usize) -> usize,
    run: fn(&[u8]) -> String,
) {
    Target { name, seeds, memory_max, mutations: 4000, memory: &MEMORY, run }.try_out();
}

fn encoded<T: minicbor::Encode<()>>(frames: Vec<T>) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| encode(frame)).collect()
}

#[test]
fn a_frame_of_a_neighbour() {
    let most = |bytes: usize| TIMES * bytes.min(CONTROL_MAX);
    try_out("mesh_frame", encoded(mesh_frames()), most, again::<mesh::Frame>);
}

#[test]
fn a_frame_of_a_terminal() {
    let most = |bytes: usize| TIMES * bytes.min(REPORT_MAX);
    try_out("to_hq_frame", encoded(to_hq_frames()), most, again::<ToHq>);
}

#[test]
fn a_frame_of_hq() {
    let most = |bytes: usize| TIMES * bytes.min(CONTROL_MAX);
    try_out("from_hq_frame", encoded(from_hq_frames()), most, again::<FromHq>);
}

#[test]
fn a_request_for_a_chunk() {
    let seeds = vec![encode(&bulk::Request { chunk: ChunkId([7; 32]) })];
    try_out("bulk_request", seeds, |_| bulk::HEAD_MAX, again::<bulk::Request>);
}

#[test]
fn an_answer_with_a_chunk() {
    let seeds = vec![encode(&bulk::Reply { chunk: ChunkId([7; 32]), length: 300 })];
    try_out("bulk_reply", seeds, |_| bulk::HEAD_MAX, again::<bulk::Reply>);
}

#[test]
fn a_set_of_bits() {
    let set = |len| {
        let mut bits = Bits::new(len);
        bits.set(len / 2);
        minicbor::to_vec(bits).unwrap()
    };
    try_out("bits", [0, 1, 9, 64, 131_072].map(set).into(), |bytes| 3 * bytes, again::<Bits>);
}

#[test]
fn the_name_of_a_list() {
    let seeds = vec![encode(&ListId([7; 32]))];
    try_out("list_id", seeds, |_| 0, again::<ListId>);
}
