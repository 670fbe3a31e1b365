//! `storemesh status --watch`: a live page of the store, on a terminal.
//!
//! Twice a second the node is asked over its socket and the page is drawn anew ([`page`]). When the
//! node does not answer, the page stays as it was last known and says so, and goes on when the node
//! is back. However this ends, the terminal is as it was before: at `q`, Ctrl-C, a signal, an error
//! or a panic.

mod page;
mod rates;
#[cfg(test)]
mod tests;

use std::{
    io::{IsTerminal as _, stdin, stdout},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use storemesh_host::{exit::Failure, http::ClientError};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use self::rates::Rates;
use crate::{
    cli::Common,
    client,
    views::{Answer, Peer, Status},
};

/// Twice a second.
const REFRESH: Duration = Duration::from_millis(500);
/// A node that takes longer than this for an answer is as good as away.
const ANSWER: Duration = Duration::from_secs(2);

/// All that the page shows.
#[derive(Debug, Default)]
struct View {
    /// What the node said last.
    said: Option<Said>,
    rates: Rates,
    /// Why the node does not answer, and for how long.
    silent: Option<(String, Duration)>,
}

#[derive(Debug)]
struct Said {
    status: Status,
    peers: Vec<Peer>,
    answers: Vec<Answer>,
}

pub(crate) fn run(common: &Common) -> anyhow::Result<()> {
    if common.json || !stdout().is_terminal() || !stdin().is_terminal() {
        return Err(Failure::usage(
            "--watch draws a page on a terminal: run it in one and without --json; programs ask \
             `storemesh status --json` or GET /v1/status again and again",
        )
        .into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    let mut signals = Signals::catch(&runtime).context("catching signals")?;
    let mut screen = Screen::take()?;
    let mut view = View::default();
    let mut heard = Instant::now();
    loop {
        let asked = Instant::now();
        match runtime.block_on(ask(&common.data)) {
            Ok(said) => {
                heard = Instant::now();
                view.rates.add(heard, &said);
                (view.said, view.silent) = (Some(said), None);
            }
            Err(why) => view.silent = Some((why, heard.elapsed())),
        }
        screen.terminal.draw(|frame| page::draw(frame, &view)).context("drawing the page")?;
        loop {
            if signals.came(&runtime) {
                return Ok(());
            }
            let left = REFRESH.saturating_sub(asked.elapsed());
            if !event::poll(left).context("waiting for a key")? {
                break;
            }
            match event::read().context("reading a key")? {
                Event::Key(key) if ends(key) => return Ok(()),
                Event::Resize(..) => break,
                Event::Key(_)
                | Event::Mouse(_)
                | Event::Paste(_)
                | Event::FocusGained
                | Event::FocusLost => {}
            }
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    let control_c = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    let quit = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc);
    key.kind == KeyEventKind::Press && (quit || control_c)
}

/// The error is a line for the page.
async fn ask(data: &Path) -> Result<Said, String> {
    let client = client::at(data);
    let asking = async {
        let status = client.get("/v1/status").await?;
        let peers = client.get("/v1/peers").await?;
        let answers = client.get("/v1/why").await?;
        Ok::<_, ClientError>(Said { status, peers, answers })
    };
    match timeout(ANSWER, asking).await {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(why)) => Err(client::explained(data, why).to_string()),
        Err(_) => Err(format!("the node does not answer within {} s", ANSWER.as_secs())),
    }
}

/// The person's terminal, taken over until this is dropped. A panic gives it back too, before it is
/// reported.
struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    fn take() -> anyhow::Result<Self> {
        let taken = ratatui::try_init().inspect_err(|_| ratatui::restore());
        Ok(Self { terminal: taken.context("taking over the terminal")? })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The signals that would end the process with the terminal still taken over.
struct Signals([Signal; 3]);

impl Signals {
    fn catch(runtime: &Runtime) -> std::io::Result<Self> {
        let _inside = runtime.enter();
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::interrupt())?,
        ]))
    }

    fn came(&mut self, runtime: &Runtime) -> bool {
        runtime.block_on(async {
            // The runtime hears of signals when it has a moment.
            tokio::task::yield_now().await;
            let [first, second, third] = &mut self.0;
            tokio::select! {
                biased;
                _ = first.recv() => true,
                _ = second.recv() => true,
                _ = third.recv() => true,
                () = std::future::ready(()) => false,
            }
        })
    }
}
