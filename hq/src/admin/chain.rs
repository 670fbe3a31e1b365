//! What HQ says to the whole chain: the schema, settings, ends of authors, and what became of clones.
//!
//! ```text
//! GET  /v1/schema                        POST /v1/schema {topics}
//! GET  /v1/settings                      POST /v1/settings {what changes}
//! GET  /v1/ends                          POST /v1/terminals/{terminal}/end {topic?}
//! GET  /v1/clones                        POST /v1/clones/{terminal}/settle
//! GET  /v1/alarms                        what is wrong with HQ itself
//! ```
//!
//! A terminal is a name, an id, or the beginning of one that no other begins with. One order at a time:
//! what is changed is read before.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use storemesh_host::http::Problem;
use storemesh_keys::{Name, Timestamp};
use storemesh_protocol::{
    feeds::{
        Author, Control, Ended, EntryId, Schema, Settings,
        hq::{self as feeds, AppendError},
    },
    hq::{Answer, FleetRow, Order},
};

use super::{
    Admin, bad_request,
    json::{CloneRow, EndRow, NewEnd, NewSchema, Said, SchemaRow, SettingsRow},
    mismatch, parse,
};
use crate::{feeds::Order as FeedsOrder, schema, utc};

pub(super) async fn show_schema(State(admin): State<Admin>) -> Result<Json<SchemaRow>, Problem> {
    let newest = admin.journal.look(|read, _| feeds::schema(read)).await?;
    let Schema { version, topics } = newest.unwrap_or(Schema { version: 0, topics: Vec::new() });
    Ok(Json(SchemaRow { version, topics: topics.iter().map(schema::row).collect() }))
}

pub(super) async fn publish(
    State(admin): State<Admin>,
    Json(new): Json<NewSchema>,
) -> Result<(StatusCode, Json<SchemaRow>), Problem> {
    let topics: Vec<_> =
        new.topics.iter().map(schema::rule).collect::<Result<_, _>>().map_err(bad_request)?;
    let _one_at_a_time = admin.orders.lock().await;
    let newest = admin.journal.look(|read, _| feeds::schema(read)).await?;
    if let Some(newest) = newest.as_ref().filter(|newest| newest.topics == topics) {
        let same = SchemaRow { version: newest.version, topics: new.topics };
        return Ok((StatusCode::OK, Json(same)));
    }
    let version = newest.map_or(1, |newest| newest.version + 1);
    let schema = Some(Schema { version, topics });
    admin.say(Control { schema, ..Control::default() }).await?;
    Ok((StatusCode::CREATED, Json(SchemaRow { version, topics: new.topics })))
}

pub(super) async fn show_settings(
    State(admin): State<Admin>,
) -> Result<Json<SettingsRow>, Problem> {
    Ok(Json(row(admin.journal.look(|read, _| feeds::settings(read)).await?)))
}

pub(super) async fn set(
    State(admin): State<Admin>,
    Json(change): Json<SettingsRow>,
) -> Result<Json<SettingsRow>, Problem> {
    let _one_at_a_time = admin.orders.lock().await;
    let before = admin.journal.look(|read, _| feeds::settings(read)).await?;
    let settings = Settings {
        journal_copies: change.journal_copies.unwrap_or(before.journal_copies),
        journal_retention_s: change.journal_retention_s.unwrap_or(before.journal_retention_s),
    };
    if settings != before {
        admin.say(Control { settings: Some(settings), ..Control::default() }).await?;
    }
    Ok(Json(row(settings)))
}

fn row(settings: Settings) -> SettingsRow {
    SettingsRow {
        journal_copies: Some(settings.journal_copies),
        journal_retention_s: Some(settings.journal_retention_s),
    }
}

pub(super) async fn end(
    State(admin): State<Admin>,
    Path(terminal): Path<String>,
    Json(NewEnd { topic }): Json<NewEnd>,
) -> Result<Json<Said>, Problem> {
    let topic = topic.map(|topic| parse::<Name>("topic", &topic)).transpose()?;
    let terminal = admin.terminal(&terminal).await?;
    let author = Author::terminal(terminal.peer);
    let said = admin.append(FeedsOrder::End { author, topic }).await?;
    Ok(Json(said_of(&terminal, &said)))
}

/// What is wrong with HQ itself, in words, and what to do.
pub(super) async fn alarms(State(admin): State<Admin>) -> Result<Json<Vec<String>>, Problem> {
    let behind = admin.journal.look(|read, _| feeds::behind_since(read)).await?;
    let said = |at: Timestamp| {
        let at = utc::text(at);
        format!(
            "this HQ's data was put back from a backup, as terminals have shown since {at}: stop it, and run \
             `storemesh-hq --data FOLDER restored --root-key FILE` before it serves again, or what it has lost \
             does not come back"
        )
    };
    Ok(Json(behind.map(said).into_iter().collect()))
}

