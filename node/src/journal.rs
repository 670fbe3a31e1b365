//! The commands of the journal and of stock: clients of the running node, for people and scripts.

use std::{
    fmt::Write as _,
    fs::File,
    io::{Read, stdin},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand, ValueEnum};
use storemesh_host::{
    out,
    stock::{Counted, Stock},
};
use storemesh_keys::Name;
use storemesh_protocol::feeds::PAYLOAD_MAX;

use crate::{
    cli::Common,
    client::{ask, client},
    views::{Entry, Journal, JournalState, OwnFeed},
};

/// The node answers so long after what it was told to wait.
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Post an event: it is kept on this terminal, and gets to HQ once
    Post(PostFlags),
    /// How this terminal's own entries stand
    Status,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PostFlags {
    /// The topic, such as `sales`
    pub(crate) topic: Name,
    /// The event as JSON; `-` reads it from stdin
    #[arg(default_value = "-", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What makes posting again safe: the same key gives the same entry [default: a new one]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Wait until it is kept there too
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "disk")]
    pub(crate) ack: Level,
    /// For how long
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub(crate) wait_ms: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    Disk,
    Neighbour,
    Hq,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Neighbour => "neighbour",
            Self::Hq => "hq",
        }
    }
}

pub(crate) fn run(common: &Common, command: JournalCommand) -> anyhow::Result<()> {
    match command {
        JournalCommand::Post(flags) => post(common, &flags),
        JournalCommand::Status => status(common),
    }
}

fn post(common: &Common, flags: &PostFlags) -> anyhow::Result<()> {
    let body = body(&flags.file)?;
    let key = flags.key.clone().map_or_else(random_key, Ok)?;
    let path =
        format!("/v1/journal/{}?ack={}&wait_ms={}", flags.topic, flags.ack.word(), flags.wait_ms);
    let patience = ANSWER.saturating_add(Duration::from_millis(flags.wait_ms));
    let entry: Entry = client(&common.data, async |client| {
        client.keyed(&key).within(patience).post_bytes(&path, body).await
    })?;
    if common.json {
        return out::json(&entry);
    }
    let Entry { terminal, boot, topic, seq, reached, .. } = &entry;
    out::line(format_args!("entry {seq} of {topic}, boot {boot}, by {terminal}"))?;
    match (reached.as_deref(), flags.ack) {
        (None, _) => Ok(()),
        (Some("neighbour"), _) => out::line(
            "it is on this terminal's disk and a neighbour's, and HQ has not acknowledged it yet",
        ),
        (Some(_), Level::Neighbour) => {
            out::line("it is on this terminal's disk, and no neighbour has it yet")
        }
        (Some(_), Level::Disk | Level::Hq) => {
            out::line("it is on this terminal's disk, and HQ has not acknowledged it yet")
        }
    }
}

fn body(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let most = PAYLOAD_MAX as u64 + 1;
    if file == Path::new("-") {
        stdin().lock().take(most).read_to_end(&mut body).context("reading the event from stdin")?;
    } else {
        let reading = || format!("reading `{}`", file.display());
        let file = File::open(file).with_context(reading)?;
        file.take(most).read_to_end(&mut body).with_context(reading)?;
    }
    ensure!(body.len() <= PAYLOAD_MAX, "an event of more than {PAYLOAD_MAX} bytes: it is too long");
    Ok(body)
}

fn random_key() -> anyhow::Result<String> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).context("asking the machine for random bytes")?;
    Ok(format!("{:032x}", u128::from_le_bytes(key)))
}

fn status(common: &Common) -> anyhow::Result<()> {
    let journal: Journal = ask(&common.data, "/v1/journal")?;
    if common.json {
        return out::json(&journal);
    }
    if journal.schema == 0 {
        out::line(
            "HQ has not told yet which journals there are: this terminal has to reach it once, or a \
             neighbour that has",
        )?;
    }
    if journal.state.full {
        out::line("the disk is full: new entries are refused, make room")?;
    }
    if let Some(ended) = ended(&journal.state) {
        out::line(ended)?;
    }
    if journal.feeds.is_empty() {
        return out::line("this terminal has written nothing yet");
    }
    out::line(format_args!(
        "{:<16} {:<16} {:>10} {:>10} {:>10} {:>7}",
        "topic", "boot", "entries", "last", "HQ has", "copies"
    ))?;
    for OwnFeed { topic, boot, first_seq, last_seq, acked_seq, copies } in &journal.feeds {
        let kept = (last_seq + 1).saturating_sub(*first_seq);
        out::line(format_args!(
            "{topic:<16} {boot:<16} {kept:>10} {last_seq:>10} {acked_seq:>10} {copies:>7}"
        ))?;
    }
    out::line(format_args!("{}", unacked(journal.state.unacked)))
}

/// For `status` too.
pub(crate) fn unacked(entries: u64) -> String {
    match entries {
        0 => "HQ has all that this terminal wrote".to_owned(),
        1 => "1 entry of this terminal is still to reach HQ".to_owned(),
        more => format!("{more} entries of this terminal are still to reach HQ"),
    }
}

/// For `status` too.
pub(crate) fn ended(state: &JournalState) -> Option<String> {
    let on = match (state.ended, state.ended_topics.as_slice()) {
        (true, _) => "any topic".to_owned(),
        (false, []) => return None,
        (false, topics) => topics.join(" and "),
    };
    Some(format!("HQ has ended what this terminal writes on {on}: it takes nothing more there"))
}

pub(crate) fn stock(common: &Common, item: &str) -> anyhow::Result<()> {
    let stock: Stock = ask(&common.data, &format!("/v1/stock/{}", in_a_path(item)))?;
    if common.json {
        return out::json(&stock);
    }
    out::line(format_args!("{}: {} on hand", stock.item, stock.on_hand))?;
    if let Some(Counted { quantity, terminal, terminal_id, .. }) = &stock.counted {
        let by = terminal.as_ref().unwrap_or(terminal_id);
        out::line(format_args!("the last count found {quantity}, by terminal {by}"))?;
    }
    Ok(())
}

/// Whatever a URL's path gives a meaning is written as its bytes.
fn in_a_path(item: &str) -> String {
    let mut path = String::new();
    for byte in item.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("writing into memory cannot fail");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_item_fits_into_a_path() {
        assert_eq!(in_a_path("4012345678901"), "4012345678901");
        assert_eq!(in_a_path("a/b?c#d e.%"), "a%2Fb%3Fc%23d%20e%2E%25");
        assert_eq!(in_a_path("Käse"), "K%C3%A4se");
    }

    #[test]
    fn an_end_is_told_with_its_topics() {
        let mut state = JournalState::default();
        assert_eq!(ended(&state), None);
        state.ended_topics = vec!["cash".to_owned(), "sales".to_owned()];
        assert!(ended(&state).unwrap().contains("writes on cash and sales:"));
        state.ended = true;
        assert!(ended(&state).unwrap().contains("writes on any topic:"));
    }

    #[test]
    fn an_event_that_is_too_long_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sale.json");
        std::fs::write(&path, vec![b'1'; PAYLOAD_MAX]).unwrap();
        assert_eq!(body(&path).unwrap().len(), PAYLOAD_MAX);
        std::fs::write(&path, vec![b'1'; PAYLOAD_MAX + 1]).unwrap();
        assert!(body(&path).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn every_new_event_gets_a_key_of_its_own() {
        let (one, other) = (random_key().unwrap(), random_key().unwrap());
        assert!(one.len() == 32 && one != other);
    }
}
