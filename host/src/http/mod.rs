//! HTTP on this machine: between a service and the commands that ask it.
//!
//! The rule: JSON in, JSON or an RFC 9457 problem document out, and only for those who can read
//! the service's data folder: by its token on loopback, by the folder's permissions on the unix
//! socket. What the routes mean is the programs' matter; limits on size, time and number, the
//! token, and the form of errors are the same for all and stand here.

mod client;
mod problem;
mod query;
mod server;
mod socket_path;

pub use client::{Client, ClientError};
pub use problem::Problem;
pub use query::{Asked, Parameters};
pub use server::{bind_tcp, bind_unix, serve_tcp, serve_unix};

/// The largest body that a client accepts, and the largest that makes sense for a server.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Names a request, so that it is done once however often it is asked.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[cfg(test)]
mod tests;
