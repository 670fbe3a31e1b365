//! The swarm machine on its own; whole stores are tried in the simulator.

use std::sync::Arc;

use std::collections::BTreeSet;

use super::*;
use crate::content::{ChunkRef, list_id, pack};

const ME_SEED: u64 = 1;

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

/// A list of chunks of a few bytes each.
fn list(chunks: u32) -> Arc<[ChunkRef]> {
    (0..chunks).map(|n| pack(&n.to_be_bytes()).0).collect()
}

fn bits(len: u32, set: impl IntoIterator<Item = u32>) -> Bits {
    let mut bits = Bits::new(len);
    for at in set {
        bits.set(at);
    }
    bits
}

fn len(chunks: &[ChunkRef]) -> u32 {
    u32::try_from(chunks.len()).unwrap()
}

/// The gateway reaches HQ, and nobody is away.
fn hq_up() -> Input {
    Input::HqUp { away: BTreeSet::new() }
}

/// A swarm that seeks `chunks`, with these neighbours that hold these of them.
fn seeking(chunks: &Arc<[ChunkRef]>, holders: &[(u8, &[u32])]) -> (Swarm, Vec<Output>) {
    let mut swarm = Swarm::new(ME_SEED, Instant(1));
    let have = Bits::new(len(chunks));
    let mut outputs = swarm.handle(Instant(1), Input::Seek { chunks: chunks.clone(), have });
    for (n, held) in holders {
        outputs.extend(swarm.handle(Instant(1), Input::NeighbourUp(peer(*n))));
        let chunks = bits(len(chunks), held.iter().copied());
        let list = list_id_of(&swarm);
        let have = Input::Have { peer: peer(*n), list, chunks, looked: Looked::Yes };
        outputs.extend(swarm.handle(Instant(1), have));
    }
    (swarm, outputs)
}

fn list_id_of(swarm: &Swarm) -> ListId {
    swarm.lists[0].id
}

fn fetches(outputs: &[Output]) -> Vec<(Source, ChunkId)> {
    let fetch = |output: &Output| match output {
        Output::Fetch { from, chunk } => Some((*from, chunk.id)),
        Output::Cancel { .. }
        | Output::TellHave { .. }
        | Output::TellGot { .. }
        | Output::Complete(_)
        | Output::Suspect { .. } => None,
    };
    outputs.iter().filter_map(fetch).collect()
}

fn told(outputs: &[Output]) -> Vec<(PeerId, Vec<u32>)> {
    let told = |output: &Output| match output {
        Output::TellGot { peer, chunks, .. } => Some((*peer, chunks.clone())),
        Output::Cancel { .. }
        | Output::TellHave { .. }
        | Output::Fetch { .. }
        | Output::Complete(_)
        | Output::Suspect { .. } => None,
    };
    outputs.iter().filter_map(told).collect()
}

/// What is asked for next when nobody says anything more, which must be soon.
fn next_fetches(swarm: &mut Swarm, mut now: Instant) -> Vec<(Source, ChunkId)> {
    let begun = now;
    loop {
        let deadline = swarm.deadline(now);
        assert!(now < deadline && deadline < begun + Duration::from_secs(10));
        now = deadline;
        let asked = fetches(&swarm.handle(now, Input::Tick));
        if !asked.is_empty() {
            return asked;
        }
    }
}

