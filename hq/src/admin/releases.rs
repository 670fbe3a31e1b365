//! Chunks come in, and releases stand on them.
//!
//! The rule: a release becomes the composite's only when every chunk of it is here. So its
//! manifest is put together from the pieces HQ holds and verified, every chunk it names is looked
//! for, and their folders are synced, before the order goes in. A publisher that was cut off
//! begins again and sends only what is missing.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use storemesh_host::http::Problem;
use storemesh_keys::Name;
use storemesh_protocol::{
    content::{ChunkId, ChunkRef, ReleaseHead},
    hq::{Answer, Order},
    wire,
};
use tokio::task::spawn_blocking;

use super::{
    Admin, bad_request,
    json::{Added, Chunk, NewRelease, ReleaseRow, Started},
    mismatch, parse,
};
use crate::chunks::{Chunks, PutError};

/// Chunks that may be asked for at once.
pub(crate) const LACKING_MAX: usize = 4096;

pub(super) async fn lacking(
    State(admin): State<Admin>,
    Json(ids): Json<Vec<String>>,
) -> Result<Json<Vec<String>>, Problem> {
    if ids.len() > LACKING_MAX {
        return Err(bad_request(format!("{} chunks, at most {LACKING_MAX}", ids.len())));
    }
    blocking(move || {
        let mut lacking = Vec::new();
        for text in ids {
            let id: ChunkId = parse("chunk", &text)?;
            if !admin.chunks.has(&id) {
                lacking.push(text);
            }
        }
        Ok(Json(lacking))
    })
    .await
}

#[derive(Debug, Deserialize)]
pub(super) struct PlainBytes {
    plain_bytes: u32,
}

pub(super) async fn put_chunk(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    Query(PlainBytes { plain_bytes }): Query<PlainBytes>,
    stored: Bytes,
) -> Result<StatusCode, Problem> {
    let id = parse("chunk", &id)?;
    let length = u32::try_from(stored.len()).map_err(bad_request)?;
    let chunk = ChunkRef { id, stored: length, plain: plain_bytes };
    blocking(move || match admin.chunks.put(&chunk, &stored) {
        Ok(true) => Ok(StatusCode::CREATED),
        Ok(false) => Ok(StatusCode::NO_CONTENT),
        Err(PutError::NotTheChunk(why)) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "not-the-chunk",
            "Not the bytes of this chunk",
            format!("chunk {id}: {why}"),
        )),
        Err(PutError::Disk(why)) => Err(disk_failed(&why)),
    })
    .await
}

pub(super) async fn add(
    State(admin): State<Admin>,
    Json(new): Json<NewRelease>,
) -> Result<(StatusCode, Json<Added>), Problem> {
    let head = head(&new)?;
    let chunks = admin.chunks.clone();
    let release = blocking(move || complete(head, &chunks)).await?;
    let order = Order::AddRelease { release };
    let Answer::Released { id, new: is_new } = admin.order(order).await? else {
        return Err(mismatch());
    };
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let NewRelease { product, version, .. } = new;
    Ok((status, Json(Added { product, version, release: id.to_string(), new: is_new })))
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<ReleaseRow>>, Problem> {
    let Answer::Releases(rows) = admin.order(Order::Releases).await? else {
        return Err(mismatch());
    };
    let rows = rows.into_iter().map(|row| ReleaseRow {
        product: row.release.product.to_string(),
        version: row.release.version.to_string(),
        release: row.release.id.to_string(),
        release_bytes: row.release.plain_bytes,
        stored_bytes: row.release.stored_bytes,
        chunks: row.release.chunks,
        wanted: row.wanted,
    });
    Ok(Json(rows.collect()))
}

pub(super) async fn start(
    State(admin): State<Admin>,
    Path((product, version)): Path<(String, String)>,
) -> Result<Json<Started>, Problem> {
    let (product_name, version_name): (Name, Name) =
        (parse("product", &product)?, parse("version", &version)?);
    let order = Order::Start { product: product_name, version: version_name };
    let Answer::Say(control) = admin.order(order).await? else { return Err(mismatch()) };
    admin.say(control).await?;
    Ok(Json(Started { product, version }))
}

fn head(new: &NewRelease) -> Result<ReleaseHead, Problem> {
    let piece = |chunk: &Chunk| {
        let id = parse("chunk of the manifest", &chunk.id)?;
        Ok(ChunkRef { id, stored: chunk.stored_bytes, plain: chunk.plain_bytes })
    };
    let head = ReleaseHead {
        product: parse("product", &new.product)?,
        version: parse("version", &new.version)?,
        id: parse("release", &new.release)?,
        manifest: new.manifest.iter().map(piece).collect::<Result<_, Problem>>()?,
        manifest_bytes: new.manifest_bytes,
        plain_bytes: new.release_bytes,
        stored_bytes: new.stored_bytes,
        chunks: new.chunks,
    };
    // Decoding holds a head to its rules; terminals will decode it.
    wire::decode(&wire::encode(&head)).map_err(bad_request)
}

/// The head again, if HQ holds all that it names.
fn complete(head: ReleaseHead, chunks: &Chunks) -> Result<ReleaseHead, Problem> {
    let mut pieces = Vec::with_capacity(head.manifest.len());
    for piece in &head.manifest {
        match chunks.read_plain(piece) {
            Ok(Some(plain)) => pieces.push(plain),
            Ok(None) => return Err(lacks(1, piece.id)),
            Err(why) => return Err(disk_failed(&why)),
        }
    }
    let manifest = head.read_manifest(&pieces).map_err(|why| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-manifest",
            "Not the manifest of this release",
            why.to_string(),
        )
    })?;
    let mut missing = manifest.chunks().iter().filter(|chunk| !chunks.has(&chunk.id));
    if let Some(first) = missing.next() {
        return Err(lacks(1 + missing.count(), first.id));
    }
    let named = manifest.chunks().iter().chain(&head.manifest);
    chunks.sync(named.map(|chunk| &chunk.id)).map_err(|why| disk_failed(&why))?;
    Ok(head)
}

fn lacks(count: usize, first: ChunkId) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "chunks-lacking",
        "HQ lacks chunks of this release",
        format!("HQ lacks {count} chunks, {first} among them: publish again"),
    )
}

fn disk_failed(why: &anyhow::Error) -> Problem {
    tracing::error!("{why:#}");
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "disk-failed",
        "HQ's disk failed",
        format!("HQ's disk failed: {why:#}"),
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(why) => Err(Problem::internal(&why.into())),
    }
}
