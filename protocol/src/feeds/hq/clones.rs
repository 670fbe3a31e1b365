//! Terminals whose disk was cloned: what HQ has seen itself, and what terminals say that they saw.
//!
//! The rule: of two boots that HQ itself saw alive at once ([`super::boots`]) it tells the chain, and their
//! terminal is kept out, at HQ's own door too, until somebody has settled it. What a terminal says of another
//! is no proof: believed, it would let any one keep any other out of the shop. It is kept for a person to look
//! into, who may settle it as well; until then only those keep the terminal out that saw both themselves.

use minicbor::{Decode, Encode};
use storemesh_keys::{Name, PeerId};

use super::{AppendError, Event, FromFeeds, HqFeeds, Output, own::CLONES};
use crate::{
    feeds::{
        Author, Boot, Clones, Control, EntryId, Read, Storage,
        storage::{put, row, rows},
    },
    wire::feeds::Cloned,
};

/// By author. There are no more than HQ has terminals: claims on others are not taken.
pub(crate) const CLAIMS: &str = "claims.1";
/// Boots that one order names, the newest: each is a start of a cloned disk.
const BOOTS_MAX: usize = 64;

/// A terminal says that it saw two boots of another alive at once.
#[derive(Clone, Copy, Debug, Encode, Decode, PartialEq, Eq)]
#[cbor(map)]
pub struct Claim {
    #[n(0)]
    pub author: Author,
    #[n(1)]
    pub boots: [Boot; 2],
    /// Who brought it to HQ; it may have it from a neighbour.
    #[n(2)]
    pub by: PeerId,
}

impl HqFeeds {
    /// HQ has seen two boots of one terminal alive at once: it is kept out until somebody decides.
    pub(super) fn cloned(
        &mut self,
        storage: &mut dyn Storage,
        author: Author,
        boots: [Boot; 2],
        outputs: &mut Vec<Output>,
    ) {
        let known = self.own.clones(author);
        if known.is_some_and(|known| !known.settled) || !self.is_news(author, boots) {
            return;
        }
        let said = self.say_clones(storage, author, boots, Settled::No, outputs);
        said.expect("it is a short order");
        outputs.push(Output::Event(Event::Cloned { author, boots }));
    }

    /// `by`, a terminal of `store`, says that somebody has seen two boots of another alive at once.
    pub(super) fn clone_claimed(
        &mut self,
        storage: &mut dyn Storage,
        (by, store): (PeerId, &Name),
        Cloned { author, boots }: Cloned,
        outputs: &mut Vec<Output>,
    ) {
        // A terminal has a word on its own store alone.
        let ours = self.reach.home(&author.peer()) == Some(store) && boots[0] != boots[1];
        let decided = self.own.clones(author).is_some_and(|known| !known.settled);
        let known = row::<Claim>(storage, CLAIMS, author.as_bytes()).is_some();
        if !ours || decided || known || !self.is_news(author, boots) {
            return;
        }
        put(storage, CLAIMS, author.as_bytes(), &Claim { author, boots, by });
        outputs.push(Output::Event(Event::CloneClaimed { author, boots, by }));
    }

    /// One disk is left, or there never were two: the terminal is let in again everywhere.
    pub(super) fn settle_clones(
        &mut self,
        storage: &mut dyn Storage,
        author: Author,
        outputs: &mut Vec<Output>,
    ) -> Result<EntryId, AppendError> {
        let known = self.own.clones(author).filter(|known| !known.settled);
        let claim = row::<Claim>(storage, CLAIMS, author.as_bytes());
        let boots = match (known, &claim) {
            (_, Some(claim)) => claim.boots.to_vec(),
            (Some(_), None) => Vec::new(),
            (None, None) => return Err(AppendError::NotCloned(author)),
        };
        self.boots.settled(author.peer());
        self.say_clones(storage, author, boots, Settled::Yes, outputs)
    }

    /// Not what was settled.
    fn is_news(&self, author: Author, boots: [Boot; 2]) -> bool {
        let known = self.own.clones(author);
        known.is_none_or(|known| boots.iter().any(|boot| !known.boots.contains(boot)))
    }

    fn say_clones(
        &mut self,
        storage: &mut dyn Storage,
        author: Author,
        boots: impl IntoIterator<Item = Boot>,
        settled: Settled,
        outputs: &mut Vec<Output>,
    ) -> Result<EntryId, AppendError> {
        let mut all = self.own.clones(author).map_or(Vec::new(), |known| known.boots.clone());
        for boot in boots {
            if !all.contains(&boot) {
                all.push(boot);
            }
        }
        all.drain(..all.len().saturating_sub(BOOTS_MAX));
        let clones = Clones { author, boots: all, settled: settled == Settled::Yes };
        storage.delete(CLAIMS, author.as_bytes());
        self.append(storage, Control { clones: Some(clones), ..Control::default() }, outputs)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Yes,
    No,
}

/// What HQ's other composite must know of it.
pub(super) fn told_of(clones: &Clones) -> FromFeeds {
    let peer = clones.author.peer();
    if clones.settled { FromFeeds::LetIn(peer) } else { FromFeeds::KeepOut(peer) }
}

/// Terminals whose disks HQ has seen twice, settled or not.
pub fn clones(storage: &dyn Read) -> Vec<Clones> {
    rows::<Clones>(storage, CLONES, b"").into_iter().map(|(_, clones)| clones).collect()
}

/// What terminals say of others, and nobody has settled.
pub fn clone_claims(storage: &dyn Read) -> Vec<Claim> {
    rows::<Claim>(storage, CLAIMS, b"").into_iter().map(|(_, claim)| claim).collect()
}
