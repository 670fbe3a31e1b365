use super::*;
use crate::fixtures::{name, peer, signer};

const NOW: Instant = Instant(5);
const WALL: Timestamp = Timestamp(7);

fn leases() -> Leases {
    let (by_store, pings) = (BTreeMap::new(), BTreeMap::new());
    Leases { by_store, pings, next_ping: 1 }
}

fn ask(leases: &mut Leases, n: u8, holder: Holder) -> Option<Ruling> {
    leases.ask(NOW, WALL, &signer(), &name("s1"), peer(n), holder)
}

fn granted(ruling: Option<Ruling>) -> (PeerId, u64) {
    let Some(Ruling::Granted { to, lease, .. }) = ruling else { panic!("{ruling:?}") };
    assert_eq!(to, lease.holder);
    (to, lease.epoch)
}

#[test]
fn the_epoch_rises_with_every_change_of_holder_and_with_nothing_else() {
    let mut leases = leases();
    assert_eq!(granted(ask(&mut leases, 1, Holder::Away)), (peer(1), 1));
    assert_eq!(granted(ask(&mut leases, 1, Holder::Connected)), (peer(1), 1));
    assert_eq!(granted(ask(&mut leases, 2, Holder::Away)), (peer(2), 2));
    assert_eq!(granted(ask(&mut leases, 1, Holder::Away)), (peer(1), 3));
}

#[test]
fn a_holder_that_answers_keeps_the_lease_and_all_that_asked_hear_so() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    let ping = ask(&mut leases, 2, Holder::Connected);
    let Some(Ruling::Ping { holder, number }) = ping else { panic!("{ping:?}") };
    assert_eq!(holder, peer(1));
    assert!(ask(&mut leases, 3, Holder::Connected).is_none(), "one ping is enough");
    let store = name("s1");
    assert!(leases.answered(&store, peer(2), number).is_empty(), "not the holder");
    assert!(leases.answered(&store, peer(1), number + 1).is_empty(), "another ping's");
    let told = leases.answered(&store, peer(1), number);
    assert!(matches!(&told[..], [
        Ruling::Held { to: a, .. },
        Ruling::Held { to: b, .. },
    ] if (*a, *b) == (peer(2), peer(3))));
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
    assert!(matches!(&told[..], [
        (_, Ruling::Granted { to: a, lease, .. }),
        (_, Ruling::Held { to: b, .. }),
        (_, Ruling::Held { to: c, .. }),
    ] if (*a, *b, *c) == (peer(2), peer(3), peer(1)) && lease.epoch == 2));
    assert_eq!(leases.deadline(), Instant::NEVER);
}

#[test]
fn a_lease_that_was_given_back_goes_to_the_next_that_asks() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    let store = name("s1");
    assert!(leases.gone(WALL, &signer(), &store, peer(1), GivenBack::Yes).is_empty());
    assert_eq!(granted(ask(&mut leases, 2, Holder::Connected)), (peer(2), 2));
}

#[test]
fn when_a_pinged_holder_hangs_up_nobody_waits() {
    let mut leases = leases();
    _ = ask(&mut leases, 1, Holder::Away);
    _ = ask(&mut leases, 2, Holder::Connected);
    let told = leases.gone(WALL, &signer(), &name("s1"), peer(1), GivenBack::No);
    assert!(matches!(&told[0], Ruling::Granted { to, .. } if *to == peer(2)));
}
