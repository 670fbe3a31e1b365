//! `storemesh-hq.toml`, and what flags and environment lay over it.
//!
//! The rule: flag over environment over file over default, key by key. The file lies in the data
//! folder and every key in it is known, or it is refused with the nearest known one
//! (`storemesh_host::config`).

use std::{
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use storemesh_host::config;

use crate::cli::ServeFlags;

/// The file within the data folder.
pub(crate) const FILE: &str = "storemesh-hq.toml";
pub(crate) const EXAMPLE: &str = include_str!("storemesh-hq.example.toml");
/// decisions.md.
const PORT: u16 = 7400;
const ADMIN_PORT: u16 = 7401;

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    listen: Option<Vec<IpAddr>>,
    port: Option<u16>,
    admin_port: Option<u16>,
    advertise: Option<Vec<String>>,
}

/// What `serve` goes by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Never empty.
    pub(crate) listen: Vec<IpAddr>,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    pub(crate) advertise: Vec<String>,
}

pub(crate) fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}

pub(crate) fn load(data: &Path) -> anyhow::Result<Config> {
    config::load(&path(data))
}

impl Settings {
    pub(crate) fn new(flags: ServeFlags, file: Config) -> Self {
        let unless_empty = |list: Vec<IpAddr>| (!list.is_empty()).then_some(list);
        let listen = unless_empty(flags.listen).or(file.listen.and_then(unless_empty));
        let advertise = if flags.advertise.is_empty() {
            file.advertise.unwrap_or_default()
        } else {
            flags.advertise
        };
        Self {
            listen: listen.unwrap_or_else(|| vec![Ipv6Addr::UNSPECIFIED.into()]),
            port: flags.port.or(file.port).unwrap_or(PORT),
            admin_port: flags.admin_port.or(file.admin_port).unwrap_or(ADMIN_PORT),
            advertise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        config::parse(text, FILE).unwrap()
    }

    #[test]
    fn the_example_says_what_holds_without_a_file() {
        let example = read(EXAMPLE);
        assert_eq!(example, Config::default(), "it is all comments");
        let uncommented: String = EXAMPLE
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
            .flat_map(|line| [line, "\n"])
            .collect();
        let settings = Settings::new(ServeFlags::default(), read(&uncommented));
        let defaults = Settings::new(ServeFlags::default(), example);
        assert!(defaults.advertise.is_empty() && !settings.advertise.is_empty());
        assert_eq!(settings, Settings { advertise: settings.advertise.clone(), ..defaults });
    }

    #[test]
    fn a_flag_is_over_the_file_and_the_file_over_the_default() {
        let file = "port = 1\nadmin_port = 2\nlisten = [\"127.0.0.1\"]\n";
        let flags = ServeFlags { port: Some(3), ..ServeFlags::default() };
        let settings = Settings::new(flags, read(file));
        assert_eq!((settings.port, settings.admin_port), (3, 2));
        assert_eq!(settings.listen, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_known_one() {
        let error = config::parse::<Config>("advertize = []", FILE).unwrap_err().to_string();
        assert!(error.contains("`advertise`"), "{error}");
    }
}
