//! Bytes from strangers: what every decoder, and every composite behind one, is tried with.
//!
//! A [`Target`] takes any bytes and says in a line what came of them. The rule: it never panics, never
//! takes more memory than it says, and what it accepts is the same after being written and read again
//! (that is the target's to assert). Each run replays the committed corpus, `tests/corpus/TARGET`, and
//! then some thousand mutations of it, from a fixed seed. With `STOREMESH_FUZZ_SECONDS`
//! set it is a campaign: other mutations for so long, and what gives an answer that was not seen
//! before is cut down and joins the corpus.
//!
//! An input that breaks a rule is kept in the folder for temporary files, and the failure names it; once
//! mended it goes into the corpus.

use std::{
    collections::BTreeSet,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use peak_alloc::PeakAlloc;

const SECONDS: &str = "STOREMESH_FUZZ_SECONDS";
/// Files of one target's corpus, and the longest: a repository is no place for more.
const CORPUS_MAX: usize = 24;
const KEPT_BYTES_MAX: usize = 4096;
/// No input is longer, unless a seed is: the largest frame of a mesh.
const INPUT_MAX: usize = 64 << 10;
/// For cutting one input down: else a slow target's campaign is spent on nothing else.
const CUTTING: Duration = Duration::from_millis(100);
/// What the harness itself and its thread may take meanwhile.
const SLACK: usize = 256 << 10;

/// Memory is counted for the whole process, so targets take turns.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Debug)]
pub struct Target<'a, F> {
    pub name: &'static str,
    /// Good inputs, by the real encoders.
    pub seeds: Vec<Vec<u8>>,
    /// On every change, how many mutations of the corpus are tried.
    pub mutations: u32,
    /// For an input of so many bytes, how much memory may be taken at most at one moment.
    pub memory_max: fn(usize) -> usize,
    pub memory: &'a PeakAlloc,
    /// What came of it, in a line; numbers in it do not count as news.
    pub run: F,
}

impl<F: Fn(&[u8]) -> String> Target<'_, F> {
    /// # Panics
    /// When an input breaks a rule.
    pub fn try_out(&self) {
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let mut corpus = self.seeds.clone();
        let mut seen = BTreeSet::new();
        for seed in &self.seeds {
            seen.insert(kind(&self.once(seed)));
        }
        let mut files = 0;
        for path in sorted(&folder) {
            let input = fs::read(&path).expect("the corpus is readable");
            seen.insert(kind(&self.once(&input)));
            corpus.push(input);
            files += 1;
        }
        let campaign = env::var(SECONDS).ok().map(|seconds| {
            Duration::from_secs(seconds.parse().expect("STOREMESH_FUZZ_SECONDS is a number"))
        });
        let began = Instant::now();
        let mut dice = Dice(if campaign.is_some() { clock() } else { 1 });
        let (mut inputs, mut peak) = (0_u64, 0);
        loop {
            match campaign {
                None if inputs >= u64::from(self.mutations) => break,
                Some(seconds) if began.elapsed() >= seconds => break,
                None | Some(_) => {}
            }
            inputs += 1;
            let input = dice.mutated(&corpus);
            let (said, took) = self.measured(&input);
            peak = peak.max(took);
            if seen.insert(kind(&said)) {
                let mut input = input;
                if campaign.is_some() && files < CORPUS_MAX {
                    input = self.cut_down(input, &kind(&said));
                    if input.len() <= KEPT_BYTES_MAX {
                        keep(&folder, &input);
                        files += 1;
                    }
                }
                corpus.push(input);
            }
        }
        eprintln!(
            "{:<24} {inputs:>9} inputs in {:>4} s, {:>4} answers, {files:>3} files, at most {} KiB",
            self.name,
            began.elapsed().as_secs(),
            seen.len(),
            peak.div_ceil(1024),
        );
    }

    fn once(&self, input: &[u8]) -> String {
        self.measured(input).0
    }

    fn measured(&self, input: &[u8]) -> (String, usize) {
        let before = self.memory.current_usage();
        self.memory.reset_peak_usage();
        let ran = catch_unwind(AssertUnwindSafe(|| (self.run)(input)));
        let took = self.memory.peak_usage().saturating_sub(before);
        let most = (self.memory_max)(input.len()) + SLACK;
        let wrong = match &ran {
            Err(_) => Some("it panicked".to_owned()),
            Ok(_) if most < took => Some(format!("{took} bytes of memory, at most {most}")),
            Ok(_) => None,
        };
        if let Some(wrong) = wrong {
            let folder = env::temp_dir().join("storemesh-decoders").join(self.name);
            let path = keep(&folder, input);
            panic!("{}: {wrong}; the input is in `{}`", self.name, path.display());
        }
        (ran.expect("looked at above"), took)
    }

    /// Shorter, with the same answer.
    fn cut_down(&self, mut input: Vec<u8>, answer: &str) -> Vec<u8> {
        let (mut step, began) = (input.len() / 2, Instant::now());
        while step > 0 {
            let mut at = 0;
            while at + step <= input.len() && began.elapsed() < CUTTING {
                let shorter = [&input[..at], &input[at + step..]].concat();
                if kind(&self.once(&shorter)) == answer {
                    input = shorter;
                } else {
                    at += step;
                }
            }
            step /= 2;
        }
        input
    }
}

/// An answer without its numbers, hashes and texts in quotes.
fn kind(said: &str) -> String {
    let mut kind = String::new();
    for word in said.split(' ') {
        let plain = word.chars().all(|c| c.is_ascii_alphabetic() || ",.:;()'_".contains(c));
        kind.push_str(if plain && word.len() < 24 { word } else { "#" });
        kind.push(' ');
    }
    kind
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn keep(folder: &Path, input: &[u8]) -> PathBuf {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = folder.join(format!("{hash:016x}"));
    fs::create_dir_all(folder).and_then(|()| fs::write(&path, input)).expect("it can be kept");
    path
}

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos() & u128::from(u64::MAX)).unwrap_or(1) | 1
}

/// A xorshift generator, and what it does to inputs.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }

    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        let max = input.len().max(INPUT_MAX);
        for _ in 0..=self.below(4) {
            self.mutate(&mut input, corpus);
        }
        input.truncate(max);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        /// Bytes that mean something in CBOR, in lengths and in text.
        const TELLING: [u8; 16] = [
            0, 1, 0x17, 0x18, 0x1b, 0x20, 0x40, 0x60, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xd8, 0xf6,
            0xff,
        ];
        /// Heads of lengths that nobody has so many bytes for.
        const ENDLESS: [&[u8]; 6] = [
            &[0x5b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x7a, 0xff, 0xff, 0xff, 0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9a, 0, 0xff, 0xff, 0xff],
            &[0xbb, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            &[0xff, 0xff, 0xff, 0xff],
        ];
        let at = self.below(input.len() + 1);
        let end = (at + self.below(16)).min(input.len());
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = TELLING[self.below(TELLING.len())],
            2 if at < input.len() => input[at] = input[at].wrapping_add(1),
            3 => _ = input.splice(at..end, []),
            4 => input.insert(at, TELLING[self.below(TELLING.len())]),
            5 => {
                let copy = input[at..end].to_vec();
                let times = 1 + self.below(64);
                input.splice(at..at, copy.repeat(times));
            }
            6 => {
                let head = ENDLESS[self.below(ENDLESS.len())];
                input.splice(at..(at + 1).min(input.len()), head.iter().copied());
            }
            7 => input.truncate(at),
            8 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => input.push(TELLING[self.below(TELLING.len())]),
        }
    }
}