#[test]
fn the_rarest_chunk_is_asked_for_first_and_each_of_one_neighbour() {
    let chunks = list(3);
    let mut swarm = Swarm::new(ME_SEED, Instant(1));
    _ = swarm.handle(Instant(1), Input::NeighbourUp(peer(1)));
    _ = swarm.handle(Instant(1), Input::NeighbourUp(peer(2)));
    let id = list_id(&chunks);
    for (n, held) in [(1, vec![0, 1, 2]), (2, vec![0, 1])] {
        let chunks = bits(3, held);
        _ = swarm.handle(
            Instant(1),
            Input::Have { peer: peer(n), list: id, chunks, looked: Looked::Yes },
        );
    }
    let have = Bits::new(3);
    let outputs = swarm.handle(Instant(1), Input::Seek { chunks: chunks.clone(), have });
    let asked = fetches(&outputs);
    assert_eq!(asked[0], (Source::Neighbour(peer(1)), chunks[2].id));
    let mut all: Vec<ChunkId> = asked.iter().map(|(_, chunk)| *chunk).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!((all.len(), asked.len()), (3, 3), "each once");
    assert!(asked.iter().any(|(from, _)| *from == Source::Neighbour(peer(2))), "spread");
}

#[test]
fn the_gateway_asks_hq_only_for_what_nobody_in_the_store_holds() {
    let chunks = list(4);
    let (mut swarm, _) = seeking(&chunks, &[(1, &[0, 1]), (2, &[1])]);
    let outputs = swarm.handle(Instant(1), hq_up());
    let from_hq: Vec<ChunkId> = fetches(&outputs)
        .into_iter()
        .filter(|(from, _)| *from == Source::Hq)
        .map(|(_, chunk)| chunk)
        .collect();
    assert_eq!(from_hq, [chunks[2].id, chunks[3].id]);
}

#[test]
fn the_gateway_asks_around_before_it_asks_hq_but_not_for_ever() {
    let chunks = list(2);
    let mut swarm = Swarm::new(ME_SEED, Instant(1));
    _ = swarm.handle(Instant(1), Input::NeighbourUp(peer(1)));
    _ = swarm.handle(Instant(1), hq_up());
    let have = Bits::new(2);
    let outputs = swarm.handle(Instant(1), Input::Seek { chunks, have });
    assert_eq!(fetches(&outputs), []);
    let deadline = swarm.deadline(Instant(1));
    assert_eq!(deadline, Instant(1) + ASK_AROUND);
    assert_eq!(fetches(&swarm.handle(deadline, Input::Tick)).len(), 2);
}

#[test]
fn a_gateway_that_has_just_started_lets_the_others_come_before_it_asks_hq() {
    let chunks = list(2);
    let seeking = |at: Instant, away: &[u8]| {
        let mut swarm = Swarm::new(ME_SEED, Instant(1));
        let (chunks, have) = (chunks.clone(), Bits::new(2));
        _ = swarm.handle(at, Input::Seek { chunks, have });
        let away = away.iter().copied().map(peer).collect();
        let asked = fetches(&swarm.handle(at, Input::HqUp { away }));
        (swarm, asked.len())
    };
    let (mut swarm, asked) = seeking(Instant(1), &[1, 2]);
    assert_eq!(asked, 0);
    for n in [1, 2] {
        assert_eq!(fetches(&swarm.handle(Instant(2), Input::NeighbourUp(peer(n)))), []);
        let (list, looked) = (list_id(&chunks), Looked::Yes);
        let have = Input::Have { peer: peer(n), list, chunks: bits(2, [0]), looked };
        let asked = fetches(&swarm.handle(Instant(2), have));
        assert_eq!(asked.contains(&(Source::Hq, chunks[1].id)), n == 2, "both have spoken: {n}");
        assert!(!asked.contains(&(Source::Hq, chunks[0].id)), "they have it");
    }

    let (mut swarm, _) = seeking(Instant(1), &[1]);
    let due = swarm.deadline(Instant(1));
    assert_eq!(due, Instant(1) + ASK_AROUND);
    assert_eq!(fetches(&swarm.handle(due, Input::Tick)).len(), 2, "it may be switched off");
    assert_eq!(seeking(due, &[1]).1, 2, "who does not come in that time is not waited for again");
    assert_eq!(seeking(Instant(1), &[]).1, 2, "nor is anybody where nobody else is");
}

