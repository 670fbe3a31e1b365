//! HQ's feeds, with a hostile terminal on one link and an honest one on the other.

use std::time::Duration;

use storemesh_keys::Timestamp;
use storemesh_protocol::{
    Instant,
    feeds::{
        Memory,
        hq::{self, HqFeeds},
    },
    wire::feeds::{FeedFrame, Over},
};
use storemesh_tests::fuzz::Target;

use super::{
    HONEST, HOSTILE, most,
    pen::Pen,
    script::{scripts, topic},
};
use crate::{
    MEMORY,
    chain::{NOW, name, peer, signer, trust},
    composites::{line, lines},
    wire::shape,
};

/// HQ's feeds, and what was heard of them.
struct Office {
    feeds: HqFeeds,
    rows: Memory,
    now: Instant,
    wall: Timestamp,
    said: String,
    /// Frames that the honest terminal was sent.
    to_honest: Vec<FeedFrame>,
}

const HONEST_LINK: u64 = 1;
const HOSTILE_LINK: u64 = 2;

impl Office {
    fn take(&mut self, input: hq::Input) {
        for output in self.feeds.handle(self.now, self.wall, &mut self.rows, vec![input]) {
            match output {
                hq::Output::Close { link, why } => {
                    assert_ne!(link, HONEST_LINK, "{why}");
                    self.said.push_str(&why);
                }
                hq::Output::Reject { why, .. } => self.said.push_str(&why),
                hq::Output::Event(event) => {
                    assert!(!matches!(event, hq::Event::OutOfScope { .. }), "{event:?}");
                    self.said.push_str(&shape(&event));
                }
                hq::Output::Send { link, frame } => {
                    let frame = FeedFrame::read(&frame).expect("a frame of ours");
                    self.said.push_str(&shape(&frame));
                    if link == HONEST_LINK {
                        self.to_honest.push(frame);
                    }
                }
                hq::Output::Appended { .. } | hq::Output::Tell(_) => {}
            }
            self.said.push(' ');
        }
        let deadline = self.feeds.deadline();
        assert!(self.now < deadline, "a tick is asked for at {deadline:?}, it is {:?}", self.now);
    }

    fn up(&mut self, link: u64, number: u8) {
        self.take(hq::Input::Up { link, peer: peer(number), store: name("s1") });
    }

    fn later(&mut self, by: Duration) {
        self.now = self.now + by;
        self.wall = self.wall.plus(by);
        self.take(hq::Input::Tick);
    }
}

#[test]
fn hqs_feeds_with_a_hostile_terminal() {
    let [frames, entries, _] = scripts(b'n');
    let (time, again) = (line(b't', &[255; 40]), line(b'r', b""));
    let seeds = vec![
        frames.concat(),
        entries.concat(),
        [frames.join(&time[..]), again, entries.join(&time[..])].concat(),
        [entries.join(&time[..]), frames.concat()].concat(),
    ];
    let run = |input: &[u8]| {
        let mut rows = Memory::default();
        let (feeds, _) = HqFeeds::load(signer(), trust(), &mut rows);
        let (now, wall, said, to_honest) = (Instant(1), NOW, String::new(), Vec::new());
        let mut office = Office { feeds, rows, now, wall, said, to_honest };
        let (mut honest, mut hostile) = (Pen::new(HONEST), Pen::new(HOSTILE));
        office.up(HONEST_LINK, HONEST);
        office.up(HOSTILE_LINK, HOSTILE);
        for (letter, bytes) in lines(input) {
            let frame = match letter {
                b't' => {
                    let millis = bytes.iter().map(|byte| u64::from(*byte)).sum();
                    office.later(Duration::from_millis(millis));
                    continue;
                }
                b'r' => {
                    office.take(hq::Input::Down { link: HOSTILE_LINK });
                    office.up(HOSTILE_LINK, HOSTILE);
                    continue;
                }
                b'e' => {
                    let Some((topic, payload)) = topic(bytes) else { continue };
                    hostile.batch(topic, payload).write(Over::Wan)
                }
                _ => bytes.to_vec(),
            };
            office.take(hq::Input::Frame { link: HOSTILE_LINK, bytes: frame });
        }
        // Whatever was said before, the honest terminal's sale is kept and acknowledged.
        office.to_honest.clear();
        let bytes = honest.batch("sales", b"{}").write(Over::Wan);
        office.take(hq::Input::Frame { link: HONEST_LINK, bytes });
        office.later(Duration::from_secs(1));
        let acks = office.to_honest.iter().flat_map(|frame| frame.acks.iter().flatten());
        let trust = trust();
        let read = acks.map(|ack| ack.verify(&trust, NOW, storemesh_keys::Expiry::Ignored));
        let feed = honest.feed("sales");
        assert!(read.flatten().any(|ack| ack.feed == feed && ack.seq == 1), "no acknowledgement");
        office.said
    };
    let (name, memory_max, memory) = ("hq_feeds", most, &MEMORY);
    Target { name, seeds, memory_max, mutations: 500, memory, run }.try_out();
}
