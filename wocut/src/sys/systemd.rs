//! What systemd is told. Without it there is nobody to tell, and nothing is done.

use std::{convert::Infallible, future::pending};

use sd_notify::NotifyState;

/// Tells how this process is.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd does not listen: {error}");
    }
}

/// It does its work, as `status` says.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// How it is, for people.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// It is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Whether there is somebody to tell.
pub fn listens() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// What it does is set up anew; [`ready`] says when that is over.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// It ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that it is alive, twice as often as systemd wants to hear it.
pub async fn watchdog() -> Infallible {
    let Some(period) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut every = tokio::time::interval(period / 2);
    loop {
        every.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}
