//! What the demo promises, held against what came out.
//!
//! Each broken promise is one line that names the terminal and both sides. The programs' own words
//! are believed about who sent how much; what runs where is read from the terminals' disks, and what
//! the line carried is counted at the line.

use anyhow::Result;
use storemesh_host::sizes;

use super::{
    failover::Failover,
    measure::{Figures, Phase, Row, ratio},
    own::Release,
    sales::Count,
};
use crate::live::{
    chain::Chain,
    status::{FleetRow, Status},
    tree,
};

/// The longest that any store may be without a gateway while one of its terminals reaches HQ.
const FAILOVER_S_MAX: f64 = 10.0;

/// QUIC's headers are 5 %; the rest is for what is said besides and for the odd lost datagram.
const WAN_RATIO_MAX: f64 = 1.10;

/// Below this the steady talk of an uplink (keep-alives, reports, the lease) weighs more than the
/// release, and its ratio says nothing; what HQ sent is still judged.
const RATIO_FROM: u64 = 1_000_000;

/// HQ sends each chunk once: the manifest's own chunks are what may come on top, and what was lost
/// with a gateway that was killed.
const FROM_HQ_MAX_PERCENT: u64 = 102;

/// The same for a release so small that its manifest is a good part of it.
const FROM_HQ_SPARE: u64 = 64 * 1024;

/// After a release: files, versions and bytes.
pub(super) fn phase(chain: &Chain, release: &Release, phase: &Phase) -> Result<Vec<String>> {
    let mut broken = figures(&phase.figures, &phase.per_terminal, &phase.version, lost(phase));
    broken.extend(phase.failover.iter().flat_map(failover));
    for terminal in &chain.terminals {
        let arrived = terminal.current(release.product);
        if let Some(difference) = tree::difference(&release.folder, &arrived)? {
            let name = terminal.name();
            broken.push(format!("{name} does not hold what was published: {difference}"));
        }
    }
    Ok(broken)
}

/// What had to be sent again because it was on its way to a gateway that was killed, or on its disk
/// alone. Nobody could help that.
fn lost(phase: &Phase) -> u64 {
    phase.failover.as_ref().map_or(0, |failover| failover.lost_bytes)
}

fn failover(failover: &Failover) -> Vec<String> {
    let Failover { killed, gateway, failover_s, refetched_bytes, .. } = failover;
    let mut broken = Vec::new();
    if *failover_s > FAILOVER_S_MAX {
        broken.push(format!(
            "{gateway} took over from {killed} after {failover_s:.1} s, at most {FAILOVER_S_MAX}"
        ));
    }
    if *refetched_bytes > 0 {
        broken.push(format!(
            "HQ sent {} again that other terminals had verified before {killed} was killed",
            sizes::bytes(*refetched_bytes)
        ));
    }
    broken
}

/// HQ has each sale that a till was answered once, in order, and no other.
pub(super) fn sales(count: &Count) -> Vec<String> {
    let Count { answered, at_hq, twice, out_of_order, unknown, .. } = *count;
    let broken = [
        (answered - at_hq, "that were answered with 201 are not at HQ"),
        (twice, "are at HQ twice"),
        (out_of_order, "are at HQ before an earlier one of the same till"),
        (unknown, "are at HQ that no till was answered"),
        (usize::from(answered == 0), "at least should have been answered"),
    ];
    let broken = broken.into_iter().filter(|(sales, _)| *sales > 0);
    broken.map(|(sales, what)| format!("{sales} sales {what}")).collect()
}

fn figures(figures: &Figures, rows: &[Row], version: &str, lost_bytes: u64) -> Vec<String> {
    let mut broken = Vec::new();
    for row in rows.iter().filter(|row| row.version.as_deref() != Some(version)) {
        let says = row.version.as_deref().unwrap_or("nothing");
        broken.push(format!("{} says it runs {says}, not {version}", row.terminal));
    }
    let to_send = figures.moved_bytes + lost_bytes;
    let ratio = ratio(figures.wan_bytes, to_send);
    if figures.moved_bytes >= RATIO_FROM && ratio > WAN_RATIO_MAX {
        broken.push(format!(
            "the line carried {ratio:.3} x what had to move for {version}, at most {WAN_RATIO_MAX}"
        ));
    }
    let from_hq: u64 = rows.iter().map(|row| row.bytes_from_hq).sum();
    let from_hq_max = (to_send * FROM_HQ_MAX_PERCENT / 100).max(to_send + FROM_HQ_SPARE);
    if from_hq > from_hq_max {
        broken.push(format!(
            "terminals took {} from HQ for {version}, {} had to move",
            sizes::bytes(from_hq),
            sizes::bytes(to_send)
        ));
    }
    broken
}

