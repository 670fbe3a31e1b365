//! Quantities as JSON writes them, and in thousandths, exactly: no float is in between.

use serde_json::value::RawValue;

/// Decimals that a quantity may have: what is weighed is counted to the gram.
const DECIMALS: usize = 3;
/// No quantity needs more; whoever writes more digits is not made to wait for all of them.
const DIGITS_MAX: usize = 40;

/// The thousandths of a JSON number's text. The error is for the caller.
pub fn thousandths(number: &str) -> Result<i64, String> {
    let wrong = |why: &str| Err(format!("the quantity `{}` {why}", shortened(number)));
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return wrong("is no number");
    }
    if digits.contains(['e', 'E']) {
        return wrong("has an exponent: write it out");
    }
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > DECIMALS {
        return wrong("has more than three decimals");
    }
    if whole.len() > DIGITS_MAX {
        return wrong("is too large");
    }
    match format!("{whole}{decimals:0<DECIMALS$}").parse::<i64>() {
        Ok(value) => Ok(sign * value),
        Err(_) => wrong("is too large"),
    }
}

/// As JSON writes it: `1.5`, `-0.25`, `12`.
pub fn number(thousandths: i64) -> Box<RawValue> {
    let sign = if thousandths < 0 { "-" } else { "" };
    let (whole, rest) = (thousandths.unsigned_abs() / 1000, thousandths.unsigned_abs() % 1000);
    let text = format!("{sign}{whole}.{rest:03}");
    let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    RawValue::from_string(text).expect("it is a number")
}

fn shortened(number: &str) -> String {
    number.chars().take(DIGITS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant_to_the_thousandth() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("1", 1000),
            ("-1.5", -1500),
            ("0.001", 1),
            ("0.1", 100),
            ("12.340", 12_340),
            ("1.5000000000000000000000000000", 1500),
            ("4503599627370497.125", 4_503_599_627_370_497_125),
            ("9223372036854775.807", i64::MAX),
        ] {
            assert_eq!(thousandths(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_exactly_is_refused() {
        for (text, why) in [
            ("0.0001", "three decimals"),
            ("1e3", "exponent"),
            ("1E-3", "exponent"),
            ("9223372036854775.808", "too large"),
            (&"9".repeat(10_000), "too large"),
            ("\"1\"", "no number"),
            ("null", "no number"),
            ("[1]", "no number"),
            ("-", "no number"),
        ] {
            let error = thousandths(text).unwrap_err();
            assert!(error.contains(why) && error.len() < 100, "{error}");
        }
    }

    #[test]
    fn a_quantity_is_shown_as_it_was_posted() {
        for text in ["0", "1", "-1.5", "0.001", "-0.25", "12.34", "100", "4503599627370497.125"] {
            assert_eq!(number(thousandths(text).unwrap()).get(), text);
        }
    }
}
