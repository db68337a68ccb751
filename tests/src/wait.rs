//! Waiting for an event, never for a time.

use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::must::fail;

/// How much slower everything is where QEMU runs the processor's instructions in software.
const EMULATED: u32 = 10;

/// What a limit on how long something may take comes to on this machine.
pub fn limit(usual: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let is_emulated =
        || fs::read_to_string("/proc/cpuinfo").is_ok_and(|processors| processors.contains("QEMU TCG"));
    usual * *FACTOR.get_or_init(|| if is_emulated() { EMULATED } else { 1 })
}

/// Waits until `ready` says so, and fails the test, naming `what`, when the deadline passes first.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut ready: impl FnMut() -> bool) {
    wait_for(what, deadline, || ready().then_some(()));
}

/// Like [`wait_until`], for an event that brings a value.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let (start, deadline) = (Instant::now(), limit(deadline));
    loop {
        if let Some(value) = look() {
            return value;
        }
        if start.elapsed() > deadline {
            fail(&format!("waited {deadline:?} in vain: {what}"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}
