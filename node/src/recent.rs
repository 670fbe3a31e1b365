//! The chunks that came last, in memory, for the neighbours that ask for them next.
//!
//! A chunk is told of as soon as it is on disk, and most neighbours that lack it ask within a second.
//! From here they get it without a file's being opened, read and hashed again. The rule: only what was
//! verified and written is kept, at most [`KEPT_BYTES`] and [`KEPT_CHUNKS`] of it and for
//! [`KEPT_FOR`], the oldest going first. What is not here is served by the disk, so forgetting costs
//! time only.
//!
//! The memory of a forgotten chunk takes the next one that comes: no page is asked of the machine, or
//! cleared, for every chunk anew.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use storemesh_protocol::content::ChunkId;

/// A neighbour hears of a chunk within 50 ms and asks for as much as comes in 100 ms: so this is
/// enough up to 100 MB/s. Twice as much saved nothing more when it was measured.
const KEPT_BYTES: usize = 16 << 20;
/// Small files make small chunks, each with an entry here.
const KEPT_CHUNKS: usize = 1024;
/// Whoever asks later than this is served by the disk as well. A guess.
const KEPT_FOR: Duration = Duration::from_secs(3);
/// Forgotten chunks' memory that waits for the next chunk: as many as are stored at once.
const SPARE: usize = crate::fetch::STORING_MAX;

#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// In their stored form.
    chunks: HashMap<ChunkId, Arc<Vec<u8>>>,
    /// The oldest first.
    order: VecDeque<(Instant, ChunkId)>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Recent {
    /// Keeps the stored form of a chunk, which was verified and is on disk.
    pub(crate) fn keep(&self, id: ChunkId, stored: Vec<u8>) {
        let mut kept = self.kept();
        let kept = &mut *kept;
        if kept.chunks.contains_key(&id) {
            return kept.save(stored);
        }
        kept.bytes += stored.capacity();
        kept.chunks.insert(id, Arc::new(stored));
        kept.order.push_back((Instant::now(), id));
        while kept.bytes > KEPT_BYTES || kept.chunks.len() > KEPT_CHUNKS {
            kept.forget_oldest();
        }
    }

    pub(crate) fn get(&self, id: &ChunkId) -> Option<Arc<Vec<u8>>> {
        self.kept().chunks.get(id).cloned()
    }

    /// Memory for a chunk of so many bytes; what they are is not said.
    pub(crate) fn buffer(&self, length: usize) -> Vec<u8> {
        let spare = {
            let spare = &mut self.kept().spare;
            match spare.iter().position(|spare| spare.capacity() >= length) {
                Some(at) => Some(spare.swap_remove(at)),
                // All are too small, so one of them makes room for what this one becomes.
                None => spare.pop().and(None),
            }
        };
        let Some(mut spare) = spare else { return vec![0; length] };
        spare.resize(length, 0);
        spare
    }

    /// Gives memory back when nothing comes any more; runs for ever.
    pub(crate) async fn forget(self: Arc<Self>) {
        loop {
            tokio::time::sleep(KEPT_FOR / 2).await;
            self.forget_before(Instant::now().checked_sub(KEPT_FOR));
        }
    }

    fn forget_before(&self, then: Option<Instant>) {
        let mut kept = self.kept();
        while kept.order.front().is_some_and(|(since, _)| Some(*since) < then) {
            kept.forget_oldest();
        }
        if kept.order.is_empty() {
            kept.spare = Vec::new();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        let Some((_, id)) = self.order.pop_front() else { return };
        let Some(stored) = self.chunks.remove(&id) else { return };
        self.bytes -= stored.capacity();
        // While it is being sent the sender frees it.
        if let Ok(stored) = Arc::try_unwrap(stored) {
            self.save(stored);
        }
    }

    fn save(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE {
            self.spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ChunkId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        ChunkId(id)
    }

    #[test]
    fn a_chunk_that_just_came_is_given_out_as_it_came() {
        let recent = Recent::default();
        recent.keep(id(1), vec![0, 1, 2]);
        recent.keep(id(1), vec![0, 1, 2]);
        assert_eq!(*recent.get(&id(1)).unwrap(), [0, 1, 2]);
        assert!(recent.get(&id(2)).is_none());
    }

    #[test]
    fn the_oldest_go_first_when_there_are_too_many_bytes_or_chunks() {
        let recent = Recent::default();
        for number in 0..40 {
            recent.keep(id(number), vec![7; 1 << 20]);
            assert!(recent.kept().bytes <= KEPT_BYTES);
        }
        assert!(recent.get(&id(23)).is_none() && recent.get(&id(24)).is_some());
        for number in 100..100 + KEPT_CHUNKS {
            recent.keep(id(number), vec![7]);
        }
        assert!(recent.get(&id(39)).is_none() && recent.get(&id(100)).is_some());
        let kept = recent.kept();
        assert_eq!((kept.order.len(), kept.bytes), (KEPT_CHUNKS, KEPT_CHUNKS));
    }

    #[test]
    fn memory_is_used_again_and_a_chunk_that_is_being_sent_keeps_its_own() {
        let recent = Recent::default();
        recent.keep(id(0), vec![9; 1 << 20]);
        let sent = recent.get(&id(0)).unwrap();
        for number in 1..=16 {
            recent.keep(id(number), vec![7; 1 << 20]);
        }
        assert!(recent.get(&id(0)).is_none());
        assert!(recent.kept().spare.is_empty());
        recent.keep(id(17), vec![7; 1 << 20]);
        assert_eq!(recent.kept().spare.len(), 1);
        let buffer = recent.buffer(1000);
        assert_eq!((buffer.len(), buffer.capacity()), (1000, 1 << 20));
        assert_eq!(recent.buffer(1000).capacity(), 1000);
        assert!(sent.iter().all(|byte| *byte == 9));
    }

    #[test]
    fn nothing_is_held_once_nothing_comes_any_more() {
        let recent = Recent::default();
        for number in 0..40 {
            recent.keep(id(number), vec![7; 1 << 20]);
        }
        recent.forget_before(Instant::now().checked_sub(KEPT_FOR));
        assert!(recent.get(&id(39)).is_some());
        recent.forget_before(Some(Instant::now() + KEPT_FOR));
        let kept = recent.kept();
        assert_eq!((kept.chunks.len(), kept.order.len(), kept.spare.len()), (0, 0, 0));
        assert_eq!(kept.bytes, 0);
    }
}
