//! A statement that its own author has signed, to be passed on.
//!
//! A terminal's word about itself needs nobody to vouch for it: its PeerId is the key. Who receives
//! such a word verifies it against the author it names, and can show it to others, byte for byte.
//! Whether the author had a right to say it is for others to judge.

use std::fmt;

use crate::{PeerId, SecretKey, Signed, Statement, VerifyError};

/// What `author` has said, and its signature. Only signing or verifying makes one.
#[derive(Clone)]
pub struct Authored<T> {
    author: PeerId,
    statement: T,
    signed: Signed<T>,
}

impl<T: Statement> Authored<T> {
    pub fn sign(key: &SecretKey, statement: T) -> Self {
        let signed = Signed::sign(key, &statement);
        Self { author: key.peer_id(), statement, signed }
    }

    pub fn verify(author: PeerId, signed: Signed<T>) -> Result<Self, VerifyError> {
        let statement = signed.verify(author.public())?;
        Ok(Self { author, statement, signed })
    }

    /// For a statement that itself says whose it is: `author` is asked by what it claims, and nothing
    /// comes out unless that one has signed it.
    pub fn verify_claim(
        signed: Signed<T>,
        author: impl FnOnce(&T) -> Option<PeerId>,
    ) -> Result<Self, VerifyError> {
        let author = author(&signed.claim()?).ok_or(VerifyError::BadSignature)?;
        Self::verify(author, signed)
    }

    pub fn author(&self) -> PeerId {
        self.author
    }

    pub fn statement(&self) -> &T {
        &self.statement
    }

    /// The signed bytes as they came, by whose hash others may name the statement.
    pub fn payload(&self) -> &[u8] {
        self.signed.payload()
    }

    /// To pass it on.
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }
}

impl<T: fmt::Debug> fmt::Debug for Authored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {}", self.statement, self.author)
    }
}

impl<T: PartialEq> PartialEq for Authored<T> {
    fn eq(&self, other: &Self) -> bool {
        self.author == other.author && self.statement == other.statement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Enrolment,
        fixtures::{chain, name, terminal},
    };

    #[test]
    fn a_word_that_names_its_author_counts_only_when_that_one_signed_it() {
        let key = terminal();
        let said = Enrolment { chain: chain(), peer: key.peer_id(), name: name("till-1") };
        let word = Authored::sign(&key, said.clone());
        let heard = Authored::verify_claim(word.signed().clone(), |said| Some(said.peer));
        assert_eq!(heard.as_ref().map(Authored::author), Ok(key.peer_id()));
        assert!(Authored::verify_claim(word.signed().clone(), |_| None).is_err());
        let other = SecretKey::from_seed([77; 32]);
        let forged = Authored::sign(&other, said);
        let heard = Authored::verify_claim(forged.signed().clone(), |said| Some(said.peer));
        assert_eq!(heard, Err(VerifyError::BadSignature));
    }

    #[test]
    fn a_word_counts_only_as_its_authors() {
        let key = terminal();
        let said = Enrolment { chain: chain(), peer: key.peer_id(), name: name("till-1") };
        let word = Authored::sign(&key, said);
        let heard = Authored::verify(key.peer_id(), word.signed().clone());
        assert_eq!(heard.as_ref().map(Authored::statement), Ok(word.statement()));
        let another = SecretKey::from_seed([77; 32]).peer_id();
        let forged = Authored::verify(another, word.signed().clone());
        assert_eq!(forged, Err(VerifyError::BadSignature));
    }
}
