//! What systemd is told. Without it there is nobody to tell, and nothing is done.

use std::{convert::Infallible, future::pending};

use sd_notify::NotifyState;

/// Tells how the daemon is.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd does not listen: {error}");
    }
}

/// Services are attached, and the daemon does its work.
pub(super) fn ready(services: usize) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(services))]);
}

/// The configuration is read anew; [`ready`] says when that is over.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The daemon ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the daemon is alive, twice as often as systemd wants to hear it.
pub(super) async fn watchdog() -> Infallible {
    let Some(period) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut every = tokio::time::interval(period / 2);
    loop {
        every.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn status(services: usize) -> String {
    format!("{services} service{} attached", if services == 1 { "" } else { "s" })
}
