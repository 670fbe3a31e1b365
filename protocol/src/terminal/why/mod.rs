//! Why: what a person asks when something does not go on, answered in one line.
//!
//! Every answer comes from the machines' own state at that moment. The terminal gathers the facts;
//! what they mean is decided by one pure function for each kind of question ([`release`],
//! [`gateway`], [`neighbour`]). An answer names the cause and, where a person can do something, what.
//! Codes are for programs and stay what they are; texts may become better.

mod ask;
mod gateway;
mod neighbour;
mod release;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

pub(super) use self::{ask::NotReached, ask::Refusals, gateway::By};

/// What may be asked. Names are a person's: they may be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whatever is not as it should be; one answer when all is.
    Everything,
    Releases,
    Release(String),
    Gateway,
    Neighbours,
    /// By name, PeerId, or the beginning of either that fits only one.
    Neighbour(String),
}

/// What an answer is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Store,
    Release(String),
    Gateway,
    Neighbour(String),
    /// What this terminal itself writes.
    Journal,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => write!(f, "store"),
            Self::Release(product) => write!(f, "release {product}"),
            Self::Gateway => write!(f, "gateway"),
            Self::Neighbour(name) => write!(f, "neighbour {name}"),
            Self::Journal => write!(f, "journal"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Well,
    /// It goes on by itself.
    Waits,
    /// Somebody should look after it.
    Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub question: Question,
    pub state: State,
    /// Stable.
    pub code: &'static str,
    pub text: String,
}

impl Answer {
    fn well(question: Question, code: &'static str, text: String) -> Self {
        Self { question, state: State::Well, code, text }
    }

    fn waits(question: Question, code: &'static str, text: String) -> Self {
        Self { question, state: State::Waits, code, text }
    }

    fn wrong(question: Question, code: &'static str, text: String) -> Self {
        Self { question, state: State::Wrong, code, text }
    }

    fn is_well(&self) -> bool {
        self.state == State::Well
    }

    #[cfg(test)]
    fn is_wrong(&self) -> bool {
        self.state == State::Wrong
    }
}
