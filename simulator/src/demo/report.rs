//! What the demo says at the end: a table for people, or one JSON object.

use std::{fmt, path::PathBuf};

use serde::{Serialize, Serializer, ser::Error};
use serde_json::{Map, Value};
use storemesh_host::sizes;

use super::{
    failover::Failover,
    measure::{Figures, Phase, Row},
    sales::Count,
    story::Told,
    text,
};

/// The figures at the top are those of release 1; every release's are in `phases`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    /// What was not as promised; empty when all was.
    pub(super) reasons: Vec<String>,
    pub(super) terminals: usize,
    pub(super) wan_mbit: f64,
    #[serde(flatten)]
    figures: FiguresOrNulls,
    /// Of the release in whose middle the gateway was killed; none where none was.
    failover_s: Option<f64>,
    refetched_bytes: Option<u64>,
    pub(super) phases: Vec<Phase>,
    /// Of the tills, which sold meanwhile; none where the story did not come so far.
    sales: Option<Count>,
    /// Where everything is left, when asked to.
    pub(super) folder: Option<PathBuf>,
}

impl Report {
    pub(super) fn new(terminals: usize, wan_mbit: f64, told: Told) -> Self {
        let Told { phases, sales, reasons } = told;
        let failover = phases.iter().find_map(|phase| phase.failover.as_ref());
        Self {
            ok: reasons.is_empty(),
            reasons,
            terminals,
            wan_mbit,
            figures: FiguresOrNulls(phases.first().map(|phase| phase.figures)),
            failover_s: failover.map(|failover| failover.failover_s),
            refetched_bytes: failover.map(|failover| failover.refetched_bytes),
            phases,
            sales,
            folder: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in &self.phases {
            writeln!(f, "{}", PhaseText { phase, wan_mbit: self.wan_mbit })?;
        }
        if let Some(sales) = &self.sales {
            writeln!(f, "{}\n", SalesText(sales))?;
        }
        if self.ok {
            return write!(
                f,
                "ok: every terminal ({} of {}) holds what was published, byte for byte, and \
                 nothing that the store held crossed the line again; HQ has every sale once",
                self.terminals, self.terminals
            );
        }
        write!(f, "not as promised:")?;
        self.reasons.iter().try_for_each(|reason| write!(f, "\n- {reason}"))
    }
}

struct PhaseText<'a> {
    phase: &'a Phase,
    wan_mbit: f64,
}

impl fmt::Display for PhaseText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Phase { product, version, figures, failover, no_failover, per_terminal } = self.phase;
        let size = sizes::bytes(figures.release_bytes);
        writeln!(f, "\n{product} {version}, {size}\n")?;
        let rows: Vec<_> = per_terminal
            .iter()
            .map(|row| {
                [
                    format!("{}{}", row.terminal, role(row)),
                    row.version.clone().unwrap_or_else(|| "-".to_owned()),
                    format!("{:.1}", row.seconds),
                    sizes::bytes(row.bytes_from_hq),
                    sizes::bytes(row.bytes_from_neighbours),
                    sizes::bytes(row.bytes_local),
                ]
            })
            .collect();
        let head = ["terminal", "runs", "seconds", "from HQ", "from neighbours", "held already"];
        write!(f, "{}", text::table(head, &rows))?;

        let (wan, moved) = (sizes::bytes(figures.wan_bytes), sizes::bytes(figures.moved_bytes));
        write!(f, "\nline: {wan} carried to move {moved}")?;
        if let Some(ratio) = figures.wan_ratio {
            write!(f, ", {ratio:.3} x")?;
        }
        let (first, last) = (figures.first_s, figures.last_s);
        write!(f, "\ntime: first terminal {first:.1} s, last {last:.1} s")?;
        if let Some(limit) = figures.wan_limit_s {
            write!(f, "; {} Mbit/s alone need {limit:.1} s", self.wan_mbit)?;
        }
        writeln!(f)?;
        if let Some(failover) = failover {
            writeln!(f, "{}", FailoverText(failover))?;
        }
        no_failover.iter().try_for_each(|why| writeln!(f, "failover: {why}"))
    }
}

fn role(row: &Row) -> &'static str {
    match (row.killed, row.gateway) {
        (true, true) => " (killed, gateway)",
        (true, false) => " (killed)",
        (false, true) => " (gateway)",
        (false, false) => "",
    }
}

struct FailoverText<'a>(&'a Failover);

impl fmt::Display for FailoverText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failover { killed, gateway, killed_after_s, failover_s, .. } = self.0;
        let (again, lost) = (sizes::bytes(self.0.refetched_bytes), sizes::bytes(self.0.lost_bytes));
        write!(
            f,
            "failover: {killed} killed after {killed_after_s:.1} s, {gateway} is the gateway \
             {failover_s:.1} s later; HQ sent again\n          {again} that other terminals had \
             verified, and {lost} that was lost with {killed}"
        )
    }
}

