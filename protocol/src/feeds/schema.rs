//! Which topics there are, who may write them, and how large an entry may be.
//!
//! HQ signs a schema by putting it into its control feed, with a number that rises. An entry names the
//! schema it was written by, and is judged by that one on every machine, for ever. The rule that no schema
//! can break: in chain and region scope HQ alone writes; one that gives a terminal such a right is refused
//! where it is written and where it is read.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use storemesh_keys::Name;

use super::entry::{PAYLOAD_MAX, Scope};

/// Topics that one schema may have.
pub const TOPICS_MAX: usize = 256;
/// HQ's own topic: it carries the schema, so no schema can name it.
pub const CONTROL: &str = "control";
/// The one topic of movements and counts.
pub const STOCK: &str = "stock";

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Schema {
    /// Rises with every one that HQ publishes.
    #[n(0)]
    pub version: u32,
    #[n(1)]
    pub topics: Vec<TopicRule>,
}

#[derive(Clone, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct TopicRule {
    #[n(0)]
    pub name: Name,
    #[n(1)]
    pub kind: TopicKind,
    #[n(2)]
    pub scope: ScopeKind,
    #[n(3)]
    pub writers: Writers,
    #[n(4)]
    pub bytes_max: u32,
}

#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum TopicKind {
    /// Business events for HQ: any payload; they go to the gateway and to some neighbours.
    #[n(0)]
    Journal,
    /// Movements and counts ([`super::stock`]); they go to every terminal of the store.
    #[n(1)]
    Stock,
}

#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum ScopeKind {
    #[n(0)]
    Chain,
    #[n(1)]
    Region,
    #[n(2)]
    Store,
    #[n(3)]
    Terminal,
}

#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Writers {
    #[n(0)]
    Hq,
    #[n(1)]
    Terminals,
}

/// What is wrong with a schema; mend the file it was made from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("{0} topics, at most {TOPICS_MAX}")]
    TooMany(usize),
    #[error("topic {0} stands there twice")]
    Twice(Name),
    #[error("topic {CONTROL} is HQ's own and stands in no schema")]
    Reserved,
    #[error(
        "topic {0} gives terminals the right to write for more than their store: make its scope `store` or `terminal`, or its writer `hq`"
    )]
    Right(Name),
    #[error("topic {topic} allows entries of {bytes} bytes: from 1 to {PAYLOAD_MAX} is possible")]
    Bytes { topic: Name, bytes: u32 },
    #[error("topic {0} is a journal that terminals do not write: make its writer `terminals`")]
    NobodysJournal(Name),
    #[error("topic {STOCK} counts a store's stock: its scope is `store`")]
    StockScope,
    #[error("topic {0}: the one of kind `stock` is named {STOCK}, and no other is")]
    StockName(Name),
}

impl Schema {
    /// What a new chain begins with.
    pub fn first() -> Self {
        let topic = |name: &str, kind, bytes_max| TopicRule {
            name: name.parse().expect("it is a name"),
            kind,
            scope: ScopeKind::Store,
            writers: Writers::Terminals,
            bytes_max,
        };
        // A basket of 200 lines takes some 16 KiB as JSON.
        let topics = vec![
            topic("sales", TopicKind::Journal, 64 * 1024),
            topic("returns", TopicKind::Journal, 64 * 1024),
            topic("cash", TopicKind::Journal, 16 * 1024),
            topic("stock", TopicKind::Stock, 64 * 1024),
        ];
        Self { version: 1, topics }
    }

    pub fn check(&self) -> Result<(), SchemaError> {
        if self.topics.len() > TOPICS_MAX {
            return Err(SchemaError::TooMany(self.topics.len()));
        }
        let mut names = BTreeSet::new();
        for topic in &self.topics {
            if !names.insert(&topic.name) {
                return Err(SchemaError::Twice(topic.name.clone()));
            }
            topic.check()?;
        }
        Ok(())
    }

    pub fn topic(&self, name: &Name) -> Option<&TopicRule> {
        self.topics.iter().find(|topic| topic.name == *name)
    }
}

impl TopicRule {
    fn check(&self) -> Result<(), SchemaError> {
        let wide = matches!(self.scope, ScopeKind::Chain | ScopeKind::Region);
        if self.name.as_str() == CONTROL {
            return Err(SchemaError::Reserved);
        }
        if self.writers == Writers::Terminals && wide {
            return Err(SchemaError::Right(self.name.clone()));
        }
        if self.writers == Writers::Hq {
            return Err(SchemaError::NobodysJournal(self.name.clone()));
        }
        let is_stock = self.name.as_str() == STOCK;
        if (self.kind == TopicKind::Stock) != is_stock {
            return Err(SchemaError::StockName(self.name.clone()));
        }
        if is_stock && self.scope != ScopeKind::Store {
            return Err(SchemaError::StockScope);
        }
        let possible = (1..=PAYLOAD_MAX).contains(&(self.bytes_max as usize));
        if !possible {
            let (topic, bytes) = (self.name.clone(), self.bytes_max);
            return Err(SchemaError::Bytes { topic, bytes });
        }
        Ok(())
    }
}

impl Scope {
    pub fn kind(&self) -> ScopeKind {
        match self {
            Self::Chain => ScopeKind::Chain,
            Self::Region(_) => ScopeKind::Region,
            Self::Store(_) => ScopeKind::Store,
            Self::Terminal(_) => ScopeKind::Terminal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::name;

    fn with(change: impl FnOnce(&mut TopicRule)) -> Result<(), SchemaError> {
        let mut schema = Schema::first();
        change(&mut schema.topics[0]);
        schema.check()
    }

    #[test]
    fn the_first_schema_keeps_the_rules() {
        assert_eq!(Schema::first().check(), Ok(()));
    }

    #[test]
    fn no_terminal_may_write_for_more_than_its_store() {
        for scope in [ScopeKind::Chain, ScopeKind::Region] {
            let why = with(|topic| topic.scope = scope);
            assert_eq!(why, Err(SchemaError::Right(name("sales"))), "{scope:?}");
        }
        assert_eq!(with(|topic| topic.scope = ScopeKind::Terminal), Ok(()));
    }

    #[test]
    fn a_schema_cannot_name_hqs_own_topic_or_one_twice() {
        assert_eq!(with(|topic| topic.name = name(CONTROL)), Err(SchemaError::Reserved));
        let twice = with(|topic| topic.name = name("returns"));
        assert_eq!(twice, Err(SchemaError::Twice(name("returns"))));
    }

    #[test]
    fn an_entry_has_some_bytes_and_not_too_many() {
        let most = u32::try_from(PAYLOAD_MAX).unwrap();
        assert_eq!(with(|topic| topic.bytes_max = most), Ok(()));
        for bytes in [0, most + 1] {
            let why = with(|topic| topic.bytes_max = bytes);
            assert_eq!(why, Err(SchemaError::Bytes { topic: name("sales"), bytes }));
        }
    }

    #[test]
    fn stock_is_a_stores_and_has_its_own_name() {
        assert_eq!(
            with(|topic| topic.kind = TopicKind::Stock),
            Err(SchemaError::StockName(name("sales")))
        );
        let mut schema = Schema::first();
        schema.topics[3].scope = ScopeKind::Terminal;
        assert_eq!(schema.check(), Err(SchemaError::StockScope));
    }
}
