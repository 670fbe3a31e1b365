//! The main job beside what a user would take instead: 64 MiB that do not compress, through a WAN of
//! 20 Mbit/s, to every terminal of a store.
//!
//! The WAN alone needs 26.84 s for the payload, and 28.2 s with QUIC's headers; what we add to that
//! is ours. Ahead of a peer means that our last terminal had the file before its last one, both in
//! the same run. A peer that is not installed was not beaten, so the figure is missed.

use super::{
    Family, Outcome, Promise, Reading, Setup,
    harness::{Comparison, OURS, Run, median},
};

/// 1.08 times what the payload alone needs.
const LAST_S_MAX: f64 = 1.08 * 26.84;
/// Against the file's size, headers included; QUIC's are 5.2 % of it at this MTU.
const WAN_RATIO_MAX: f64 = 1.06;
/// What all terminals receive, against their number times the file.
const LAN_RATIO_MAX: f64 = 1.04;

/// Those that also let the file enter the store once.
const PEERS: &[&str] = &["gwcache", "iroh-gw", "aria2-gw", "syncthing-gw"];

pub(crate) const FIVE: Family = Family {
    figures: &[
        Promise { name: "w1_n5_last", unit: "s", target: LAST },
        Promise { name: "w1_n5_wan_ratio", unit: "x", target: WAN },
        Promise { name: "w1_n5_lan_ratio", unit: "x", target: LAN },
    ],
    measure: |setup| measure(setup, 5),
};

pub(crate) const TWENTY: Family = Family {
    figures: &[
        Promise { name: "w1_n20_last", unit: "s", target: LAST },
        Promise { name: "w1_n20_wan_ratio", unit: "x", target: WAN },
        Promise { name: "w1_n20_lan_ratio", unit: "x", target: LAN },
    ],
    measure: |setup| measure(setup, 20),
};

const LAST: &str = "at most 1.08 x 26.84 s = 28.99 s, and ahead of every peer in the same run";
const WAN: &str = "at most 1.06 of the file's size";
const LAN: &str = "at most 1.04 of the file's size for each terminal";

fn measure(setup: &Setup<'_>, terminals: u32) -> anyhow::Result<Outcome> {
    let comparison = Comparison { workload: "W1", terminals, peers: PEERS };
    let runs = match comparison.run(setup)? {
        Ok(runs) => runs,
        Err(why) => return Ok(Outcome::NotMeasured(why)),
    };
    let of = |tool: &str| runs.get(tool).map_or(&[][..], Vec::as_slice);

    let ours = of(OURS);
    for run in ours {
        anyhow::ensure!(
            run.ok,
            "our own run failed: {}",
            run.error.as_deref().unwrap_or("too slow")
        );
    }
    let middle = |value: fn(&Run) -> f64| {
        median(ours.iter().map(value).collect()).expect("the harness ran us at least once")
    };
    let last = middle(|run| run.last_s.unwrap_or(f64::INFINITY));

    let peers = PEERS.iter().map(|peer| (*peer, standing(of(peer)))).collect::<Vec<_>>();
    let beaten = peers.iter().all(|(_, standing)| match standing {
        Standing::Seconds(theirs) => last < *theirs,
        Standing::Failed => true,
        Standing::Missing(_) => false,
    });
    let peers =
        peers.iter().map(|(peer, standing)| format!("{peer} {standing}")).collect::<Vec<_>>();
    let how = format!(
        "{}; {}; our largest terminal {:.1} MiB",
        comparison.command(setup.repeat),
        peers.join(", "),
        middle(|run| run.rss_mib),
    );

    let (wan, lan) = (middle(|run| run.wan_ratio), middle(|run| run.lan_ratio));
    let at_interface =
        format!("the interfaces' bytes, headers included, in the runs of w1_n{terminals}_last");
    Ok(Outcome::Measured(vec![
        Reading { value: last, ok: last <= LAST_S_MAX && beaten, how },
        Reading { value: wan, ok: wan <= WAN_RATIO_MAX, how: at_interface.clone() },
        Reading { value: lan, ok: lan <= LAN_RATIO_MAX, how: at_interface },
    ]))
}

/// How a peer did.
#[derive(Debug, PartialEq)]
enum Standing {
    Seconds(f64),
    /// It ran and did not bring the file to every terminal.
    Failed,
    /// It was never started: it is not installed.
    Missing(String),
}

fn standing(runs: &[Run]) -> Standing {
    let seconds = runs.iter().filter(|run| run.ok).filter_map(|run| run.last_s).collect();
    if let Some(seconds) = median(seconds) {
        return Standing::Seconds(seconds);
    }
    if runs.iter().any(|run| run.prep_s.is_some()) {
        return Standing::Failed;
    }
    let why = runs.iter().find_map(|run| run.error.clone());
    Standing::Missing(why.unwrap_or_else(|| "the harness does not know it".to_owned()))
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds:.2} s"),
            Self::Failed => write!(f, "failed"),
            Self::Missing(why) => write!(f, "not run ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(lines: &[&str]) -> Vec<Run> {
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_peer_that_is_not_installed_was_not_beaten_and_one_that_broke_was() {
        let missing = r#"{"tool": "iroh-gw", "ok": false, "error": "iroh-peer not built"}"#;
        let broke =
            r#"{"tool": "syncthing-gw", "prep_s": 2.1, "ok": false, "error": "TimeoutError: t3"}"#;
        let slow = r#"{"tool": "aria2-gw", "prep_s": 0.1, "ok": false, "done": 3, "last_s": null}"#;
        assert_eq!(
            standing(&runs(&[missing])),
            Standing::Missing("iroh-peer not built".to_owned())
        );
        assert_eq!(standing(&runs(&[broke])), Standing::Failed);
        assert_eq!(standing(&runs(&[slow])), Standing::Failed);
        assert!(matches!(standing(&[]), Standing::Missing(_)));
    }

    #[test]
    fn of_repeated_runs_the_middle_one_counts() {
        let of =
            |last: f64| format!(r#"{{"tool": "x", "prep_s": 0.0, "ok": true, "last_s": {last}}}"#);
        let (slow, fast, middle) = (of(33.0), of(29.0), of(30.5));
        assert_eq!(standing(&runs(&[&slow, &fast, &middle])), Standing::Seconds(30.5));
    }
}
