//! How far HQ holds each terminal's journals, and what is wrong with them, for people.

use std::{collections::BTreeMap, ops::ControlFlow};

use storemesh_keys::{Name, PeerId, Trust};

use super::{
    Author, Boot, CONTROL, Clones, Read,
    hq::{clones, ended, voids},
    ledger::{FEEDS, FORKS, Feed, FeedNo},
    names::certified,
};

/// All that one terminal has written on one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub store: Name,
    pub terminal: Name,
    pub peer: PeerId,
    pub topic: Name,
    /// Starts in which it wrote something.
    pub boots: u64,
    pub entries: u64,
    /// The feed that was begun last, and its last entry.
    pub newest: (Boot, u64),
    /// Entries that HQ had before it was restored from a backup, and that nobody has brought yet.
    pub missing: u64,
    /// Entries that their schema did not allow.
    pub void: u64,
    /// Its author wrote two entries with one number.
    pub forked: bool,
    /// Two of its boots were alive at once, and nobody has decided yet.
    pub cloned: bool,
    /// HQ has ended it on this topic: what comes after does not count.
    pub ended: bool,
}

/// One row for each terminal and topic, of one store or of all.
pub fn held(storage: &dyn Read, trust: &Trust, store: Option<&Name>) -> Vec<Held> {
    let trust = Trust { generation_min: 0, ..*trust };
    let undecided: Vec<Author> = clones(storage)
        .into_iter()
        .filter(|clones| !clones.settled)
        .map(|Clones { author, .. }| author)
        .collect();
    let ended = ended(storage);
    let mut rows = BTreeMap::new();
    storage.scan(FEEDS, &[], &[u8::MAX; 5], &mut |key, bytes| {
        let number = key.try_into().ok().map(|key| FeedNo::of(u32::from_be_bytes(key)));
        if let (Some(number), Ok(feed)) = (number, minicbor::decode::<Feed>(bytes))
            && feed.id.topic.name.as_str() != CONTROL
            && let Some(certificate) = certified(storage, &trust, &feed)
            && store.is_none_or(|store| *store == certificate.store)
        {
            let author = feed.id.author;
            let topic = feed.id.topic.name.clone();
            let key = (certificate.store.clone(), certificate.name.clone(), author, topic.clone());
            let row = rows.entry(key).or_insert_with(|| Held {
                store: certificate.store,
                terminal: certificate.name,
                peer: author.peer(),
                topic,
                boots: 0,
                entries: 0,
                newest: (feed.id.boot, 0),
                missing: 0,
                void: 0,
                forked: storage.get(FORKS, author.as_bytes()).is_some(),
                cloned: undecided.contains(&author),
                ended: ended.get(&author).is_some_and(|ended| ended.is_on(&feed.id.topic.name)),
            });
            let missing = feed.missing();
            row.boots += 1;
            row.entries += feed.last.saturating_sub(missing);
            row.newest = (feed.id.boot, feed.last);
            row.missing += missing;
            row.void += voids(storage, number).map_or(0, |voids| voids.count);
        }
        ControlFlow::Continue(())
    });
    rows.into_values().collect()
}
