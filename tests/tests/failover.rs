//! The gateway is lost in the middle of a release: another goes on from what the store holds.
//!
//! How soon is a figure's business. Here: that it happens, that the release arrives byte for byte, and
//! that over the line comes only what no living terminal had verified. What they had is read from their
//! disks, just before the loss.

use std::path::Path;

use anyhow::{Context, Result};
use storemesh_sim::live::{
    failover::{gateway, next_gateway},
    pieces::{Held, Pieces},
    relay::Wan,
    status::{Published, ReleaseStatus},
    stop,
};
use storemesh_tests::{
    require,
    shop::{ARRIVED_WITHIN, LanShop, MET_WITHIN, PRODUCT, arrived},
};

const LINE_MBIT: f64 = 20.0;
/// Some four seconds of the line.
const RELEASE_BYTES: usize = 10_000_000;
/// The living terminals hold this share of it when the gateway is lost.
const HELD_PERCENT: u64 = 30;

/// What QUIC and IP add to the chunks, in hundredths, with room for what is sent again.
const WITH_HEADERS_PERCENT: u64 = 110;
/// What HQ had on the way to the lost gateway, or sends until it knows; and the lease's frames.
const ON_THE_WAY_BYTES: u64 = 768 * 1024;

/// How things stood when the gateway was lost.
struct Lost {
    gateway: usize,
    /// What the living terminals had verified, all of them together.
    held: u64,
    from_hq: u64,
    line: u64,
}

impl Lost {
    /// Waits until the release is under way, and has the gateway lost.
    fn at(
        shop: &mut LanShop,
        pieces: &Pieces,
        lose: impl FnOnce(&mut LanShop, usize) -> Result<()>,
    ) -> Result<Self> {
        let living_hold = |shop: &LanShop, gateway: usize| -> Result<u64> {
            let mut held = Held::new();
            for (index, terminal) in shop.chain.terminals.iter().enumerate() {
                if index != gateway {
                    held.extend(pieces.held(terminal, PRODUCT)?);
                }
            }
            Ok(pieces.bytes(&held))
        };
        let (gateway, held) = stop::until("a part of the release", ARRIVED_WITHIN, || {
            // Nobody is while it passes from one to another.
            let Some(gateway) = gateway(&shop.chain.statuses()?) else { return Ok(None) };
            let held = living_hold(shop, gateway)?;
            Ok((held * 100 >= pieces.total() * HELD_PERCENT).then_some((gateway, held)))
        })?;
        let before = Self {
            gateway,
            held,
            from_hq: from_hq(shop, gateway)?,
            line: shop.lan().wan()?.received,
        };
        lose(shop, gateway)?;
        Ok(before)
    }

    /// The others have the release, one of them is the gateway, and the line carried what they lacked.
    fn others_went_on(&self, shop: &LanShop, pieces: &Pieces) -> Result<()> {
        let fetched = from_hq(shop, self.gateway)? - self.from_hq;
        assert!(fetched > 0, "the release was there before the gateway was lost");
        let total = pieces.total();
        let manifest = self.any_release(shop)?.bytes_total - total;
        let most = total - self.held + manifest;
        assert!(fetched <= most, "{fetched} bytes from HQ, {} of {total} were there", self.held);
        let carried = shop.lan().wan()?.received - self.line;
        let most = most * WITH_HEADERS_PERCENT / 100 + ON_THE_WAY_BYTES;
        assert!(carried <= most, "{carried} bytes on the line for {fetched} fetched");
        Ok(())
    }

    fn any_release(&self, shop: &LanShop) -> Result<ReleaseStatus> {
        let living = usize::from(self.gateway == 0);
        let status = shop.chain.terminals[living].status()?;
        status.release(PRODUCT).cloned().context("a release")
    }
}

/// What all terminals but that one have fetched from HQ.
fn from_hq(shop: &LanShop, without: usize) -> Result<u64> {
    let mut bytes = 0;
    for (index, terminal) in shop.chain.terminals.iter().enumerate() {
        if index != without {
            let status = terminal.status()?;
            bytes += status.release(PRODUCT).map_or(0, |release| release.bytes_from_hq);
        }
    }
    Ok(bytes)
}

/// The others run the release, and one of them is the gateway.
fn others_arrive(
    shop: &LanShop,
    lost: &Lost,
    (directory, published): (&Path, &Published),
) -> Result<()> {
    for (index, terminal) in shop.chain.terminals.iter().enumerate() {
        if index != lost.gateway {
            arrived(terminal, directory, published)?;
        }
    }
    stop::until("another gateway", MET_WITHIN, || {
        next_gateway(&shop.chain.terminals, lost.gateway)
    })?;
    Ok(())
}

#[test]
fn when_the_gateway_is_killed_another_fetches_only_what_no_living_terminal_has() -> Result<()> {
    require!(netns);
    let mut shop = LanShop::running_on_lan(Wan::mbit(LINE_MBIT), 4)?;
    let directory = shop.directory("v1", 9, RELEASE_BYTES)?;
    let pieces = Pieces::of(&directory)?;
    let published = shop.publish(&directory, "1.0")?;
    let lost = Lost::at(&mut shop, &pieces, |shop, gateway| {
        shop.chain.terminals[gateway].kill();
        Ok(())
    })?;
    others_arrive(&shop, &lost, (&directory, &published))?;
    lost.others_went_on(&shop, &pieces)?;

    // Back with what its disk holds, it takes the rest from its neighbours.
    shop.chain.start_one(lost.gateway)?;
    let release = arrived(&shop.chain.terminals[lost.gateway], &directory, &published)?;
    assert_eq!(release.bytes_from_hq, 0, "{release:?}");
    shop.chain.meet(MET_WITHIN)?;
    Ok(())
}

#[test]
fn when_every_packet_of_the_gateway_is_dropped_another_fetches_only_what_no_other_terminal_has()
-> Result<()> {
    require!(netns);
    let mut shop = LanShop::running_on_lan(Wan::mbit(LINE_MBIT), 4)?;
    let directory = shop.directory("v1", 10, RELEASE_BYTES)?;
    let pieces = Pieces::of(&directory)?;
    let published = shop.publish(&directory, "1.0")?;
    let lost = Lost::at(&mut shop, &pieces, |shop, gateway| {
        shop.lan().cut(shop.chain.terminals[gateway].name())
    })?;
    others_arrive(&shop, &lost, (&directory, &published))?;
    lost.others_went_on(&shop, &pieces)?;

    // Nobody told it that it was gone; back, it is one of the store again and takes nothing from HQ
    // that the store has.
    let terminal = &shop.chain.terminals[lost.gateway];
    let before = terminal.status()?.release(PRODUCT).context("a release")?.bytes_from_hq;
    shop.lan().restore(terminal.name())?;
    let release = arrived(terminal, &directory, &published)?;
    assert_eq!(release.bytes_from_hq, before, "{release:?}");
    shop.chain.meet(MET_WITHIN)?;
    Ok(())
}