pub(super) async fn clones(State(admin): State<Admin>) -> Result<Json<Vec<CloneRow>>, Problem> {
    let fleet = admin.fleet().await?;
    let (seen, said) =
        admin.journal.look(|read, _| (feeds::clones(read), feeds::clone_claims(read))).await?;
    let seen = seen.into_iter().map(|it| (it.author, it.boots, it.settled, None));
    let said = said.into_iter().map(|it| (it.author, it.boots.to_vec(), false, Some(it.by)));
    let rows = seen.chain(said).map(|(author, boots, settled, by)| {
        let (store, terminal, terminal_id) = called(&fleet, author);
        let boots = boots.iter().map(ToString::to_string).collect();
        CloneRow {
            store,
            terminal,
            terminal_id,
            boots,
            settled,
            said_by: by.map(|by| by.to_string()),
        }
    });
    Ok(Json(rows.collect()))
}

pub(super) async fn ends(State(admin): State<Admin>) -> Result<Json<Vec<EndRow>>, Problem> {
    let fleet = admin.fleet().await?;
    let known = admin.journal.look(|read, _| feeds::ended(read)).await?;
    let rows = known.into_iter().flat_map(|(author, Ended { all, topics })| {
        let (store, terminal, terminal_id) = called(&fleet, author);
        let topics = topics.into_iter().map(|topic| Some(topic.to_string()));
        let on = all.then_some(None).into_iter().chain(topics).collect::<Vec<_>>();
        on.into_iter().map(move |topic| EndRow {
            store: store.clone(),
            terminal: terminal.clone(),
            terminal_id: terminal_id.clone(),
            topic,
        })
    });
    let mut rows: Vec<EndRow> = rows.collect();
    rows.sort_by(|a, b| (&a.store, &a.terminal).cmp(&(&b.store, &b.terminal)));
    Ok(Json(rows))
}

/// A terminal's store, name and id; one that HQ has not enrolled has but the id.
fn called(fleet: &[FleetRow], author: Author) -> (String, String, String) {
    let peer = author.peer();
    let known = fleet.iter().find(|terminal| terminal.peer == peer);
    let name = |name: fn(&FleetRow) -> &Name| {
        known.map_or_else(|| "-".to_owned(), |terminal| name(terminal).to_string())
    };
    (name(|terminal| &terminal.store), name(|terminal| &terminal.name), peer.to_string())
}

pub(super) async fn settle(
    State(admin): State<Admin>,
    Path(terminal): Path<String>,
) -> Result<Json<Said>, Problem> {
    let terminal = admin.terminal(&terminal).await?;
    let author = Author::terminal(terminal.peer);
    let said = admin.append(FeedsOrder::Settle { author }).await?;
    Ok(Json(said_of(&terminal, &said)))
}

fn said_of(terminal: &FleetRow, said: &EntryId) -> Said {
    let (name, id) = (terminal.name.to_string(), terminal.peer.to_string());
    Said { terminal: name, terminal_id: id, seq: said.seq }
}

impl Admin {
    /// Says it to the chain; it is on disk when this returns.
    pub(super) async fn say(&self, control: Control) -> Result<EntryId, Problem> {
        self.append(FeedsOrder::Append(control)).await
    }

    async fn append(&self, order: FeedsOrder) -> Result<EntryId, Problem> {
        match self.feeds.order(order).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(why)) => Err(not_said(&why)),
            Err(stopping) => {
                Err(Problem::of_status(StatusCode::SERVICE_UNAVAILABLE, stopping.to_string()))
            }
        }
    }

    pub(super) async fn fleet(&self) -> Result<Vec<FleetRow>, Problem> {
        let Answer::Fleet(fleet) = self.order(Order::Fleet).await? else { return Err(mismatch()) };
        Ok(fleet)
    }

    /// The one that somebody means.
    async fn terminal(&self, text: &str) -> Result<FleetRow, Problem> {
        let fleet = self.fleet().await?;
        let is = |exact: bool| {
            let fits = move |name: &str| if exact { name == text } else { name.starts_with(text) };
            let fits = move |terminal: &&FleetRow| {
                fits(terminal.name.as_str()) || fits(&terminal.peer.to_string())
            };
            fleet.iter().filter(fits).collect::<Vec<_>>()
        };
        let exact = is(true);
        let found = if exact.is_empty() && !text.is_empty() { is(false) } else { exact };
        match found[..] {
            [terminal] => Ok(terminal.clone()),
            [] => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no-terminal",
                "No such terminal",
                format!("there is no terminal `{text}`: see `storemesh-hq fleet`"),
            )),
            _ => Err(Problem::new(
                StatusCode::CONFLICT,
                "several-terminals",
                "Several terminals are meant",
                format!("`{text}` may be {} terminals: give the id of one", found.len()),
            )),
        }
    }
}

fn not_said(why: &AppendError) -> Problem {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let (status, slug, title) = match why {
        AppendError::Schema(_) => (unprocessable, "bad-schema", "Not a schema"),
        AppendError::Version { .. } => (StatusCode::CONFLICT, "schema-version", "Another version"),
        AppendError::TooLarge { .. } => (unprocessable, "too-large", "Too large an order"),
        AppendError::Settings(_) => (unprocessable, "bad-settings", "Not a setting"),
        AppendError::Nothing(..) => (StatusCode::CONFLICT, "nothing-held", "Nothing is held"),
        AppendError::NotCloned(_) => (StatusCode::CONFLICT, "not-cloned", "Not a clone"),
    };
    Problem::new(status, slug, title, why.to_string())
}
