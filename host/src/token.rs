//! The token that opens a service's HTTP interface on this machine.
//!
//! Loopback is open to every user of the machine, so whoever asks must show that they can read the
//! service's data folder: 32 random bytes in a file of mode 0600. The rule: a token is made once,
//! is refused when others can read it, is compared in constant time, and never appears in a log.

use std::{
    fmt::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use subtle::ConstantTimeEq as _;

use crate::{exit::Failure, files};

const BYTES: usize = 32;

#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// As it is sent: `Authorization: Bearer ..`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The service's side: reads the token, or makes it.
pub fn ensure(path: &Path) -> anyhow::Result<Token> {
    if let Some(token) = read(path)? {
        return Ok(token);
    }
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let mut text = String::with_capacity(2 * BYTES);
    for byte in random {
        _ = write!(text, "{byte:02x}");
    }
    files::replace(path, text.as_bytes())?;
    Ok(Token(text))
}

/// A command's side: there is a token where the service has run.
pub fn load(path: &Path) -> anyhow::Result<Token> {
    read(path)?.with_context(|| {
        Failure::unreachable(format!("no service has run here: `{}` is missing", path.display()))
    })
}

fn read(path: &Path) -> anyhow::Result<Option<Token>> {
    let Some(content) = files::read_small(path, 256)? else { return Ok(None) };
    files::check_private(path)?;
    let text = String::from_utf8(content).unwrap_or_default();
    let text = text.trim();
    anyhow::ensure!(
        text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "`{}` is damaged: remove it, and restart the service to get a new one",
        path.display()
    );
    Ok(Some(Token(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::exit::{Exit, exit_of};

    #[test]
    fn a_token_is_made_once_private_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        assert_eq!(exit_of(&load(&path).unwrap_err()), Exit::Unreachable);
        let token = ensure(&path).unwrap();
        assert_eq!(token.as_str().len(), 64);
        assert!(ensure(&path).unwrap().matches(token.as_str().as_bytes()));
        assert!(load(&path).unwrap().matches(token.as_str().as_bytes()));
        assert!(!token.matches(b"") && !token.matches(&[b'0'; 64]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_token_that_others_can_read_or_that_is_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.token");
        ensure(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(ensure(&path).unwrap_err().to_string().contains("chmod 600"));

        files::replace(&path, b"").unwrap();
        assert!(ensure(&path).unwrap_err().to_string().contains("is damaged"));
    }
}
