//! The chain root's key, in a file that can be carried away.
//!
//! The file is in the format of the `age` tool, encrypted under a passphrase, and so opens
//! without storemesh too should the need ever arise. It is made once, outside HQ's data
//! folder, and never overwritten: a chain whose root is lost can go on until its online key
//! ends, and no longer.
//!
//! Others may read the file (it may lie on a stick whose file system has no permissions): the
//! passphrase protects it, and [`WORK_FACTOR`] says how well.

use std::path::Path;

use age::{DecryptError, scrypt, secrecy::SecretString};
use zeroize::Zeroizing;

use crate::{
    FileError, SecretKey,
    key_file::{self, Others},
};

/// Written in the file, and said when it is missing there.
const WHAT: &str = "a storemesh chain root";
/// scrypt with N = 2^18: about a second and 256 MiB a guess, what the `age` tool takes. Fixed,
/// so that a file made on a fast machine opens on a slow one.
const WORK_FACTOR: u8 = 18;
/// A tampered file could ask for endless work; this is four times ours, and 1 GiB.
const WORK_FACTOR_MAX: u8 = 20;

/// Makes a new chain root and writes it, encrypted, to `path`, which must be free.
pub fn create(path: &Path, passphrase: &str) -> Result<SecretKey, FileError> {
    create_with(path, passphrase, WORK_FACTOR)
}

/// Reads the root that [`create`] wrote.
pub fn open(path: &Path, passphrase: &str) -> Result<SecretKey, FileError> {
    let sealed = key_file::read(path, Others::MayRead)?;
    let mut identity = scrypt::Identity::new(SecretString::from(passphrase));
    identity.set_max_work_factor(WORK_FACTOR_MAX);
    match age::decrypt(&identity, &sealed) {
        Ok(bytes) => key_file::decode(path, WHAT, &Zeroizing::new(bytes)),
        // The second is what age says of a key that opens the header but not its seal.
        Err(DecryptError::KeyDecryptionFailed | DecryptError::DecryptionFailed) => {
            Err(FileError::WrongPassphrase(path.into()))
        }
        Err(_) => Err(FileError::NotAKey { path: path.into(), what: WHAT }),
    }
}

fn create_with(path: &Path, passphrase: &str, work_factor: u8) -> Result<SecretKey, FileError> {
    if passphrase.is_empty() {
        return Err(FileError::EmptyPassphrase);
    }
    let key = SecretKey::generate();
    let mut recipient = scrypt::Recipient::new(SecretString::from(passphrase));
    recipient.set_work_factor(work_factor);
    let sealed = age::encrypt(&recipient, &key_file::encode(WHAT, &key))
        .expect("encrypting to one passphrase, in memory");
    key_file::write_new(path, &sealed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use tempfile::TempDir;

    use super::*;

    /// The least that scrypt takes, so that a test is not a second long.
    const WORK_FACTOR_TEST: u8 = 1;

    #[test]
    fn the_root_opens_with_its_passphrase_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("acme.root.age");
        let key = create_with(&path, "correct horse", WORK_FACTOR_TEST).unwrap();
        assert_eq!(open(&path, "correct horse").unwrap().public(), key.public());
        for wrong in ["", "Correct horse", "correct horse "] {
            let why = open(&path, wrong).unwrap_err();
            assert!(matches!(why, FileError::WrongPassphrase(_)), "{wrong}: {why}");
        }
    }

    #[test]
    fn the_file_is_ages_and_shows_no_secret() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("acme.root.age");
        let key = create_with(&path, "correct horse", WORK_FACTOR_TEST).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"age-encryption.org/v1\n-> scrypt "));
        assert!(!bytes.windows(32).any(|window| window == key.seed().as_slice()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_root_is_never_overwritten_nor_made_without_a_passphrase() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("acme.root.age");
        assert!(matches!(create(&path, ""), Err(FileError::EmptyPassphrase)));
        assert!(!path.exists());

        let key = create_with(&path, "one", WORK_FACTOR_TEST).unwrap();
        let again = create_with(&path, "two", WORK_FACTOR_TEST);
        assert!(matches!(again, Err(FileError::Exists(_))));
        assert_eq!(open(&path, "one").unwrap().public(), key.public());
    }

    #[test]
    fn a_damaged_root_is_never_another_root() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("acme.root.age");
        create_with(&path, "one", WORK_FACTOR_TEST).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let why = open(&path, "one").unwrap_err();
            let refused = matches!(why, FileError::NotAKey { .. } | FileError::WrongPassphrase(_));
            assert!(refused, "byte {at}: {why}");
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(open(&path, "one").is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_file_that_asks_for_endless_work_is_refused_at_once() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("acme.root.age");
        create_with(&path, "one", WORK_FACTOR_TEST).unwrap();
        let header = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let line = header.lines().nth(1).unwrap();
        let endless = format!("{} 30", line.strip_suffix(" 1").unwrap());
        let bytes = fs::read(&path).unwrap();
        let at = "age-encryption.org/v1\n".len();
        let tampered = [&bytes[..at], endless.as_bytes(), &bytes[at + line.len()..]].concat();
        fs::write(&path, tampered).unwrap();
        assert!(matches!(open(&path, "one"), Err(FileError::NotAKey { .. })));
    }

    #[test]
    fn another_file_of_age_is_no_root() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("acme.root.age");
        let mut recipient = scrypt::Recipient::new(SecretString::from("one"));
        recipient.set_work_factor(WORK_FACTOR_TEST);
        let identity = key_file::encode("a storemesh identity", &SecretKey::generate());
        for content in [&identity[..], b"shopping list"] {
            fs::write(&path, age::encrypt(&recipient, content).unwrap()).unwrap();
            let why = open(&path, "one").unwrap_err();
            assert!(why.to_string().ends_with("is not a storemesh chain root"), "{why}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(open(&path, "one"), Err(FileError::Absent(_))));
    }
}
