//! The same entries give the same number, in whatever order they come.

use proptest::prelude::*;

use super::*;

/// What one of three terminals does, and which others hear of it at once.
#[derive(Clone, Debug)]
enum Deed {
    Move(usize, i64),
    /// Listing so many places in one entry.
    Count(usize, i64, usize),
    /// The second hears of the first's next entry.
    Hear(usize, usize),
    /// A count that no honest terminal writes: what it builds on, and what it lists.
    Lie(usize, Option<At>, Vec<At>, bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0_usize..3, -5_i64..5).prop_map(|(at, by)| Deed::Move(at, by)),
        (0_usize..3, 0_i64..50, 1_usize..4)
            .prop_map(|(at, value, most)| Deed::Count(at, value, most)),
        (0_usize..3, 0_usize..3).prop_map(|(from, to)| Deed::Hear(from, to)),
    ]
}

fn place() -> impl Strategy<Value = At> {
    let seq = prop_oneof![8 => 1_u64..12, 1 => Just(0), 1 => Just(u64::MAX)];
    (0_usize..4, seq).prop_map(|(author, seq)| at(author, seq))
}

fn deed_or_lie() -> impl Strategy<Value = Deed> {
    let seen = prop::collection::vec(place(), 0..3);
    let lie = (0_usize..3, prop::option::of(place()), seen, any::<bool>());
    let lie = lie.prop_map(|(at, base, seen, part)| Deed::Lie(at, base, seen, part));
    prop_oneof![5 => deed(), 1 => lie]
}

/// What is on hand by the rule, found out from all entries at once and slowly.
fn by_the_rule(written: &[Vec<Record>; 3], ends: &BTreeMap<Author, u64>) -> i64 {
    let mut all = Vec::new();
    for (author, records) in written.iter().enumerate() {
        all.extend((1..).zip(records).map(|(seq, record)| (at(author, seq), record)));
    }
    all.retain(|(at, _)| !is_ended(ends, at));
    let counts: BTreeMap<At, &Count> =
        all.iter().filter_map(|(at, record)| Some((*at, record.count.as_ref()?))).collect();
    let is_here = |seen: &At| is_ended(ends, seen) || all.iter().any(|(at, _)| at == seen);
    let mut stand = BTreeMap::<At, Vec<At>>::new();
    loop {
        let known = stand.len();
        for (at, count) in &counts {
            let own = |seen: &At| seen.author == at.author && seen.seq >= at.seq;
            let good = |seen: &At| is_here(seen) && !own(seen);
            let base = match count.base {
                None => Some(Vec::new()),
                Some(base) => stand.get(&base).filter(|_| !own(&base)).cloned(),
            };
            if let (true, Some(seen)) = (count.seen.iter().all(good), base) {
                let before = At { seq: at.seq - 1, ..*at };
                let new = count.seen.iter().copied().chain(count.base).chain([before]);
                stand.insert(*at, seen.into_iter().chain(new).collect());
            }
        }
        if stand.len() == known {
            break;
        }
    }
    let covers = |seen: &[At], at: &At| {
        seen.iter().any(|upto| upto.author == at.author && at.seq <= upto.seq)
    };
    stand.retain(|at, _| !counts[at].part);
    let unseen = |at: &&At| !stand.iter().any(|(other, seen)| other != *at && covers(seen, at));
    let last = stand.keys().filter(unseen).max();
    let seen = last.map_or(&[][..], |last| &stand[last]);
    let moved = all.iter().filter(|(at, _)| !covers(seen, at));
    let moved = moved.flat_map(|(_, record)| &record.movements).map(|moved| moved.quantity);
    last.map_or(0, |last| counts[last].value) + moved.sum::<i64>()
}

proptest! {
    #[test]
    fn whoever_has_heard_the_same_has_the_same_on_hand(
        deeds in prop::collection::vec(deed(), 1..40),
    ) {
        play(deeds, &[])?;
    }

    #[test]
    fn a_terminal_that_lies_about_what_it_has_seen_divides_nobody(
        deeds in prop::collection::vec(deed_or_lie(), 1..60),
        ends in prop::collection::vec((0_usize..3, 0_u64..6), 0..2),
    ) {
        play(deeds, &ends)?;
    }
}

/// The three do this, hear of the rest one after the other, and at last of HQ's ends; a fourth hears all of
/// it in yet another order.
fn play(deeds: Vec<Deed>, ends: &[(usize, u64)]) -> Result<(), TestCaseError> {
    let mut models: [Model; 4] = Default::default();
    let mut written: [Vec<Record>; 3] = Default::default();
    let mut heard = [[0_usize; 3]; 3];
    for deed in deeds {
        let (by, records) = match deed {
            Deed::Move(by, quantity) => (by, vec![moved(quantity)]),
            Deed::Count(by, value, most) => {
                let next = at(by, written[by].len() as u64 + 1);
                let parts = models[by].parts(value, next, most);
                (by, parts.into_iter().map(counted).collect())
            }
            Deed::Lie(by, base, seen, part) => {
                let count = Count { item: "milk".to_owned(), value: 1000, base, seen, part };
                (by, vec![counted(count)])
            }
            Deed::Hear(from, to) => {
                let next = heard[to][from];
                if from != to && next < written[from].len() {
                    models[to].apply(from, next as u64 + 1, &written[from][next]);
                    heard[to][from] += 1;
                }
                continue;
            }
        };
        for record in records {
            written[by].push(record.clone());
            models[by].apply(by, written[by].len() as u64, &record);
        }
        heard[by][by] = written[by].len();
    }
    for to in 0..3 {
        for from in 0..3 {
            let records = (1..).zip(&written[from]).skip(heard[to][from]);
            for (seq, record) in records {
                models[to].apply(from, seq, record);
            }
        }
        for (author, last) in ends {
            let last = *models[to].ends.get(&feed(*author).author).unwrap_or(last).min(last);
            let gone = (1..).zip(written[*author].iter().cloned());
            let gone: Vec<_> = gone.filter(|(seq, _)| *seq > last).collect();
            models[to].end(*author, last, &gone);
        }
    }
    // It knows of the ends before it hears anything, of the last author's entries first, and turn by turn.
    let last = models[0].ends.clone();
    for (author, last) in (0..3).filter_map(|n| Some((n, *last.get(&feed(n).author)?))) {
        models[3].end(author, last, &[]);
    }
    for turn in 0..written.iter().map(Vec::len).max().unwrap_or(0) {
        for from in (0..3).rev() {
            let ended = is_ended(&last, &at(from, turn as u64 + 1));
            if let Some(record) = written[from].get(turn).filter(|_| !ended) {
                models[3].apply(from, turn as u64 + 1, record);
            }
        }
    }
    let nothing = OnHand::default();
    let on_hand: Vec<OnHand> =
        models.iter().map(|model| model.on_hand().unwrap_or(nothing)).collect();
    prop_assert_eq!(on_hand[0].quantity, by_the_rule(&written, &last));
    for other in &on_hand[1..] {
        prop_assert_eq!(&on_hand[0], other);
    }
    Ok(())
}
