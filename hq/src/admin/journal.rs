//! The stores' journals for programs of the head office: a page at a time, or as they come.
//!
//! ```text
//! GET /v1/journal?since=CURSOR&limit=N&store=S&topic=T        a bare array
//! GET /v1/journal/tail?since=CURSOR&store=S&topic=T           lines (NDJSON), and then what comes
//! GET /v1/journal/tail?since=CURSOR&follow=false&limit=N      lines, to the end of what is there
//! GET /v1/journal/status?store=S                              how far each terminal's is held
//! ```
//!
//! The rule: whoever keeps the cursor of the last entry that it has worked off, and goes on behind it, gets
//! each entry at least once; `terminal_id`, `boot`, `topic` and `seq` together tell whether it had it
//! before. A tail says an empty line when it has had nothing to say for [`QUIET`], so that both ends notice
//! when the other is gone. Pages are read as they are sent, so a slow reader costs one of them.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use serde::Deserialize;
use storemesh_host::{
    db::Db,
    http::{Asked, Parameters, Problem},
};
use storemesh_keys::Trust;
use storemesh_protocol::feeds::{
    Read,
    export::{self, Filter, Page},
    held,
    hq::{Cursor, CursorError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    Admin, bad_request,
    json::HeldRow,
    line::{self, Line},
    stock::OfStore,
};

/// Entries of one answer, unless the asker says otherwise.
const LIMIT: usize = 1000;
const LIMIT_MAX: usize = 10_000;
/// Entries that a tail reads at once.
const PIECE: usize = 1000;
/// Tails at once: few programs read them, and each holds a connection.
const TAILS_MAX: usize = 32;
const QUIET: Duration = Duration::from_secs(15);

const CURSOR: HeaderName = HeaderName::from_static("storemesh-cursor");
const MORE: HeaderName = HeaderName::from_static("storemesh-more");

/// Where the journals lie.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    books: Arc<Db>,
    trust: Trust,
    /// Changes when there may be more.
    grown: watch::Receiver<()>,
    tails: Arc<Semaphore>,
}

impl Journal {
    pub(crate) fn new(books: Arc<Db>, trust: Trust, grown: watch::Receiver<()>) -> Self {
        Self { books, trust, grown, tails: Arc::new(Semaphore::new(TAILS_MAX)) }
    }

    /// Reads what was committed last.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Read, &Trust) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (books, trust) = (self.books.clone(), self.trust);
        let looked = spawn_blocking(move || books.look(|read| look(read, &trust))).await;
        match looked {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(why)) => Err(Problem::internal(&why.context("reading HQ's feeds"))),
            Err(why) => Err(Problem::internal(&why.into())),
        }
    }

    async fn page(&self, since: Cursor, filter: Filter, limit: usize) -> Result<Page, Problem> {
        self.look(move |read, trust| export::page(read, trust, since, &filter, limit)).await
    }

    async fn check(&self, since: Cursor) -> Result<(), Problem> {
        self.look(move |read, _| since.check(read)).await?.map_err(|why| not_a_cursor(&why))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    since: Option<String>,
    limit: Option<usize>,
    store: Option<String>,
    topic: Option<String>,
}

impl Parameters for Wanted {
    const FORM: &'static str = "since=CURSOR, limit=N (from 1 to 10000), store=S, topic=T";
}

/// What a tail takes beside that; `serde` cannot refuse unknown names through a flattened part.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tailed {
    since: Option<String>,
    limit: Option<usize>,
    store: Option<String>,
    topic: Option<String>,
    follow: Option<bool>,
}

impl Parameters for Tailed {
    const FORM: &'static str =
        "since=CURSOR, limit=N (1 or more), store=S, topic=T, follow=true or false";
}

impl Wanted {
    fn since(&self) -> Result<Cursor, Problem> {
        match self.since.as_deref() {
            None | Some("") => Ok(Cursor::BEGINNING),
            Some(text) => text.parse().map_err(|why| not_a_cursor(&why)),
        }
    }

