//! What the demo says at the end: a table for people, or one JSON object.

use std::{fmt, path::PathBuf};

use serde::{Serialize, Serializer, ser::Error};
use serde_json::{Map, Value};

use super::{
    measure::{Figures, Phase},
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
    pub(super) phases: Vec<Phase>,
    /// Where everything is left, when asked to.
    pub(super) folder: Option<PathBuf>,
}

impl Report {
    pub(super) fn new(terminals: usize, wan_mbit: f64, told: (Vec<Phase>, Vec<String>)) -> Self {
        let (phases, reasons) = told;
        Self {
            ok: reasons.is_empty(),
            reasons,
            terminals,
            wan_mbit,
            figures: FiguresOrNulls(phases.first().map(|phase| phase.figures)),
            phases,
            folder: None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for phase in &self.phases {
            writeln!(f, "{}", PhaseText { phase, wan_mbit: self.wan_mbit })?;
        }
        if self.ok {
            return write!(
                f,
                "ok: every terminal ({} of {}) holds what was published, byte for byte, and the \
                 line carried it once",
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
        let Phase { product, version, figures, per_terminal } = self.phase;
        let size = text::bytes(figures.release_bytes);
        writeln!(f, "\n{product} {version}, {size}\n")?;
        let rows: Vec<_> = per_terminal
            .iter()
            .map(|row| {
                [
                    format!("{}{}", row.terminal, if row.gateway { " (gateway)" } else { "" }),
                    row.version.clone().unwrap_or_else(|| "-".to_owned()),
                    format!("{:.1}", row.seconds),
                    text::bytes(row.bytes_from_hq),
                    text::bytes(row.bytes_from_neighbours),
                    text::bytes(row.bytes_local),
                ]
            })
            .collect();
        let head = ["terminal", "runs", "seconds", "from HQ", "from neighbours", "held already"];
        write!(f, "{}", text::table(head, &rows))?;

        let (wan, moved) = (text::bytes(figures.wan_bytes), text::bytes(figures.moved_bytes));
        write!(f, "\nline: {wan} carried to move {moved}")?;
        if let Some(ratio) = figures.wan_ratio {
            write!(f, ", {ratio:.3} x")?;
        }
        let (first, last) = (figures.first_s, figures.last_s);
        write!(f, "\ntime: first terminal {first:.1} s, last {last:.1} s")?;
        if let Some(limit) = figures.wan_limit_s {
            write!(f, "; {} Mbit/s alone need {limit:.1} s", self.wan_mbit)?;
        }
        writeln!(f)
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
    use crate::demo::measure::Row;

    const FIELDS: [&str; 9] = [
        "ok",
        "terminals",
        "release_bytes",
        "moved_bytes",
        "wan_bytes",
        "wan_ratio",
        "first_s",
        "last_s",
        "wan_limit_s",
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
            bytes_from_hq: 10_000_000,
            bytes_from_neighbours: 0,
            bytes_local: 0,
        };
        Phase {
            product: "storemesh".into(),
            version: "0.1.0".into(),
            figures: Figures::new(measured, 20.0),
            per_terminal: vec![row],
        }
    }

    #[test]
    fn the_json_has_the_promised_fields_whatever_happened() {
        let good = Report::new(1, 20.0, (vec![phase()], Vec::new()));
        let bad = Report::new(1, 20.0, (Vec::new(), vec!["nothing worked".into()]));
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
    fn the_text_is_a_plain_table_and_a_verdict() {
        let text = Report::new(1, 20.0, (vec![phase()], Vec::new())).to_string();
        assert!(text.contains("t1 (gateway)  0.1.0      4.4  10.0 MB              0 B"), "{text}");
        assert!(text.contains("line: 10.5 MB carried to move 10.0 MB, 1.052 x"), "{text}");
        assert!(text.contains("last 4.6 s; 20 Mbit/s alone need 4.0 s"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("ok: "), "{text}");
    }
}