#[test]
fn nobody_waits_for_a_neighbour_that_has_no_room() {
    let chunks = list(2);
    let mut swarm = Swarm::new(ME_SEED, Instant(1));
    for n in [1, 2] {
        _ = swarm.handle(Instant(1), Input::NeighbourUp(peer(n)));
    }
    let no_room = |no_room| Input::NoRoom { peer: peer(1), no_room };
    _ = swarm.handle(Instant(1), no_room(true));
    _ = swarm.handle(Instant(1), hq_up());
    let (list, have) = (list_id(&chunks), Bits::new(2));
    let outputs = swarm.handle(Instant(1), Input::Seek { chunks, have: have.clone() });
    assert_eq!(fetches(&outputs), [], "the other may hold it");
    assert_eq!(fetches(&swarm.handle(Instant(2), no_room(false))), []);
    _ = swarm.handle(Instant(3), no_room(true));
    let looked = Input::Have { peer: peer(2), list, chunks: have, looked: Looked::Yes };
    assert_eq!(fetches(&swarm.handle(Instant(4), looked)).len(), 2);
}

#[test]
fn a_chunk_from_hq_is_entrusted_to_one_neighbour_in_turn_and_in_time_to_all() {
    let chunks = list(8);
    let (mut swarm, _) = seeking(&chunks, &[(1, &[]), (2, &[])]);
    _ = swarm.handle(Instant(1), hq_up());
    let mut now = Instant(1_000_000);
    let mut trusted = Vec::new();
    for chunk in &chunks[..4] {
        now = now + TELL_EVERY;
        let input = Input::Fetched { from: Source::Hq, chunk: chunk.id, bytes: 5 };
        trusted.extend(told(&swarm.handle(now, input)));
    }
    assert_eq!(
        trusted,
        [(peer(1), vec![0]), (peer(2), vec![1]), (peer(1), vec![2]), (peer(2), vec![3])]
    );
    // Neither got on with it, so both hear of all.
    let mut late = BTreeSet::new();
    for (peer, chunks) in told(&swarm.handle(now + QUIET, Input::Tick)) {
        late.extend(chunks.into_iter().map(|at| (peer, at)));
    }
    assert!(late.contains(&(peer(1), 1)) && late.contains(&(peer(2), 0)), "{late:?}");
}

#[test]
fn in_a_large_store_only_what_comes_from_the_gateway_is_told_of_at_once() {
    const GATEWAY: u8 = 1;
    const RELAY: u8 = 2;
    let chunks = list(120);
    let all: Vec<u32> = (0..120).collect();
    let others = (3..=50).map(|n| (n, &[][..]));
    let holders: Vec<_> =
        [(GATEWAY, &all[..]), (RELAY, &all[..])].into_iter().chain(others).collect();
    let (mut swarm, _) = seeking(&chunks, &holders);
    _ = swarm.handle(Instant(1), Input::Gateway(Some(peer(GATEWAY))));
    let mut now = Instant(1_000_000);
    let mut fetched = |from, at: u32| {
        let from = Source::Neighbour(peer(from));
        let chunk = chunks[at as usize].id;
        now = now + TELL_EVERY;
        told(&swarm.handle(now, Input::Fetched { from, chunk, bytes: 5 }))
    };
    // For five seconds a chunk every 50 ms: 48 neighbours hear of it each half a second.
    let said: usize = (0..100).map(|at| fetched(RELAY, at).len()).sum();
    assert!((48 * 9..=48 * 11).contains(&said), "{said}");
    // They wait for what nobody else has been told of, and hear of the rest with it.
    for at in 100..110 {
        let heard = fetched(GATEWAY, at);
        assert_eq!(heard.len(), 48);
        assert!(heard.iter().all(|(_, chunks)| chunks.contains(&at)));
    }
}

