//! Whether an instance answers, and what its answers say of its health.
//!
//! In reading order: [`machine`] makes health of answers, and [`timetable`] says when to ask; both are pure. [`Target`]
//! is who is asked, and [`ask`] asks: `tcp`, `tls`, `http`, `send_expect`, `udp` and `exec` have one kind each, or what
//! several need. [`Failure`] has the words for what went wrong.
//!
//! Who asks needs a tokio runtime with I/O and time, and nothing else: a check has no thread and nothing outlives it.

mod exec;
mod failure;
mod http;
pub mod machine;
mod send_expect;
mod target;
mod tcp;
pub mod timetable;
mod tls;
mod udp;

use tokio::time::timeout;

pub use self::{failure::Failure, machine::Machine, target::Target};
use crate::model::{Check, CheckKind};

/// Asks once. The timeout of the check covers all of it, and what is dropped before then leaves nothing behind: sockets
/// are closed, and programs killed.
pub async fn ask(check: &Check, target: &Target) -> Result<(), Failure> {
    match timeout(check.timeout.get(), answer(&check.kind, target)).await {
        Ok(answer) => answer,
        Err(_) if may_be_silent(&check.kind) => Ok(()),
        Err(_) => Err(Failure::Timeout(check.timeout)),
    }
}

/// The large ones are boxed, so that one that only connects is small.
async fn answer(kind: &CheckKind, target: &Target) -> Result<(), Failure> {
    match kind {
        CheckKind::Tcp => tcp::connect(target).await.map(drop),
        CheckKind::Http(request) => Box::pin(http::ask(request, target)).await,
        CheckKind::Https { request, tls } => Box::pin(http::ask_secretly(request, tls, target)).await,
        CheckKind::SendExpect { steps, tls } => Box::pin(send_expect::ask(steps, tls.as_ref(), target)).await,
        CheckKind::Udp { steps } => Box::pin(udp::ask(steps, target)).await,
        CheckKind::Exec { command } => Box::pin(exec::ask(command, target)).await,
    }
}

/// Whether no answer is none that is bad: where nobody had a socket, the kernel would have said so.
fn may_be_silent(kind: &CheckKind) -> bool {
    matches!(kind, CheckKind::Udp { steps } if steps.ends_in_send())
}

/// One for tests, which are not about time unless they say so: the host may be busy.
#[cfg(test)]
fn patient(kind: CheckKind) -> Check {
    let long = "30s".parse().unwrap();
    Check { interval: long, timeout: long, ..Check::of(kind) }
}

#[cfg(test)]
mod tests {
    use super::{Target, answer};
    use crate::model::CheckKind;

    #[test]
    fn what_only_connects_is_small() {
        let target = Target::at(([127, 0, 0, 1], 1).into());
        assert!(size_of_val(&answer(&CheckKind::Tcp, &target)) < 1024);
    }
}
