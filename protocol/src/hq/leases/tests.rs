use super::*;
use crate::{
    fixtures::{name, peer, signer, signer_in},
    gateway::AUXILIARY_BYTES_AFTER,
};

const NOW: Instant = Instant(5);
const WALL: Timestamp = Timestamp(7);

fn leases() -> Leases {
    let (by_store, pings) = (BTreeMap::new(), BTreeMap::new());
    Leases { by_store, pings, next_ping: 1 }
}

fn ask(leases: &mut Leases, n: u8, holder: Holder) -> Vec<Ruling> {
    leases.ask(NOW, WALL, &signer(), &name("s1"), peer(n), holder)
}

/// To whom, of which part and epoch.
fn granted(rulings: &[Ruling]) -> (PeerId, u32, u64) {
    let Some(Ruling::Granted { to, lease, .. }) = rulings.first() else { panic!("{rulings:?}") };
    assert_eq!(*to, lease.holder);
    (*to, lease.part, lease.epoch)
}

fn ping(rulings: &[Ruling]) -> u64 {
    let [Ruling::Ping { number, .. }] = rulings else { panic!("{rulings:?}") };
    *number
}

/// Who is told of which holder's lease, and with which number.
fn held(ruling: &Ruling) -> (PeerId, PeerId, Option<u64>) {
    let Ruling::Held { to, lease, challenge } = ruling else { panic!("{ruling:?}") };
    (*to, lease.holder, *challenge)
}

#[test]
fn the_epoch_rises_with_every_change_of_holder_and_with_nothing_else() {
    let mut leases = leases();
    assert_eq!(granted(&ask(&mut leases, 1, Holder::Away)), (peer(1), 0, 1));
    assert_eq!(granted(&ask(&mut leases, 1, Holder::Connected)), (peer(1), 0, 1));
    assert_eq!(granted(&ask(&mut leases, 2, Holder::Away)), (peer(2), 0, 2));
    assert_eq!(granted(&ask(&mut leases, 1, Holder::Away)), (peer(1), 0, 3));
}

#[test]
fn a_holder_that_answers_keeps_the_lease_and_all_that_asked_hear_so() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    let rulings = ask(&mut leases, 2, Holder::Connected);
    assert!(matches!(rulings[..], [Ruling::Ping { holder, .. }] if holder == peer(1)));
    let number = ping(&rulings);
    assert!(ask(&mut leases, 3, Holder::Connected).is_empty(), "one ping is enough");
    let store = name("s1");
    assert!(leases.answered(WALL, &store, peer(2), number).is_empty(), "not the holder");
    assert!(leases.answered(WALL, &store, peer(1), number + 1).is_empty(), "another ping's");
    let told = leases.answered(WALL, &store, peer(1), number);
    let told: Vec<_> = told.iter().map(held).map(|(to, holder, _)| (to, holder)).collect();
    assert_eq!(told, [(peer(2), peer(1)), (peer(3), peer(1))]);
    assert_eq!(leases.deadline(), Instant::NEVER);
}

#[test]
fn a_holder_that_is_silent_for_a_second_loses_the_lease_to_the_first_that_asked() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    _ = ask(&mut leases, 2, Holder::Connected);
    _ = ask(&mut leases, 3, Holder::Connected);
    assert_eq!(leases.deadline(), NOW + SILENCE);
    assert!(leases.due(NOW, WALL, &signer()).is_empty());
    let told = leases.due(NOW + SILENCE, WALL, &signer());
    let [(_, rulings)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(granted(rulings), (peer(2), 0, 2));
    let others: Vec<_> = rulings[1..].iter().map(held).collect();
    let none = None;
    assert_eq!(others, [(peer(1), peer(2), none), (peer(3), peer(2), none)]);
    assert_eq!(leases.deadline(), Instant::NEVER);
}

#[test]
fn a_holder_that_calls_again_while_it_is_pinged_is_there() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    _ = ask(&mut leases, 2, Holder::Connected);
    let rulings = ask(&mut leases, 1, Holder::Connected);
    assert_eq!(granted(&rulings), (peer(1), 0, 1));
    assert!(
        matches!(held(&rulings[1]), (to, holder, Some(_)) if (to, holder) == (peer(2), peer(1)))
    );
    assert!(leases.due(NOW + SILENCE, WALL, &signer()).is_empty());
}

