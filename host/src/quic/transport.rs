//! How our QUIC connections use the network, in one place for both ends.
//!
//! The rule: each number bounds what the other side can make us hold, or says how soon a dead link
//! is noticed. Datagrams and one-way streams are off: the protocol uses neither. Segmentation
//! offload stays on, which is where most of the speed of QUIC on Linux comes from.

use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

/// A link that carries nothing still shows this often that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Five lost signs of life: the other side is gone.
pub const IDLE: Duration = Duration::from_secs(5);
/// How many requests the other side may have open.
pub const BIDI_STREAMS: u32 = 64;
/// 100 Mbit/s for 200 ms are 2.5 MB on their way; the rest is for a reader that pauses.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Two streams at full speed. It is also the most that one peer can make us buffer.
const WINDOW_BYTES: u32 = 8 << 20;

pub(super) fn config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE).expect("5 s is a valid timeout")))
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES))
        .send_window(u64::from(WINDOW_BYTES))
        .datagram_receive_buffer_size(None)
        .enable_segmentation_offload(true);
    config
}
