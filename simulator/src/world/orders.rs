//! What an operator orders of HQ, until it is done: an operator who gets no answer orders again, so every
//! order may be given twice.

use std::time::Duration;

use storemesh_protocol::hq::{Answer, Input, Order, Refusal};

use super::{Event, World};

const ORDER_AGAIN: Duration = Duration::from_secs(3);

/// What an operator wants until it is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    Add(usize),
    Start(usize),
}

impl World {
    pub(super) fn wish(&mut self, wish: Wish) {
        self.hq.tickets += 1;
        let ticket = self.hq.tickets;
        self.hq.orders.insert(ticket, wish);
        self.order(ticket);
    }

    pub(super) fn orders_done(&self) -> bool {
        self.hq.orders.is_empty()
    }

    pub(super) fn order(&mut self, ticket: u64) {
        let Some(wish) = self.hq.orders.get(&ticket) else { return };
        let order = match wish {
            Wish::Add(release) => {
                let release = &self.releases[*release];
                self.hq.chunks.extend(release.chunks.keys());
                Order::AddRelease { release: release.head.clone() }
            }
            Wish::Start(release) => {
                let head = &self.releases[*release].head;
                self.ordered.insert(head.id);
                Order::Start { product: head.product.clone(), version: head.version.clone() }
            }
        };
        self.push_hq(Input::Order { ticket, order });
        self.agenda.after(ORDER_AGAIN, Event::Order { ticket });
    }

    pub(super) fn told(&mut self, ticket: u64, answer: Result<Answer, Refusal>) {
        if let Ok(Answer::Say(control)) = answer {
            self.say(ticket, control);
            return;
        }
        let Some(wish) = self.hq.orders.remove(&ticket) else { return };
        match (wish, answer) {
            (Wish::Start(_), Ok(_)) => self.break_hq_rule("nothing to be said".to_owned()),
            (Wish::Add(release), Ok(_)) => self.wish(Wish::Start(release)),
            (_, Err(why)) => self.break_hq_rule(format!("HQ refuses a good order: {why}")),
        }
    }

    /// HQ has said it to the chain.
    pub(super) fn said(&mut self, ticket: u64) {
        if let Some(Wish::Start(release)) = self.hq.orders.remove(&ticket) {
            self.wanted = Some(release);
        }
    }
}
