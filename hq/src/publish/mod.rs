//! `release publish`: a folder becomes a release.
//!
//! The rule: the work is done here, by the command, and HQ gets only what it lacks: the tree is
//! looked over first (`walk`), then read once, cut and packed on all cores (`pack`), and uploaded
//! while that goes on (`upload`); at the end come the manifest and the head. Memory is bounded
//! whatever the folder holds: a few chunks between each two steps, and the manifest.
//!
//! Nothing HQ has is changed before the head arrives, so a publishing that was cut off is begun
//! again and finds most of its chunks there.

mod pack;
mod progress;
mod upload;
mod walk;

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use storemesh_host::{exit::Failure, http::Client, out, sizes};
use storemesh_protocol::content::{Builder, ManifestError, ReleaseHead};

use self::{
    pack::{Cut, Packed},
    progress::Progress,
    upload::Upload,
    walk::{Tree, What},
};
use crate::{
    cli::{Common, PublishFlags},
    ops::{ask, client, start},
};

/// What the command says at its end.
#[derive(Debug, Serialize)]
struct Published {
    product: String,
    version: String,
    release: String,
    /// Plain.
    release_bytes: u64,
    stored_bytes: u64,
    chunks: u32,
    /// Chunks, those of the manifest among them, that HQ lacked, and their stored bytes.
    new_chunks: u64,
    moved_bytes: u64,
    wanted: bool,
}

pub(crate) fn run(common: &Common, flags: PublishFlags) -> anyhow::Result<()> {
    let client = client(&common.data)?;
    let tree = walk::walk(&flags.dir)?;
    check_tree(&tree, &flags).map_err(|why| refused(&flags.dir, &why))?;
    let published = ask(publish(&client, &flags, tree))?;
    if common.json {
        return out::json(&published);
    }
    let Published { product, version, release, chunks, new_chunks, .. } = &published;
    out::line(format_args!(
        "{product} {version} published as {}: {} in {chunks} chunks; {new_chunks} were new to HQ, \
         {} moved",
        &release[..8],
        sizes::bytes(published.release_bytes),
        sizes::bytes(published.moved_bytes),
    ))?;
    if published.wanted {
        out::line("every terminal is to run it now")
    } else {
        out::line(format_args!("held: storemesh-hq release start {product} {version}"))
    }
}

async fn publish(client: &Client, flags: &PublishFlags, tree: Tree) -> anyhow::Result<Published> {
    // HQ is there before any work is done.
    let mut upload = Upload::new(client);
    upload.hello().await?;

    let progress = Progress::start(tree.bytes);
    let (builder, cut) = pack::start(flags.dir.clone(), tree, progress.clone());
    let Cut { mut packed } = cut;
    while let Some(Packed { chunk, stored }) = packed.recv().await {
        upload.add(chunk, stored).await?;
    }
    let builder: Builder = builder.join().expect("the reading thread does not panic")?;
    let (product, version) = (flags.product.clone(), flags.version.clone());
    let built = builder.finish(product, version);
    let (manifest, encoded) = built.map_err(|why| refused(&flags.dir, &why))?;
    let (head, pieces) = ReleaseHead::new(&manifest, &encoded);
    for (chunk, stored) in pieces {
        upload.add(chunk, stored).await?;
    }
    upload.flush().await?;
    upload.head(&head).await?;
    progress.finish();
    if !flags.hold {
        start(client, &flags.product, &flags.version)
            .await
            .context("the release is uploaded, but not wanted yet")?;
    }
    Ok(Published {
        product: head.product.to_string(),
        version: head.version.to_string(),
        release: head.id.to_string(),
        release_bytes: head.plain_bytes,
        stored_bytes: head.stored_bytes,
        chunks: head.chunks,
        new_chunks: upload.new_chunks,
        moved_bytes: upload.moved_bytes,
        wanted: !flags.hold,
    })
}

/// Says what is wrong with the tree before gigabytes of it are read.
fn check_tree(tree: &Tree, flags: &PublishFlags) -> Result<(), ManifestError> {
    let mut builder = Builder::new();
    for entry in &tree.entries {
        let path = entry.path.clone();
        match &entry.what {
            What::Folder { mode } => builder.folder(path, *mode),
            What::File { mode, .. } => builder.file(path, *mode, Vec::new()),
            What::Symlink { target } => builder.symlink(path, target.clone()),
        }
    }
    if tree.bytes > storemesh_protocol::content::RELEASE_BYTES_MAX {
        return Err(ManifestError::TooLarge(tree.bytes));
    }
    builder.finish(flags.product.clone(), flags.version.clone()).map(|_| ())
}

fn refused(dir: &Path, why: &ManifestError) -> anyhow::Error {
    let remedy = match why {
        ManifestError::Mode { .. } => ": take those bits away with `chmod ug-s,-t`",
        ManifestError::Link { .. } => ": remove it, or let it lead to something in the release",
        ManifestError::TooLong(_)
        | ManifestError::TooManyEntries(_)
        | ManifestError::TooManyChunks(_)
        | ManifestError::TooManyReferences(_)
        | ManifestError::TooLarge(_) => ": publish it as several products",
        ManifestError::NotReadable(_)
        | ManifestError::Twice(_)
        | ManifestError::OutOfOrder(_)
        | ManifestError::BelowAFile(..)
        | ManifestError::Length { .. }
        | ManifestError::Reference(..)
        | ManifestError::ChunkTwice(_)
        | ManifestError::UnusedChunks(..)
        | ManifestError::AnotherRelease
        | ManifestError::HeadDiffers(_) => "",
    };
    let exit = storemesh_host::exit::Exit::Failed;
    Failure::new(exit, format!("`{}` cannot be published: {why}{remedy}", dir.display())).into()
}
