//! Ends a program when whoever started it is gone.
//!
//! A parent gives its child a pipe as stdin and keeps the other end open. However the parent ends,
//! also by `kill -9`, the pipe closes, and the child reads end of file. What is written into the
//! pipe means nothing and is thrown away.
//!
//! The reading is done by a thread of its own: a runtime waits for its blocking reads when it
//! shuts down, and would wait here for as long as the parent lives.

use std::io::Read as _;

use tokio::sync::oneshot;

/// Returns when this process's stdin is at its end (or cannot be read any more).
///
/// To be called once: every call starts a thread that reads stdin.
pub async fn ended() {
    let (tell, told) = oneshot::channel();
    let started = std::thread::Builder::new().name("stdin-guard".to_owned()).spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0; 1024];
        loop {
            match stdin.read(&mut ignored) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                Ok(_) | Err(_) => {}
            }
        }
        _ = tell.send(());
    });
    if let Err(error) = started {
        tracing::warn!(%error, "no thread to watch stdin: stopping now");
        return;
    }
    _ = told.await;
}
