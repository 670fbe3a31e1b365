//! Who wrote a feed, as HQ has certified it: read from rows, for whoever shows feeds to people.

use std::ops::ControlFlow;

use storemesh_keys::{Certificate, Expiry, HqSigned, Name, Timestamp, Trust};

use super::{
    Author, Read,
    ledger::{CERTIFICATES, FEEDS, Feed},
    storage::row,
};

/// What HQ has certified of a feed's author.
pub(crate) fn certified(storage: &dyn Read, trust: &Trust, feed: &Feed) -> Option<Certificate> {
    let signed: HqSigned<Certificate> = row(storage, CERTIFICATES, &feed.certificate()?.0)?;
    let certificate = signed.verify(trust, Timestamp(0), Expiry::Ignored).ok()?;
    Some((*certificate).clone())
}

/// What a terminal is called that has written something; none where nothing of it is here.
pub fn terminal_name(storage: &dyn Read, trust: &Trust, author: Author) -> Option<Name> {
    // What HQ signed before it was restored names its terminals too.
    let trust = Trust { generation_min: 0, ..*trust };
    let mut found = None;
    storage.scan(FEEDS, &[], &[u8::MAX; 5], &mut |_, bytes| {
        if let Ok(feed) = minicbor::decode::<Feed>(bytes)
            && feed.id.author == author
        {
            found = certified(storage, &trust, &feed).map(|certificate| certificate.name);
        }
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}
