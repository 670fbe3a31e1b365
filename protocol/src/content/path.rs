//! Where an entry of a release lies below the release's folder.
//!
//! The rule: parts joined by `/`, each a plain name, so that joining a [`RelPath`] to a folder
//! gives a place below that folder. What is left open, that a part might be a symlink, is for
//! `check` and `links`, who see the whole tree. Names are any UTF-8, backslashes and line ends
//! among them, since Linux has files with such names: print a path with `{:?}`.

use std::{cmp::Ordering, fmt};

use minicbor::{Decode, Decoder, Encode, decode};
use thiserror::Error;

/// Linux's `PATH_MAX`.
pub const PATH_MAX: usize = 4096;
/// Linux's `NAME_MAX`.
pub const PART_MAX: usize = 255;

#[derive(Clone, PartialEq, Eq, Hash, Encode)]
#[cbor(transparent)]
pub struct RelPath(#[n(0)] String);

/// Why a text cannot be a path within a release: rename the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    #[error("path is empty")]
    Empty,
    #[error("path of {0} bytes, at most {PATH_MAX}")]
    TooLong(usize),
    #[error("path begins with `/`")]
    Absolute,
    #[error("path has an empty part (`//` or `/` at its end)")]
    EmptyPart,
    #[error("path has a part `.` or `..`")]
    Dots,
    #[error("path has a part of {0} bytes, at most {PART_MAX}")]
    PartTooLong(usize),
    #[error("path has a zero byte")]
    Zero,
}

impl RelPath {
    pub fn new(path: impl Into<String>) -> Result<Self, PathError> {
        let path = path.into();
        check(&path)?;
        Ok(Self(path))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The folder it lies in; none for what lies in the release's own.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    pub(super) fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn check(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > PATH_MAX {
        return Err(PathError::TooLong(path.len()));
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    for part in path.split('/') {
        match part {
            "" => return Err(PathError::EmptyPart),
            "." | ".." => return Err(PathError::Dots),
            _ if part.len() > PART_MAX => return Err(PathError::PartTooLong(part.len())),
            _ if part.contains('\0') => return Err(PathError::Zero),
            _ => {}
        }
    }
    Ok(())
}

/// Part by part: a folder comes right before all that lies in it. By bytes, `a-b` would come
/// between `a` and `a/b`.
impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(other.parts())
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl AsRef<str> for RelPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<Ctx> Decode<'_, Ctx> for RelPath {
    fn decode(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<Self, decode::Error> {
        let at = d.position();
        let path = d.str()?;
        check(path).map_err(|why| decode::Error::custom(why).at(at))?;
        Ok(Self(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_allows_in_a_name_is_allowed() {
        let part = "a".repeat(PART_MAX);
        for text in ["a", "a/b", "...", "..a/.b", "C:\\x", " ", "a\nb", "Größe", part.as_str()] {
            assert_eq!(RelPath::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn each_rule_has_its_own_words() {
        let long = format!("{}a", "a/".repeat(2048));
        let part = "ä".repeat(128);
        for (text, why) in [
            ("", PathError::Empty),
            ("/a", PathError::Absolute),
            ("a/../b", PathError::Dots),
            (".", PathError::Dots),
            ("a//b", PathError::EmptyPart),
            ("a/", PathError::EmptyPart),
            ("a\0", PathError::Zero),
            (&long, PathError::TooLong(4097)),
            (&part, PathError::PartTooLong(256)),
        ] {
            assert_eq!(RelPath::new(text), Err(why));
        }
        assert!(RelPath::new(&long[..4095]).is_ok());
    }

    #[test]
    fn a_folder_comes_right_before_what_lies_in_it() {
        let mut paths = ["b", "a-b", "a/b/c", "a", "a/b", "a.b", "a/b-c"].map(|text| {
            let path = RelPath::new(text).unwrap();
            assert_eq!(
                path.parent().map_or(0, |parent| parent.parts().count() + 1),
                text.split('/').count() * usize::from(text.contains('/'))
            );
            path
        });
        paths.sort();
        let sorted = paths.map(|path| path.to_string());
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a/b-c", "a-b", "a.b", "b"]);
    }
}
