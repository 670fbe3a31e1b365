//! The names people give: of chains, stores, terminals, products and versions.
//!
//! One rule for all, since they end up in folder names, command lines and tables: 1 to 64 of
//! `A-Z a-z 0-9 . _ -`, the first a letter or digit. So a name is never a path, an option or a
//! hidden file. Names from strangers are checked before they are copied.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode};
use thiserror::Error;

/// A name that keeps the rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode)]
#[cbor(transparent)]
pub struct Name(#[n(0)] String);

/// Why a text is no name; choose another.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Give one.
    #[error("a name is empty")]
    Empty,
    /// Choose a shorter one.
    #[error("a name of {0} bytes, at most {max}", max = Name::MAX_BYTES)]
    TooLong(usize),
    /// Begin with a letter or digit.
    #[error("a name begins with {0:?}, not with a letter A-Z a-z or a digit")]
    Start(char),
    /// Leave this character out.
    #[error("a name with {0:?}, allowed are letters A-Z a-z, digits, `.`, `_` and `-`")]
    Character(char),
}

impl Name {
    pub const MAX_BYTES: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), NameError> {
        let Some(first) = text.chars().next() else { return Err(NameError::Empty) };
        if text.len() > Self::MAX_BYTES {
            return Err(NameError::TooLong(text.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(other) = text.chars().find(|c| !allowed(*c)) {
            return Err(NameError::Character(other));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start(first));
        }
        Ok(())
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<C> Decode<'_, C> for Name {
    fn decode(d: &mut Decoder<'_>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        d.str()?.parse().map_err(|why| minicbor::decode::Error::custom::<NameError>(why).at(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_shops_use_are_names() {
        for text in ["1", "till-3", "Store_0042", "1.20.3-rc.1", &"x".repeat(64)] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_name_is_never_a_path_an_option_or_a_hidden_file() {
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!("-rf".parse::<Name>(), Err(NameError::Start('-')));
        assert_eq!(".ssh".parse::<Name>(), Err(NameError::Start('.')));
        assert_eq!("..".parse::<Name>(), Err(NameError::Start('.')));
        assert_eq!("a/b".parse::<Name>(), Err(NameError::Character('/')));
        assert_eq!("/etc".parse::<Name>(), Err(NameError::Character('/')));
        assert_eq!("a b".parse::<Name>(), Err(NameError::Character(' ')));
        assert_eq!("Zürich".parse::<Name>(), Err(NameError::Character('ü')));
        assert_eq!("a\0".parse::<Name>(), Err(NameError::Character('\0')));
        assert_eq!("x".repeat(65).parse::<Name>(), Err(NameError::TooLong(65)));
    }

    #[test]
    fn the_error_says_what_is_allowed() {
        let said = "two words".parse::<Name>().unwrap_err().to_string();
        assert_eq!(said, "a name with ' ', allowed are letters A-Z a-z, digits, `.`, `_` and `-`");
        let said = "x".repeat(70).parse::<Name>().unwrap_err().to_string();
        assert_eq!(said, "a name of 70 bytes, at most 64");
    }

    #[test]
    fn a_bad_name_from_a_stranger_is_not_read() {
        for text in ["", "../x", &"x".repeat(65)] {
            let wire = minicbor::to_vec(text).unwrap();
            assert!(minicbor::decode::<Name>(&wire).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_wire_give_the_same_name_back(text in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
            let name: Name = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), text);
            let wire = minicbor::to_vec(&name).unwrap();
            prop_assert_eq!(minicbor::decode::<Name>(&wire).unwrap(), name);
        }

        #[test]
        fn any_text_is_a_name_or_an_error(text in ".{0,80}") {
            let rule = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let good = (1..=64).contains(&text.len())
                && text.chars().all(rule)
                && text.starts_with(|c: char| c.is_ascii_alphanumeric());
            prop_assert_eq!(text.parse::<Name>().is_ok(), good);
        }
    }
}
