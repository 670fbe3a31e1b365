//! The feeds of the world: a second composite in every program, with a database of its own.
//!
//! What `node` and `hq` do around [`TerminalFeeds`](storemesh_protocol::feeds::terminal::TerminalFeeds) and
//! [`HqFeeds`](storemesh_protocol::feeds::hq::HqFeeds): an inbox, a batch, one commit, and then the outputs
//! (`terminal`, `hq`); a stream for frames on each connection (`stream`); a database that is there or is
//! not after a kill, and that a bad disk or an operator can put back (`shelf`, `disks`). Tills post sales and
//! stock (`tills`); what they were told is written down (`books`), and the rules are checked at each
//! output and commit (`rules`), and on everybody once there is peace (`agree`).

mod agree;
mod books;
mod disks;
mod hostile;
mod hq;
mod rules;
mod shelf;
mod stock;
mod stream;
mod terminal;
mod tills;

pub(super) use self::{
    books::Books, disks::Harm, hq::HqSide, shelf::Shelf, stream::Stream, terminal::Side,
    tills::Tills,
};
