//! What a shopkeeper would notice, in the log.

use storemesh_protocol::terminal::Event as Notice;

pub(super) fn log(notice: Notice) {
    match notice {
        Notice::Gateway { peer, epoch, me, name } => {
            let name = name.map_or_else(|| peer.to_string(), |name| name.to_string());
            tracing::info!(terminal = name, epoch, me, "gateway");
        }
        Notice::Wanted { product, version } => tracing::info!(%product, %version, "wanted"),
        Notice::Complete { product, version, chunks } => {
            tracing::info!(%product, %version, chunks, "complete");
        }
        Notice::Running { product, version, took_ms } => {
            tracing::info!(%product, %version, took_ms, "running");
        }
        Notice::Failed { product, version, why } => {
            tracing::warn!(%product, %version, why, "cannot install for now");
        }
        Notice::NoRoom { product, version, why } => {
            tracing::warn!(%product, %version, why, "no room for a release");
        }
        Notice::Shunned { peer, name, why } => {
            let name = name.map_or_else(|| peer.to_string(), |name| name.to_string());
            tracing::warn!(terminal = name, why, "a neighbour sends wrong bytes: look after it");
        }
        Notice::ClockOff { by, ahead } => {
            let way = if ahead { "ahead of" } else { "behind" };
            let by_s = by.as_secs();
            tracing::warn!(by_s, "this machine's clock is {way} HQ's time: set it right");
        }
        Notice::Unreachable { why } => tracing::info!(why, "HQ is not reached"),
        Notice::Refused { why } => tracing::warn!(why, "HQ refuses this terminal"),
    }
}
