//! The file that makes a machine who it is.
//!
//! It holds the secret key of one node, or of HQ's server, in plain form, and so is read only
//! while nobody but its owner can: otherwise the error says which `chmod` mends it. Created
//! once, at joining, and never overwritten: who loses it is somebody else afterwards.

use std::path::Path;

use crate::{
    FileError, SecretKey,
    key_file::{self, Others},
};

/// Written in the file, and said when it is missing there.
const WHAT: &str = "a storemesh identity";

/// Makes a new identity and writes it to `path`, which must be free.
pub fn create(path: &Path) -> Result<SecretKey, FileError> {
    let key = SecretKey::generate();
    key_file::write_new(path, &key_file::encode(WHAT, &key))?;
    Ok(key)
}

/// Reads the identity that [`create`] wrote.
pub fn load(path: &Path) -> Result<SecretKey, FileError> {
    key_file::decode(path, WHAT, &key_file::read(path, Others::MustNotRead)?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
    };

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_machine_stays_who_it_is() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("identity");
        let key = create(&path).unwrap();
        assert_eq!(load(&path).unwrap().public(), key.public());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn an_identity_is_never_overwritten() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("identity");
        let key = create(&path).unwrap();
        let why = create(&path).unwrap_err();
        assert!(matches!(why, FileError::Exists(_)), "{why}");
        assert_eq!(load(&path).unwrap().public(), key.public());

        // Not even where a link leads to nothing yet.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
        assert!(matches!(create(&link), Err(FileError::Exists(_))));
    }

    #[test]
    fn of_many_who_create_at_once_one_does_and_it_is_its_key() {
        for _ in 0..20 {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("identity");
            let created: Vec<SecretKey> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&path))).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect()
            });
            assert_eq!(created.len(), 1);
            assert_eq!(load(&path).unwrap().public(), created[0].public());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn an_identity_that_others_can_read_is_refused_and_the_error_mends_it() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("identity");
        create(&path).unwrap();
        for others in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(others)).unwrap();
            let why = load(&path).unwrap_err();
            assert!(matches!(why, FileError::ReadableByOthers(_)), "{others:o}: {why}");
            let remedy = format!("run `chmod 600 {}`", path.display());
            assert!(why.to_string().ends_with(&remedy), "{why}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(load(&path).is_ok());
    }

    #[test]
    fn what_is_no_identity_is_called_so() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("identity");
        assert!(matches!(load(&path), Err(FileError::Absent(_))));

        let good = key_file::encode(WHAT, &SecretKey::generate());
        let root = key_file::encode("a storemesh chain root", &SecretKey::generate());
        let endless = vec![0; 1 << 20];
        for content in [&good[..good.len() - 1], &root, &endless, b""] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let why = load(&path).unwrap_err();
            assert!(matches!(why, FileError::NotAKey { .. }), "{why}");
        }
        let said = load(&path).unwrap_err().to_string();
        assert!(said.ends_with("is damaged, or is not a storemesh identity"), "{said}");
    }

    #[test]
    fn the_bytes_of_the_file_stay_as_they_are() {
        let bytes = key_file::encode(WHAT, &SecretKey::from_seed([7; 32]));
        let mut expected = vec![0x82, 0x74];
        expected.extend(b"a storemesh identity");
        expected.extend([0x58, 0x20]);
        expected.extend([7; 32]);
        assert_eq!(*bytes, expected);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_it() {
        let folder = TempDir::new().unwrap();
        let why = create(&folder.path().join("no/identity")).unwrap_err();
        assert!(why.to_string().starts_with("creating `"), "{why}");
        assert!(matches!(create(Path::new("/")), Err(FileError::Exists(_) | FileError::Io { .. })));
    }
}
