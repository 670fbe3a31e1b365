//! Which ports a running service really listens on.
//!
//! Port 0 means any free port, so commands must be told which it became: the service writes
//! `ports.json`, an object of names and numbers, before it says that it is ready. The file stays
//! when the service ends; whoever trusts it then finds nobody listening, which is what a command
//! reports anyway.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;

use crate::{exit::Failure, files};

const FILE: &str = "ports.json";

pub fn write(data: &Path, ports: &[(&str, u16)]) -> anyhow::Result<()> {
    let ports: BTreeMap<&str, u16> = ports.iter().copied().collect();
    let mut text = serde_json::to_string(&ports).context("writing ports as JSON")?;
    text.push('\n');
    files::replace(&data.join(FILE), text.as_bytes())
}

/// The port called `name` of the service that runs on `data`.
pub fn read(data: &Path, name: &str) -> anyhow::Result<u16> {
    let path = data.join(FILE);
    let Some(content) = files::read_small(&path, 64 * 1024)? else {
        let message = format!("no service runs on `{}`: start it first", data.display());
        return Err(Failure::unreachable(message).into());
    };
    let ports: BTreeMap<String, u16> = serde_json::from_slice(&content)
        .with_context(|| format!("`{}` is damaged", path.display()))?;
    let port = ports.get(name).copied();
    port.with_context(|| format!("`{}` names no port `{name}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::{Exit, exit_of};

    #[test]
    fn what_the_service_wrote_its_commands_read() {
        let data = tempfile::tempdir().unwrap();
        let error = read(data.path(), "admin").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Unreachable);

        write(data.path(), &[("uplink", 7400), ("admin", 7401)]).unwrap();
        assert_eq!(read(data.path(), "admin").unwrap(), 7401);
        assert!(read(data.path(), "door").unwrap_err().to_string().contains("no port `door`"));
    }
}
