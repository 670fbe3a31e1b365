//! Quantities with three decimals, as people and programs write them.
//!
//! Inside, a quantity is whole thousandths, so that it is counted exactly. In JSON it is a plain number: a
//! whole one where it is whole. A double holds thousandths of any quantity we allow exactly.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Number;

const ONE: u64 = 1000;

/// So many thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(pub i64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) = (self.0.unsigned_abs() / ONE, self.0.unsigned_abs() % ONE);
        let rest = format!("{rest:03}");
        match rest.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole}"),
            rest => write!(f, "{sign}{whole}.{rest}"),
        }
    }
}

impl Decimal {
    /// A whole number where it is one.
    pub fn to_json(self) -> Number {
        let text = self.to_string();
        let number = if text.contains('.') {
            text.parse().ok().and_then(Number::from_f64)
        } else {
            text.parse::<i64>().ok().map(Number::from)
        };
        number.expect("it is written as a number")
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_reads_as_a_person_would_write_it() {
        for (thousandths, text) in [
            (0, "0"),
            (1, "0.001"),
            (-1, "-0.001"),
            (-2_000, "-2"),
            (12_340, "12.34"),
            (-1_500, "-1.5"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(Decimal(thousandths).to_string(), text);
        }
        let json = serde_json::to_string(&[Decimal(-2_000), Decimal(12_340)]).unwrap();
        assert_eq!(json, "[-2,12.34]");
    }
}
