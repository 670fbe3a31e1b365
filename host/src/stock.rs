//! What is on hand of an item, in JSON: a terminal and HQ say it alike.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use storemesh_keys::Name;
use storemesh_protocol::feeds::{
    Author, Read,
    stock::{OnHand, on_hand},
};

use crate::quantity::number;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stock {
    pub store: String,
    pub item: String,
    pub on_hand: Box<RawValue>,
    /// The last count, where there was one.
    pub counted: Option<Counted>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counted {
    pub quantity: Box<RawValue>,
    /// Whose entry says so, and which one: none where its name is not known here.
    pub terminal: Option<String>,
    pub terminal_id: String,
    pub boot: String,
    pub seq: u64,
}

impl Stock {
    /// None where nobody ever moved or counted the item in that store; `name` knows what terminals are called.
    pub fn read(
        storage: &dyn Read,
        store: &Name,
        item: &str,
        name: impl Fn(Author) -> Option<Name>,
    ) -> Option<Self> {
        let OnHand { quantity, counted, count } = on_hand(storage, store, item)?;
        let counted = counted.zip(count).map(|(at, count)| Counted {
            quantity: number(count),
            terminal: name(at.author).map(|name| name.to_string()),
            terminal_id: at.author.peer().to_string(),
            boot: at.boot.to_string(),
            seq: at.seq,
        });
        let (store, item) = (store.to_string(), item.to_owned());
        Some(Self { store, item, on_hand: number(quantity), counted })
    }
}