#[test]
fn whoever_hung_up_while_it_waited_is_not_granted_the_lease() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    _ = ask(&mut leases, 2, Holder::Connected);
    _ = ask(&mut leases, 3, Holder::Connected);
    leases.hung_up(&name("s1"), peer(2));
    let told = leases.due(NOW + SILENCE, WALL, &signer());
    assert_eq!(granted(&told[0].1).0, peer(3));
}

#[test]
fn a_lease_that_was_given_back_goes_to_the_next_that_asks() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    let back = GivenBack::ToNobody;
    assert!(leases.gone(WALL, &signer(), &name("s1"), peer(1), back).is_empty());
    assert_eq!(granted(&ask(&mut leases, 2, Holder::Connected)), (peer(2), 0, 2));
}

#[test]
fn a_lease_that_was_given_back_for_one_goes_to_that_one_alone() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    let back = GivenBack::To { other: peer(3), until: NOW + PROMISE };
    assert!(leases.gone(WALL, &signer(), &name("s1"), peer(1), back).is_empty());
    ping(&ask(&mut leases, 2, Holder::Connected));
    let rulings = ask(&mut leases, 3, Holder::Connected);
    assert_eq!(granted(&rulings), (peer(3), 0, 2));
    assert_eq!(held(&rulings[1]), (peer(1), peer(3), None), "the former holder hears of it");
}

#[test]
fn when_a_pinged_holder_hangs_up_nobody_waits() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    _ = ask(&mut leases, 2, Holder::Connected);
    let told = leases.gone(WALL, &signer(), &name("s1"), peer(1), GivenBack::No);
    assert_eq!(granted(&told).0, peer(2));
}

#[test]
fn an_hq_that_was_restored_grants_anew_what_it_may_have_granted_to_another() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    let before = leases.whole(&name("s1")).unwrap().order();
    let (store, restored) = (name("s1"), signer_in(2));
    let mut again = |n, holder| leases.ask(NOW, WALL, &restored, &store, peer(n), holder);
    let rulings = again(2, Holder::Connected);
    assert_eq!(granted(&rulings).0, peer(2));
    assert_eq!(held(&rulings[1]), (peer(1), peer(2), None));
    let Ruling::Granted { lease, save: Some(_), .. } = &rulings[0] else { panic!("{rulings:?}") };
    assert!(before < lease.order() && lease.generation == 2);
    ping(&again(1, Holder::Connected));
}

#[test]
fn an_older_epoch_does_not_speak_for_the_store() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    _ = ask(&mut leases, 2, Holder::Away);
    let store = name("s1");
    assert!(leases.reported(&store, peer(1), 1, BTreeSet::new()).is_none());
    assert!(leases.reported(&store, peer(1), 2, BTreeSet::new()).is_none(), "not its epoch");
    assert!(leases.reported(&store, peer(2), 2, BTreeSet::new()).is_some());
    assert!(!leases.may_fetch(&store, peer(1)) && leases.may_fetch(&store, peer(2)));
}

/// Terminal 1 holds the lease and has reported that it sees 2.
fn split() -> Leases {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    report(&mut leases, 1, 1, &[2]);
    leases
}

fn report(leases: &mut Leases, n: u8, epoch: u64, sees: &[u8]) -> Vec<Ruling> {
    let sees = sees.iter().copied().map(peer).collect();
    leases.reported(&name("s1"), peer(n), epoch, sees).expect("it holds that lease")
}

/// Asks for the lease, and is given a number.
fn challenge(leases: &mut Leases, n: u8) -> u64 {
    let number = ping(&ask(leases, n, Holder::Connected));
    let told = leases.answered(WALL, &name("s1"), peer(1), number);
    held(&told[0]).2.expect("a number")
}

fn ask_part(leases: &mut Leases, n: u8, challenge: u64, neighbours: &[u8]) -> Vec<Ruling> {
    let neighbours = neighbours.iter().copied().map(peer).collect();
    let alone = Alone { asker: peer(n), challenge, neighbours };
    leases.ask_part(NOW, WALL, &signer(), &name("s1"), alone)
}

/// Terminals 3 and 4 are on their own, and 3 is their gateway.
fn parted() -> Leases {
    let mut leases = split();
    let number = challenge(&mut leases, 3);
    assert_eq!(granted(&ask_part(&mut leases, 3, number, &[4])), (peer(3), 1, 2));
    leases
}

