//! The bytes of every kind of frame: nodes of other versions in the same store read them.

use storemesh_keys::{PeerId, Signed, Timestamp};

use super::{
    bulk, decode, encode,
    mesh::{
        self, AskUnseen, Candidate, Dark, Got, Have, Listen, Offer, Phase, Presence, ProductState,
        UnseenAnswer,
    },
    uplink::{self, AskLease, AskPart, AskTime, GiveBack, Known, Refused, Report, TerminalState},
};
use crate::{
    HqTime,
    content::{Bits, ChunkId, ListId},
    fixtures::{lease, name, peer, signer},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What stays the same over versions, and is read back as it was.
fn golden<T>(frame: &T, expected: &str)
where
    T: minicbor::Encode<()> + for<'a> minicbor::Decode<'a, ()> + PartialEq + std::fmt::Debug,
{
    let bytes = encode(frame);
    assert_eq!(hex(&bytes), expected);
    assert_eq!(&decode::<T>(&bytes).unwrap(), frame);
}

fn bits() -> Bits {
    let mut bits = Bits::new(10);
    bits.set(0);
    bits.set(9);
    bits
}

fn listen() -> Listen {
    Listen { addresses: vec!["10.0.0.1:7410".parse().unwrap(), "[::1]:1".parse().unwrap()] }
}

fn presence() -> Presence {
    Presence {
        products: vec![ProductState {
            product: name("pos"),
            wanted: name("2"),
            running: Some(name("1")),
            chunks_have: 3,
            chunks_total: 4,
            bytes_from_hq: 5,
            bytes_from_neighbours: 6,
            phase: Phase::Fetching,
            bytes_lacking: None,
        }],
    }
}

#[test]
fn frames_of_the_mesh() {
    let list = ListId([7; 32]);
    let sevens = "07".repeat(32);
    let frame = mesh::Frame::default;
    let have = Some(Have { list, chunks: bits(), more: None });
    golden(&mesh::Frame { have, ..frame() }, &format!("a103a2005820{sevens}01820a420102"));
    let have = Some(Have { list, chunks: bits(), more: Some(true) });
    golden(&mesh::Frame { have, ..frame() }, &format!("a103a3005820{sevens}01820a42010202f5"));
    let got = Some(Got { list, chunks: vec![0, 300] });
    golden(&mesh::Frame { got, ..frame() }, &format!("a104a2005820{sevens}01820019012c"));
    let presence = Some(presence());
    golden(
        &mesh::Frame { presence, ..frame() },
        "a105a10081a80063706f7301613202613103030404050506060703",
    );
    golden(&mesh::Frame { dark: Some(Dark { over: None }), ..frame() }, "a106a0");
    golden(&mesh::Frame { dark: Some(Dark { over: Some(true) }), ..frame() }, "a106a100f5");
    golden(
        &mesh::Frame { listen: Some(listen()), ..frame() },
        "a107a100826d31302e302e302e313a37343130675b3a3a315d3a31",
    );
    let sees = Some(vec![mesh::Seen { peer: peer(7), name: name("t") }]);
    golden(&mesh::Frame { sees, ..frame() }, &format!("a10c81a2005820{sevens}016174"));
    let time = Some(mesh::Time { hq_time: Timestamp(1_800_000_000_000), sure: true, signed: None });
    golden(&mesh::Frame { time, ..frame() }, "a10da2001b000001a3185c500001f5");
    let candidate = Some(Candidate {
        wired: true,
        mains: false,
        delay_ms: Some(40),
        bytes_per_s: None,
        uptime_s: 60,
        no_room: true,
        ended: true,
    });
    golden(&mesh::Frame { candidate, ..frame() }, "a108a600f501f402182804183c05f506f5");
    golden(&mesh::Frame { offer: Some(Offer {}), ..frame() }, "a109a0");
    let ask_unseen = Some(AskUnseen { generation: 1, epoch: 2, challenge: 3 });
    golden(&mesh::Frame { ask_unseen, ..frame() }, "a10aa3000101020203");
    let unseen = Some(UnseenAnswer { word: None });
    golden(&mesh::Frame { unseen, ..frame() }, &["a1", "0b", "a0"].concat());
}

#[test]
fn a_phase_that_a_newer_version_has_does_not_spoil_the_frame() {
    let phases = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| decode::<Phase>(&[number]).unwrap());
    assert_eq!(phases.map(|phase| encode(&phase)), [0, 1, 2, 3, 4, 5, 6, 7].map(|n| vec![n]));
    assert_eq!(decode::<Phase>(&[0x17]), Ok(Phase::Waiting));
}

