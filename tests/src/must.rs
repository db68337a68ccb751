//! Failing a test with what was being done.

use std::fmt::Debug;

/// Takes the value out, or fails the test with what was being done and why it could not be.
pub trait Must<T> {
    /// The value, or a panic `what: why`.
    fn must(self, what: &str) -> T;
}

impl<T, E: Debug> Must<T> for Result<T, E> {
    #[track_caller]
    fn must(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => fail(&format!("{what}: {error:?}")),
        }
    }
}

impl<T> Must<T> for Option<T> {
    #[track_caller]
    fn must(self, what: &str) -> T {
        match self {
            Some(value) => value,
            None => fail(&format!("{what}: there is none")),
        }
    }
}

/// Fails the test.
///
/// # Panics
/// Always.
#[track_caller]
pub fn fail(why: &str) -> ! {
    panic!("{why}")
}

/// Fails the test unless the condition holds.
#[track_caller]
pub fn check(holds: bool, why: impl FnOnce() -> String) {
    if !holds {
        fail(&why());
    }
}