/// At the end: one gateway, by its neighbours' word and by HQ's.
pub(super) fn gateways(statuses: &[Status], fleet: &[FleetRow]) -> Vec<String> {
    let mut broken = Vec::new();
    let own_word: Vec<_> = statuses.iter().filter(|status| status.is_gateway()).collect();
    if own_word.len() != 1 {
        let names: Vec<_> = own_word.iter().map(|status| status.name.as_str()).collect();
        broken.push(format!("{} terminals say they are gateway: {names:?}", names.len()));
    }
    for status in statuses {
        let (named, chosen) = (status.gateway.as_ref(), own_word.first());
        if let Some(chosen) = chosen
            && named.is_none_or(|named| named.peer != chosen.peer)
        {
            let named = named.map_or("nobody", |named| &named.peer);
            broken.push(format!("{} takes {named} for gateway, not {}", status.name, chosen.name));
        }
    }
    let mut by_hq: Vec<_> =
        fleet.iter().filter(|row| row.gateway).map(|row| row.terminal.as_str()).collect();
    by_hq.sort_unstable();
    by_hq.dedup();
    if by_hq.len() != 1 {
        broken.push(format!("HQ names {} gateways: {by_hq:?}", by_hq.len()));
    }
    broken
}

/// At the end: HQ knows what every terminal runs.
pub(super) fn fleet(fleet: &[FleetRow], terminals: usize, release: &Release) -> Vec<String> {
    let runs_it = |row: &&FleetRow| {
        row.product.as_deref() == Some(release.product)
            && row.running.as_deref() == Some(&release.version)
    };
    let running = fleet.iter().filter(runs_it).count();
    if running == terminals {
        return Vec::new();
    }
    vec![format!("HQ sees {running} of {terminals} terminals run {}", release.version)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from_hq: u64) -> Row {
        Row {
            terminal: "t1".into(),
            version: Some("2".into()),
            seconds: 1.0,
            gateway: true,
            killed: false,
            bytes_from_hq: from_hq,
            bytes_from_neighbours: 0,
            bytes_local: 0,
        }
    }

    fn measured(moved_bytes: u64, wan_bytes: u64) -> Figures {
        Figures::new(Figures { moved_bytes, wan_bytes, ..Figures::default() }, 20.0)
    }

    #[test]
    fn figures_as_promised_break_nothing() {
        let rows = [row(6_000_000), row(4_000_000)];
        assert_eq!(figures(&measured(10_000_000, 10_600_000), &rows, "2", 0), Vec::<String>::new());
    }

    #[test]
    fn a_second_crossing_of_the_line_is_seen_on_the_line_and_in_the_sum() {
        let rows = [row(10_000_000), row(10_000_000)];
        let broken = figures(&measured(10_000_000, 21_000_000), &rows, "2", 0);
        assert_eq!(broken.len(), 2, "{broken:?}");
    }

    #[test]
    fn what_was_lost_with_a_gateway_may_come_again_and_no_more() {
        let rows = [row(8_000_000), row(4_000_000)];
        let figures = |lost| figures(&measured(10_000_000, 12_600_000), &rows, "2", lost);
        assert_eq!(figures(2_000_000), Vec::<String>::new());
        assert_eq!(figures(1_000_000).len(), 2, "{:?}", figures(1_000_000));
    }

    #[test]
    fn a_slow_failover_and_a_chunk_that_came_again_are_named() {
        let good = Failover {
            killed: "t1".into(),
            gateway: "t2".into(),
            killed_after_s: 1.0,
            failover_s: 2.3,
            refetched_bytes: 0,
            lost_bytes: 700_000,
        };
        assert_eq!(failover(&good), Vec::<String>::new());
        let bad = Failover { failover_s: 10.5, refetched_bytes: 1, ..good };
        let broken = failover(&bad);
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken[0].contains("t2 took over from t1 after 10.5 s"), "{broken:?}");
    }

    #[test]
    fn sales_that_hq_lacks_or_has_twice_are_named() {
        let good = Count { answered: 9, at_hq: 9, repeated: 4, ..Count::default() };
        assert_eq!(sales(&good), Vec::<String>::new());
        let broken = sales(&Count { at_hq: 7, twice: 1, ..good });
        assert_eq!(
            broken,
            ["2 sales that were answered with 201 are not at HQ", "1 sales are at HQ twice"]
        );
        assert_eq!(sales(&Count::default()).len(), 1);
    }

    #[test]
    fn a_terminal_on_another_version_is_named() {
        let broken = figures(&measured(10_000_000, 10_500_000), &[row(0)], "3", 0);
        assert_eq!(broken, ["t1 says it runs 2, not 3"]);
    }

    #[test]
    fn the_ratio_of_a_release_smaller_than_the_talk_is_not_judged() {
        let broken = figures(&measured(20_000, 90_000), &[row(20_000)], "2", 0);
        assert_eq!(broken, Vec::<String>::new());
    }
}