struct SalesText<'a>(&'a Count);

impl fmt::Display for SalesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { answered, repeated, at_hq, twice, .. } = self.0;
        write!(
            f,
            "sales: {answered} answered at the tills meanwhile, {at_hq} of them at HQ, {twice} twice; \
             {repeated} posts were repeated\n       while a terminal did not answer"
        )
    }
}

/// Whoever reads the object finds its fields also when the demo never got that far.
#[derive(Debug)]
struct FiguresOrNulls(Option<Figures>);

impl Serialize for FiguresOrNulls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(figures) = &self.0 {
            return figures.serialize(serializer);
        }
        let fields = serde_json::to_value(Figures::default()).map_err(S::Error::custom)?;
        let names = fields.as_object().into_iter().flat_map(Map::keys);
        serializer.collect_map(names.map(|name| (name, Value::Null)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const FIELDS: [&str; 12] = [
        "ok",
        "terminals",
        "release_bytes",
        "moved_bytes",
        "wan_bytes",
        "wan_ratio",
        "first_s",
        "last_s",
        "wan_limit_s",
        "failover_s",
        "refetched_bytes",
        "sales",
    ];

    fn phase() -> Phase {
        let measured = Figures {
            release_bytes: 40_000_000,
            moved_bytes: 10_000_000,
            wan_bytes: 10_520_000,
            first_s: 4.4,
            last_s: 4.6,
            ..Figures::default()
        };
        let row = Row {
            terminal: "t1".into(),
            version: Some("0.1.0".into()),
            seconds: 4.4,
            gateway: true,
            killed: false,
            bytes_from_hq: 10_000_000,
            bytes_from_neighbours: 0,
            bytes_local: 0,
        };
        Phase {
            product: "storemesh".into(),
            version: "0.1.0".into(),
            figures: Figures::new(measured, 20.0),
            failover: None,
            no_failover: None,
            per_terminal: vec![row],
        }
    }

    fn told(phases: Vec<Phase>) -> Told {
        let sales = Count { answered: 40, at_hq: 40, repeated: 3, ..Count::default() };
        Told { phases, sales: Some(sales), reasons: Vec::new() }
    }

    #[test]
    fn the_json_has_the_promised_fields_whatever_happened() {
        let good = Report::new(1, 20.0, told(vec![phase()]));
        let bad = Report::new(
            1,
            20.0,
            Told { reasons: vec!["nothing worked".into()], ..Told::default() },
        );
        for report in [&good, &bad] {
            let json = serde_json::to_value(report).unwrap();
            for field in FIELDS {
                assert!(json.get(field).is_some(), "{field} in {json}");
            }
            assert_eq!(json["wan_ratio"].is_null(), !report.ok);
        }
        let json = serde_json::to_value(&good).unwrap();
        assert_eq!(json["phases"][0]["per_terminal"][0]["terminal"], "t1");
        assert_eq!(json["phases"][0]["last_s"], 4.6);
    }

    #[test]
    fn a_failover_stands_under_its_release_and_at_the_top_of_the_json() {
        let failover = Failover {
            killed: "t1".into(),
            gateway: "t3".into(),
            killed_after_s: 1.2,
            failover_s: 2.34,
            refetched_bytes: 0,
            lost_bytes: 700 * 1024,
        };
        let phases = vec![phase(), Phase { failover: Some(failover), ..phase() }];
        let report = Report::new(1, 20.0, told(phases));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["failover_s"], &json["refetched_bytes"]), (&2.34.into(), &0.into()));
        assert_eq!(json["phases"][1]["failover"]["killed"], "t1");
        let text = report.to_string();
        for words in [
            "t1 killed after 1.2 s, t3 is the gateway 2.3 s later",
            "0 B that other terminals had verified, and 700.0 KiB that was lost with t1",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }

    #[test]
    fn the_text_is_a_plain_table_and_a_verdict() {
        let text = Report::new(1, 20.0, told(vec![phase()])).to_string();
        assert!(text.contains("t1 (gateway)  0.1.0      4.4  9.5 MiB              0 B"), "{text}");
        assert!(text.contains("line: 10.0 MiB carried to move 9.5 MiB, 1.052 x"), "{text}");
        assert!(text.contains("last 4.6 s; 20 Mbit/s alone need 4.0 s"), "{text}");
        assert!(text.contains("sales: 40 answered at the tills meanwhile, 40 of them"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("ok: "), "{text}");
    }
}
