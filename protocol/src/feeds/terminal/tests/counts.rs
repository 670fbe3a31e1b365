//! Counts of what moved in very many starts.

use super::*;
use crate::feeds::{
    EntryId, FeedId, STOCK,
    stock::{Movement, Record, SEEN_MAX},
};

#[test]
fn a_count_that_one_entry_cannot_hold_is_posted_in_several_and_answered_with_the_last() {
    let mut table = Table::open(2);
    let movement = Movement { item: "milk".to_owned(), quantity: -1_000 };
    let record = Record { movements: vec![movement], count: None };
    let topic = Topic { name: name(STOCK), scope: Scope::Store(name("s1")) };
    for boot in 0..=SEEN_MAX as u64 {
        let author = Author::terminal(peer(7));
        let feed = FeedId { author, boot: Boot(boot), topic: topic.clone() };
        let id = EntryId { feed, seq: 1 };
        for till in &mut table.tills {
            stock::apply(&mut till.storage, &name("s1"), &id, &record, &|_| false);
        }
    }
    let counted = || Body::Counted { item: "milk".to_owned(), value: 40_000 };
    table.post(1, STOCK, "a", counted(), AckLevel::Disk);
    table.post(1, STOCK, "a", counted(), AckLevel::Disk);
    table.run(Duration::from_secs(2));
    let answers: Vec<u64> =
        table.tills[1].answers.iter().map(|(_, answer)| answer.as_ref().unwrap().id.seq).collect();
    assert_eq!(answers, [2, 2]);
    for n in 0..2 {
        assert_eq!(table.on_hand(n, "milk"), Some(40_000), "till {n}");
    }
}