#[test]
fn frames_of_the_uplink() {
    let frame = uplink::ToHq::default;
    let hello = Some(uplink::Hello { certificate: None, listen: listen().addresses });
    golden(
        &uplink::ToHq { hello, ..frame() },
        "a100a101826d31302e302e302e313a37343130675b3a3a315d3a31",
    );
    golden(&uplink::ToHq { ask_lease: Some(AskLease {}), ..frame() }, "a102a0");
    let terminals = vec![TerminalState { peer: peer(7), presence: Presence::default() }];
    golden(
        &uplink::ToHq { report: Some(Report { terminals, epoch: 5 }), ..frame() },
        &format!("a103a20081a2005820{}01a100800105", "07".repeat(32)),
    );
    golden(&uplink::ToHq { ask_time: Some(AskTime {}), ..frame() }, "a108a0");
    golden(&uplink::ToHq { pong: Some(9), ..frame() }, "a10409");
    golden(&uplink::ToHq { give_back: Some(GiveBack { to: None }), ..frame() }, "a105a0");
    let to = Some(GiveBack { to: Some(peer(7)) });
    let back = format!("a105a1005820{}", "07".repeat(32));
    golden(&uplink::ToHq { give_back: to, ..frame() }, &back);
    let ask_part = Some(AskPart { challenge: 9, words: Vec::new() });
    golden(&uplink::ToHq { ask_part, ..frame() }, "a107a200090180");

    golden(
        &uplink::ToHq { listen: Some(listen()), ..frame() },
        "a106a100826d31302e302e302e313a37343130675b3a3a315d3a31",
    );

    let frame = uplink::FromHq::default;
    let refused = Some(Refused { why: "no".to_owned() });
    golden(&uplink::FromHq { refused, ..frame() }, "a102a100626e6f");
    golden(&uplink::FromHq { ping: Some(9), ..frame() }, "a10509");
    golden(&uplink::FromHq { challenge: Some(9), ..frame() }, "a10609");
    golden(&uplink::FromHq { ended: Some(9), ..frame() }, "a10709");
}

#[test]
fn frames_of_bulk() {
    let chunk = ChunkId([7; 32]);
    golden(&bulk::Request { chunk }, &format!("a1005820{}", "07".repeat(32)));
    golden(&bulk::Reply { chunk, length: 300 }, &format!("a2005820{}0119012c", "07".repeat(32)));
}

#[test]
fn signed_parts_are_read_back_as_they_were() {
    let lease = Some(lease(3, peer(7)).into_signed());
    let frame = mesh::Frame { lease, ..mesh::Frame::default() };
    assert_eq!(decode::<mesh::Frame>(&encode(&frame)).unwrap(), frame);
    let hq = signer();
    let hq_time = HqTime { chain: hq.described().chain, at: Timestamp(7) };
    let signed = hq.sign(&hq_time).into_signed();
    let frame = uplink::FromHq { time: Some(signed.clone()), ..uplink::FromHq::default() };
    assert_eq!(decode::<uplink::FromHq>(&encode(&frame)).unwrap(), frame);
    let time = Some(mesh::Time { hq_time: Timestamp(8), sure: false, signed: Some(signed) });
    let frame = mesh::Frame { time, ..mesh::Frame::default() };
    assert_eq!(decode::<mesh::Frame>(&encode(&frame)).unwrap(), frame);
    let known = Known { peer: peer(1), name: name("till-1"), listen: Vec::new() };
    let online: Signed<_> = hq.online().clone();
    let welcome = Some(uplink::Welcome { online, terminals: vec![known] });
    let frame = uplink::FromHq { welcome, ..uplink::FromHq::default() };
    assert_eq!(decode::<uplink::FromHq>(&encode(&frame)).unwrap(), frame);
}

#[test]
fn an_old_reader_skips_what_a_newer_writer_adds() {
    // Part 99 of a later version, and field 7 of a part that is known.
    let frame = decode::<mesh::Frame>(&[0xa2, 0x06, 0xa1, 0x07, 0x01, 0x18, 0x63, 0x82, 1, 2]);
    let dark = Some(Dark { over: None });
    assert_eq!(frame.unwrap(), mesh::Frame { dark, ..mesh::Frame::default() });
}

#[test]
fn whatever_is_cut_short_or_too_long_is_no_frame() {
    let got = Some(Got { list: ListId([7; 32]), chunks: vec![0, 300] });
    let bytes = encode(&mesh::Frame { got, ..mesh::Frame::default() });
    for end in 0..bytes.len() {
        assert!(decode::<mesh::Frame>(&bytes[..end]).is_err(), "{end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode::<mesh::Frame>(&longer), Err(super::DecodeError::Trailing(1)));
}

proptest::proptest! {
    #[test]
    fn no_bytes_at_all_make_a_reader_panic(bytes in proptest::collection::vec(0_u8.., 0..512)) {
        _ = decode::<mesh::Frame>(&bytes);
        _ = decode::<uplink::ToHq>(&bytes);
        _ = decode::<uplink::FromHq>(&bytes);
        _ = decode::<bulk::Request>(&bytes);
        _ = decode::<bulk::Reply>(&bytes);
    }

    #[test]
    fn a_frame_with_bytes_changed_makes_no_reader_panic(
        at in 0_usize..400, byte: u8, peer_byte: u8,
    ) {
        let lease = Some(lease(3, PeerId::from_bytes([peer_byte; 32])).into_signed());
        let presence = Some(presence());
        let frame = mesh::Frame { lease, presence, ..mesh::Frame::default() };
        let mut bytes = encode(&frame);
        let at = at % bytes.len();
        bytes[at] = byte;
        _ = decode::<mesh::Frame>(&bytes);
    }
}