#[test]
fn a_liar_is_never_asked_again_even_when_it_comes_back() {
    let chunks = list(2);
    let (mut swarm, outputs) = seeking(&chunks, &[(1, &[0, 1])]);
    let (from, chunk) = fetches(&outputs)[0];
    let wrong = Input::NotFetched { from, chunk, why: FetchError::Wrong };
    let outputs = swarm.handle(Instant(2), wrong);
    assert!(outputs.iter().any(|o| matches!(o, Output::Suspect { .. })));
    assert!(swarm.shuns(&peer(1)) && !swarm.shuns(&peer(2)));
    let id = list_id_of(&swarm);
    for input in [
        Input::NeighbourLost(peer(1)),
        Input::NeighbourUp(peer(1)),
        Input::Have { peer: peer(1), list: id, chunks: Bits::full(2), looked: Looked::Yes },
    ] {
        assert_eq!(fetches(&swarm.handle(Instant(3), input)), []);
    }
    _ = swarm.handle(Instant(4), Input::NeighbourUp(peer(2)));
    let have = Input::Have { peer: peer(2), list: id, chunks: Bits::full(2), looked: Looked::Yes };
    assert_eq!(fetches(&swarm.handle(Instant(4), have)).len(), 2, "an honest one serves");
}

#[test]
fn what_a_silent_neighbour_owes_is_asked_of_another() {
    let chunks = list(1);
    let (mut swarm, outputs) = seeking(&chunks, &[(1, &[0])]);
    assert_eq!(fetches(&outputs), [(Source::Neighbour(peer(1)), chunks[0].id)]);
    let id = list_id_of(&swarm);
    _ = swarm.handle(Instant(2), Input::NeighbourUp(peer(2)));
    let have = Input::Have { peer: peer(2), list: id, chunks: Bits::full(1), looked: Looked::Yes };
    assert_eq!(fetches(&swarm.handle(Instant(2), have)), [], "one assignment a chunk");
    let asked = next_fetches(&mut swarm, Instant(2));
    assert_eq!(asked, [(Source::Neighbour(peer(2)), chunks[0].id)]);
}

#[test]
fn what_only_a_silent_neighbour_holds_the_gateway_gets_from_hq() {
    let chunks = list(1);
    let (mut swarm, outputs) = seeking(&chunks, &[(1, &[0])]);
    assert_eq!(fetches(&outputs).len(), 1);
    assert_eq!(fetches(&swarm.handle(Instant(2), hq_up())), [], "a neighbour has it");
    assert_eq!(next_fetches(&mut swarm, Instant(2)), [(Source::Hq, chunks[0].id)]);
}

#[test]
fn a_whole_list_is_complete_at_once_and_served() {
    let chunks = list(3);
    let mut swarm = Swarm::new(ME_SEED, Instant(1));
    _ = swarm.handle(Instant(1), Input::NeighbourUp(peer(1)));
    let have = Bits::full(3);
    let outputs = swarm.handle(Instant(1), Input::Seek { chunks: chunks.clone(), have });
    let id = list_id(&chunks);
    assert!(outputs.contains(&Output::Complete(id)));
    assert!(outputs.contains(&Output::TellHave {
        peer: peer(1),
        list: id,
        chunks: Bits::full(3),
        looked: Looked::Yes
    }));
    assert_eq!(swarm.deadline(Instant(1)), Instant::NEVER);
}

#[test]
fn a_neighbour_that_claims_chunks_beyond_the_list_is_named() {
    let chunks = list(3);
    let (mut swarm, _) = seeking(&chunks, &[(1, &[])]);
    let list = list_id_of(&swarm);
    for input in [
        Input::Have { peer: peer(1), list, chunks: Bits::full(4), looked: Looked::Yes },
        Input::Got { peer: peer(1), list, chunks: vec![3] },
    ] {
        let outputs = swarm.handle(Instant(2), input);
        assert!(outputs.iter().any(|o| matches!(o, Output::Suspect { .. })));
        assert_eq!(fetches(&outputs), []);
    }
}

