//! `storemesh.toml`, and what flags and environment lay over it.
//!
//! The rule: flag over environment over file over default, key by key. The file lies in the data
//! folder and every key in it is known, or it is refused with the nearest known one
//! (`storemesh_host::config`).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use storemesh_host::config;

use crate::{cli::RunFlags, disk::Limits};

/// The file within the data folder.
pub(crate) const FILE: &str = "storemesh.toml";
pub(crate) const EXAMPLE: &str = include_str!("storemesh.example.toml");
const MESH_PORT: u16 = 7410;
const API_PORT: u16 = 7411;
/// Two weeks of a busy till's sales take some 60 MB, the database that notes them as much again, and
/// the system wants to write its log.
const DISK_RESERVE_BYTES: u64 = 256 << 20;

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    listen: Option<Vec<IpAddr>>,
    mesh_port: Option<u16>,
    api_port: Option<u16>,
    mdns: Option<bool>,
    hq_list: Option<bool>,
    neighbours: Option<Vec<SocketAddr>>,
    disk_quota_bytes: Option<u64>,
    disk_reserve_bytes: Option<u64>,
}

/// What `run` goes by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Never empty.
    pub(crate) listen: Vec<IpAddr>,
    pub(crate) mesh_port: u16,
    pub(crate) api_port: u16,
    pub(crate) mdns: bool,
    pub(crate) hq_list: bool,
    pub(crate) neighbours: Vec<SocketAddr>,
    pub(crate) disk: Limits,
}

pub(crate) fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}

pub(crate) fn load(data: &Path) -> anyhow::Result<Config> {
    config::load(&path(data))
}

impl Settings {
    pub(crate) fn new(flags: RunFlags, file: Config) -> Self {
        fn unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
            (!list.is_empty()).then_some(list)
        }
        let listen = unless_empty(flags.listen).or(file.listen.and_then(unless_empty));
        let neighbours = unless_empty(flags.neighbours).or(file.neighbours);
        let quota = flags.disk_quota_bytes.or(file.disk_quota_bytes);
        let reserve = flags.disk_reserve_bytes.or(file.disk_reserve_bytes);
        // IPv4 first: where a kernel has no IPv6, that is what is listened on.
        let all = || vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        Self {
            listen: listen.unwrap_or_else(all),
            mesh_port: flags.mesh_port.or(file.mesh_port).unwrap_or(MESH_PORT),
            api_port: flags.api_port.or(file.api_port).unwrap_or(API_PORT),
            mdns: !flags.no_mdns && file.mdns.unwrap_or(true),
            hq_list: !flags.no_hq_list && file.hq_list.unwrap_or(true),
            neighbours: neighbours.unwrap_or_default(),
            disk: Limits {
                quota_bytes: quota.filter(|bytes| *bytes > 0),
                reserve_bytes: reserve.unwrap_or(DISK_RESERVE_BYTES),
            },
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
        assert_eq!(read(EXAMPLE), Config::default(), "it is all comments");
        let uncommented: String = EXAMPLE
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .flat_map(|line| [line, "\n"])
            .collect();
        let all = Settings::new(RunFlags::default(), read(&uncommented));
        assert_eq!(all, Settings::new(RunFlags::default(), Config::default()));
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let file = "mesh_port = 1\napi_port = 2\nmdns = true\nneighbours = [\"10.0.0.1:7410\"]";
        let flags = RunFlags { mesh_port: Some(3), no_mdns: true, ..RunFlags::default() };
        let settings = Settings::new(flags, read(file));
        assert_eq!((settings.mesh_port, settings.api_port, settings.mdns), (3, 2, false));
        assert_eq!(settings.neighbours.len(), 1);
    }

    #[test]
    fn a_quota_of_nothing_is_none() {
        let disk = |file| Settings::new(RunFlags::default(), read(file)).disk;
        assert_eq!(disk(""), Limits { quota_bytes: None, reserve_bytes: DISK_RESERVE_BYTES });
        assert_eq!(disk("disk_quota_bytes = 0").quota_bytes, None);
        let file = "disk_quota_bytes = 5\ndisk_reserve_bytes = 0";
        assert_eq!(disk(file), Limits { quota_bytes: Some(5), reserve_bytes: 0 });
    }
}