    /// Entries of one answer, at most.
    fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(default);
        if (1..=max).contains(&limit) {
            return Ok(limit);
        }
        let possible =
            if max == usize::MAX { "1 or more".to_owned() } else { format!("from 1 to {max}") };
        Err(bad_request(format!("limit is {limit}: {possible} is possible")))
    }

    async fn filter(&self, admin: &Admin) -> Result<Filter, Problem> {
        let store = admin.store(self.store.as_deref()).await?;
        let topic = admin.topic(self.topic.as_deref()).await?;
        Ok(Filter { store, topic })
    }
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Response, Problem> {
    let (since, limit) = (wanted.since()?, wanted.limit(LIMIT, LIMIT_MAX)?);
    let filter = wanted.filter(&admin).await?;
    admin.journal.check(since).await?;
    let Page { lines, next, more } = admin.journal.page(since, filter, limit).await?;
    let lines: Vec<String> = lines.iter().map(line::render).collect();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let next = HeaderValue::try_from(next.to_string()).expect("a cursor is digits");
    headers.insert(CURSOR, next);
    headers.insert(MORE, HeaderValue::from_static(if more { "true" } else { "false" }));
    Ok((headers, format!("[{}]", lines.join(","))).into_response())
}

pub(super) async fn tail(
    State(admin): State<Admin>,
    Asked(Tailed { since, limit, store, topic, follow }): Asked<Tailed>,
) -> Result<Response, Problem> {
    let wanted = Wanted { since, limit, store, topic };
    let (since, left) = (wanted.since()?, wanted.limit(usize::MAX, usize::MAX)?);
    let filter = wanted.filter(&admin).await?;
    let journal = admin.journal;
    journal.check(since).await?;
    let Ok(turn) = journal.tails.clone().try_acquire_owned() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-tails",
            "Too many tails",
            format!("{TAILS_MAX} programs read the journal already: end one of them"),
        ));
    };
    let follow = follow.unwrap_or(true);
    let tail = Tail { journal, since, filter, follow, left, ended: false, _turn: turn };
    let pieces = stream::unfold(tail, |mut tail| async {
        let piece = tail.next().await?;
        Some((piece, tail))
    });
    let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

struct Tail {
    journal: Journal,
    since: Cursor,
    filter: Filter,
    follow: bool,
    left: usize,
    ended: bool,
    _turn: OwnedSemaphorePermit,
}

impl Tail {
    /// Whole lines; none when there is nothing more to say.
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        loop {
            if self.ended || self.left == 0 {
                return None;
            }
            // What comes while the page is read wakes the next wait.
            self.journal.grown.mark_unchanged();
            let page = self.journal.page(self.since, self.filter.clone(), PIECE.min(self.left));
            let page = match page.await {
                Ok(page) => page,
                Err(why) => {
                    // The reader sees a broken answer and asks again from its last cursor.
                    self.ended = true;
                    return Some(Err(std::io::Error::other(why)));
                }
            };
            self.since = page.next;
            self.left -= page.lines.len();
            let is_last = !page.more && !self.follow;
            self.ended = is_last;
            if !page.lines.is_empty() {
                let lines = page.lines.iter().map(|line: &Line| line::render(line) + "\n");
                return Some(Ok(lines.collect::<String>().into()));
            }
            if page.more || is_last {
                continue;
            }
            match timeout(QUIET, self.journal.grown.changed()).await {
                Ok(Ok(())) => {}
                // HQ stops.
                Ok(Err(_)) => return None,
                Err(_) => return Some(Ok(Bytes::from_static(b"\n"))),
            }
        }
    }
}

pub(super) async fn status(
    State(admin): State<Admin>,
    Asked(OfStore { store }): Asked<OfStore>,
) -> Result<Json<Vec<HeldRow>>, Problem> {
    let store = admin.store(store.as_deref()).await?;
    let rows = admin.journal.look(move |read, trust| held(read, trust, store.as_ref())).await?;
    let rows = rows.into_iter().map(|row| HeldRow {
        store: row.store.to_string(),
        terminal: row.terminal.to_string(),
        terminal_id: row.peer.to_string(),
        topic: row.topic.to_string(),
        boots: row.boots,
        entries: row.entries,
        newest_boot: row.newest.0.to_string(),
        newest_seq: row.newest.1,
        missing: row.missing,
        void: row.void,
        forked: row.forked,
        cloned: row.cloned,
        ended: row.ended,
    });
    Ok(Json(rows.collect()))
}

fn not_a_cursor(why: &CursorError) -> Problem {
    let (slug, title) = match why {
        CursorError::Malformed(_) => ("not-a-cursor", "Not a cursor"),
        CursorError::NotOurs(..) => ("another-cursor", "Not a cursor of this HQ"),
    };
    Problem::new(StatusCode::BAD_REQUEST, slug, title, why.to_string())
}