#[test]
fn a_part_that_the_gateway_does_not_see_gets_a_lease_with_the_next_epoch() {
    let mut leases = parted();
    let store = name("s1");
    assert_eq!(leases.holder(&store), Some(peer(1)), "the store's own stands");
    assert!(leases.speaks(&store, peer(3)));
    assert_eq!(granted(&ask(&mut leases, 5, Holder::Away)), (peer(5), 0, 3), "no epoch twice");
}

#[test]
fn an_auxiliary_lease_carries_chunks_only_later() {
    let mut leases = parted();
    let store = name("s1");
    assert!(!leases.may_fetch(&store, peer(3)));
    let ripe = leases.deadline();
    assert_eq!(ripe, NOW + AUXILIARY_BYTES_AFTER);
    assert_eq!(leases.due(ripe, WALL, &signer()).len(), 1, "the store in which that changed");
    assert!(leases.may_fetch(&store, peer(3)));
    assert_eq!(leases.deadline(), Instant::NEVER);
}

#[test]
fn whom_the_gateway_sees_is_not_split_off() {
    let mut leases = split();
    for (asker, neighbours) in [(2, &[3][..]), (3, &[2]), (3, &[1])] {
        let number = challenge(&mut leases, asker);
        let told = ask_part(&mut leases, asker, number, neighbours);
        assert_eq!(held(&told[0]), (peer(asker), peer(1), None), "{asker} with {neighbours:?}");
    }
}

#[test]
fn a_gateway_that_has_not_reported_yet_may_see_everybody() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    let number = challenge(&mut leases, 3);
    let told = ask_part(&mut leases, 3, number, &[]);
    assert_eq!(held(&told[0]), (peer(3), peer(1), None));
}

#[test]
fn a_number_is_good_once_and_for_whom_it_was_given() {
    let mut leases = split();
    let number = challenge(&mut leases, 3);
    held(&ask_part(&mut leases, 4, number, &[])[0]);
    held(&ask_part(&mut leases, 3, number + 1, &[])[0]);
    held(&ask_part(&mut leases, 3, number, &[])[0]);
}

#[test]
fn the_second_that_asks_in_a_part_hears_of_the_first() {
    let mut leases = parted();
    let told = ping(&ask(&mut leases, 4, Holder::Connected));
    let told = leases.answered(WALL, &name("s1"), peer(1), told);
    assert_eq!(held(&told[0]), (peer(4), peer(3), None));
}

#[test]
fn it_ends_when_both_gateways_see_one_terminal() {
    let mut leases = parted();
    assert!(report(&mut leases, 3, 2, &[4, 5]).is_empty());
    let told = report(&mut leases, 1, 1, &[2, 5]);
    assert!(matches!(told[..], [Ruling::Ended { to, epoch: 2 }] if to == peer(3)), "{told:?}");
    assert!(!leases.speaks(&name("s1"), peer(3)));
    assert!(leases.reported(&name("s1"), peer(3), 2, BTreeSet::new()).is_none());
}

#[test]
fn it_ends_with_its_holders_connection_and_with_the_stores_own_lease() {
    let mut leases = parted();
    let told = leases.gone(WALL, &signer(), &name("s1"), peer(3), GivenBack::No);
    assert!(matches!(told[..], [Ruling::Ended { .. }]));

    let mut leases = parted();
    let told = ask(&mut leases, 2, Holder::Away);
    assert_eq!(granted(&told), (peer(2), 0, 3));
    assert!(matches!(told[2], Ruling::Ended { to, epoch: 2 } if to == peer(3)), "{told:?}");
}

#[test]
fn after_a_restart_no_epoch_comes_again() {
    let mut leases = leases();
    let mut rows = Rows::default();
    let mut keep = |rulings: &[Ruling]| {
        for ruling in rulings {
            if let Ruling::Granted { save: Some(save), .. } = ruling {
                rows.apply(save);
            }
        }
    };
    keep(&ask(&mut leases, 1, Holder::Away));
    report(&mut leases, 1, 1, &[2]);
    let number = challenge(&mut leases, 3);
    keep(&ask_part(&mut leases, 3, number, &[]));
    let described = signer();
    let trust = Trust { chain: described.described().chain, generation_min: 0 };
    let mut leases = Leases::load(&rows, &trust).unwrap();
    assert!(!leases.speaks(&name("s1"), peer(3)), "it asks again");
    assert_eq!(granted(&ask(&mut leases, 2, Holder::Away)), (peer(2), 0, 3));
}
