//! The end of a process that gets no new connections.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Pool;
use crate::{
    model::ProcessId,
    sys::pidfd::{Pidfd, send},
};

/// How often it is looked whether connections are left.
const LOOK: Duration = Duration::from_millis(100);
/// To look at every connection of a busy host takes a while: the pause after it is so many times as long.
const SHARE: u32 = 10;

/// A handshake is no connection yet, and would be lost with the listener that has it. One that loses no packet takes less.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// Those of clients that wait longer: the kernel sends an answer that was lost again after 1 and after 3 seconds.
const SLOW_HANDSHAKE: Duration = Duration::from_secs(4);

/// How long a process may take to end.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For its connections to end, before it is told to.
    pub grace: Duration,
    /// For itself to end, before it is killed.
    pub kill_after: Duration,
}

/// Waits until the last connection of a process is gone, then has it end, and takes it out of its service. A process
/// that was not this one when it was noted is left alone.
pub async fn see_off(pool: &Pool, process: ProcessId, patience: Patience) -> anyhow::Result<()> {
    if let Some(pidfd) = Pidfd::of(process)? {
        let end = Instant::now() + patience.grace;
        tokio::select! {
            ended = pidfd.ended() => ended?,
            () = left_alone(pool, process, end) => send(process, Signal::TERM)?,
        }
        if timeout(patience.kill_after, pidfd.ended()).await.is_err() {
            send(process, Signal::KILL)?;
            pidfd.ended().await?;
        }
        // It may have left nobody.
        let _gone = pidfd.kill_group();
    }
    pool.exit(&[process]).map(drop)
}

/// Returns when a process has no connections left, or at the end of its time.
pub(crate) async fn left_alone(pool: &Pool, process: ProcessId, end: Instant) {
    let begun = Instant::now();
    // Those that come later are not for this process.
    let handshakes = pool.handshakes(process).unwrap_or_default();
    if timeout_at(end, sleep(HANDSHAKE)).await.is_err() {
        return;
    }
    let are_done = || {
        begun.elapsed() > SLOW_HANDSHAKE
            || handshakes.is_empty()
            || pool.handshakes(process).is_ok_and(|now| now.is_disjoint(&handshakes))
    };
    while Instant::now() < end {
        let look = Instant::now();
        // In this order: what ends as a handshake is a connection then.
        if are_done() && pool.open(process).is_ok_and(|open| open == 0) {
            return;
        }
        let pause = sleep(LOOK.max(look.elapsed() * SHARE));
        if timeout_at(end, pause).await.is_err() {
            return;
        }
    }
}