#[test]
fn the_gateway_waits_longer_for_a_neighbour_that_is_still_looking() {
    let chunks = list(2);
    let mut swarm = Swarm::new(ME_SEED, Instant(1));
    _ = swarm.handle(Instant(1), Input::NeighbourUp(peer(1)));
    _ = swarm.handle(Instant(1), hq_up());
    let (list, looked) = (list_id(&chunks), Looked::NotYet);
    let looking = Input::Have { peer: peer(1), list, chunks: Bits::new(2), looked };
    _ = swarm.handle(Instant(1), looking);
    let have = Bits::new(2);
    assert_eq!(fetches(&swarm.handle(Instant(1), Input::Seek { chunks, have })), []);
    let later = Instant(1) + ASK_AROUND * 4;
    assert_eq!(fetches(&swarm.handle(later, Input::Tick)), []);
    let looked = Looked::Yes;
    let found = Input::Have { peer: peer(1), list, chunks: bits(2, [1]), looked };
    let asked: Vec<Source> =
        fetches(&swarm.handle(later, found)).into_iter().map(|(from, _)| from).collect();
    assert_eq!(asked, [Source::Hq, Source::Neighbour(peer(1))]);
}

#[test]
fn a_neighbour_may_speak_of_ever_new_lists_and_what_we_seek_is_never_forgotten() {
    let chunks = list(1);
    let (mut swarm, _) = seeking(&chunks, &[(1, &[])]);
    for n in 1..500_u32 {
        let list = list_id(&[pack(&n.to_le_bytes()).0]);
        let (chunks, looked) = (Bits::full(1), Looked::Yes);
        _ = swarm.handle(Instant(2), Input::Have { peer: peer(1), list, chunks, looked });
    }
    assert!(swarm.neighbours[&peer(1)].lists().count() <= 64);
    let got = Input::Got { peer: peer(1), list: list_id_of(&swarm), chunks: vec![0] };
    assert_eq!(fetches(&swarm.handle(Instant(3), got)).len(), 1);
}

#[test]
fn what_a_full_disk_holds_is_told_and_served_and_no_more_is_asked_for() {
    let chunks = list(3);
    let (mut swarm, outputs) = seeking(&chunks, &[(1, &[0, 1])]);
    let from = Source::Neighbour(peer(1));
    let asked = fetches(&outputs);
    assert_eq!(asked.len(), 2);
    let id = list_id_of(&swarm);
    let (here, awaited) = (asked[0].1, asked[1].1);
    _ = swarm.handle(Instant(2), Input::Fetched { from, chunk: here, bytes: 5 });
    let outputs = swarm.handle(Instant(3), Input::Hold(id));
    assert!(outputs.contains(&Output::Cancel { from, chunk: awaited }), "{outputs:?}");
    assert_eq!(fetches(&swarm.handle(Instant(4), hq_up())), []);
    let later = Instant(5) + ASK_AROUND;
    assert_eq!(fetches(&swarm.handle(later, Input::Tick)), []);
    assert_eq!(swarm.deadline(later), Instant::NEVER, "it waits for nothing");

    let at = swarm.lists[0].place_of(&here).unwrap();
    let held = |looked, peer| Output::TellHave { peer, list: id, chunks: bits(3, [at]), looked };
    let outputs = swarm.handle(later, Input::NeighbourUp(peer(2)));
    assert!(outputs.contains(&held(Looked::Yes, peer(2))), "{outputs:?}");
    let outputs = swarm.handle(later, Input::Expect { chunks: chunks.clone() });
    assert!(outputs.contains(&held(Looked::NotYet, peer(1))), "it is not unsaid: {outputs:?}");
    let outputs = swarm.handle(later, Input::Seek { chunks, have: bits(3, [at]) });
    assert_eq!(fetches(&outputs).len(), 1, "there is room again: {outputs:?}");
}
