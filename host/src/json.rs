//! What counts as JSON where a body is kept as it came.
//!
//! The rule: a body is taken only where every reader of ours can read it again, at HQ too: it is one whole JSON
//! value, in UTF-8, that nests at most [`DEPTH_MAX`] deep, with numbers that a double can hold and no half of
//! a surrogate pair.

use serde_json::Value;

/// Arrays and objects within each other. It is `serde_json`'s own limit: what nests deeper, it does not read.
pub const DEPTH_MAX: usize = 127;

/// Why a body is not taken; whoever posted it mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    #[error("the body is not JSON: {0}")]
    Malformed(String),
    #[error("the body nests arrays and objects more than {DEPTH_MAX} deep")]
    TooDeep,
}

/// The body as text, if it is JSON.
pub fn checked(body: &[u8]) -> Result<&str, NotJson> {
    let malformed = |why: &dyn std::fmt::Display| NotJson::Malformed(why.to_string());
    let text = std::str::from_utf8(body).map_err(|why| malformed(&why))?;
    match serde_json::from_str::<Value>(text) {
        Ok(_) => Ok(text),
        // It has no kind of its own.
        Err(why) if why.to_string().starts_with("recursion limit exceeded") => {
            Err(NotJson::TooDeep)
        }
        Err(why) => Err(malformed(&why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn json_is_taken_as_deep_as_it_can_be_read_again() {
        for good in ["1", " {\"total\": 1.10} ", "12345678901234567890.123", &nested(DEPTH_MAX)] {
            assert_eq!(checked(good.as_bytes()), Ok(good));
        }
        for deep in [DEPTH_MAX + 1, 5_000, 50_000] {
            assert_eq!(checked(nested(deep).as_bytes()), Err(NotJson::TooDeep), "{deep}");
        }
    }

    #[test]
    fn what_is_not_one_whole_readable_value_is_malformed() {
        let wrong = ["", "{", "{} {}", "sale", "\u{0}", "1e999", "\"\\ud800\"", "[1,]"];
        for wrong in wrong.iter().map(|it| it.as_bytes()).chain([&b"\"\xff\""[..]]) {
            let found = checked(wrong);
            assert!(matches!(found, Err(NotJson::Malformed(_))), "{wrong:?}: {found:?}");
        }
    }
}
