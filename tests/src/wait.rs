//! Waiting for an event, never for a time.

use std::thread;
use std::time::{Duration, Instant};

use crate::emulated::limit;
use crate::must::fail;

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
