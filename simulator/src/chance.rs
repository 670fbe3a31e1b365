//! All chance of a simulation, from its seed alone.

use std::time::Duration;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

#[derive(Clone, Debug)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Below `end`, which is not 0. The bias of a remainder does not matter here.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.number() % end).expect("below a usize")
    }

    pub(crate) fn hits(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < per_mille as usize
    }

    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let micros = |span: Duration| usize::try_from(span.as_micros()).unwrap_or(usize::MAX);
        let more = self.below(micros(to.saturating_sub(from)) + 1);
        from + Duration::from_micros(more as u64)
    }
}
