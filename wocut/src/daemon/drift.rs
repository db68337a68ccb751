//! Notices what something else did to the kernel or to what is wanted, and puts it right.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep_until};

use super::{Event, Handle, log::warn};
use crate::{error::one_line, host::Repair, sys::watch::Watch};

/// From one look at the kernel to the next: rules that are flushed and pins that are removed tell nobody.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause after something that could not be put right.
const MOST: Duration = Duration::from_mins(1);

/// Looks until it is dropped: every second, and at once where an interface comes or a command changes what is wanted.
pub(super) async fn watch(handle: &Handle) -> anyhow::Result<()> {
    let mut interfaces = Watch::interfaces().context("wait for new interfaces")?;
    let mut stuck = Vec::new();
    let mut pause = INTERVAL;
    loop {
        let next = Instant::now() + pause;
        tokio::select! {
            () = sleep_until(next) => {}
            changed = interfaces.changed() => changed.context("wait for new interfaces")?,
        }
        let left = repair(handle, &stuck).await;
        // What did not get better does not by haste.
        pause = if left.is_empty() || left != stuck { INTERVAL } else { (pause * 2).min(MOST) };
        stuck = left;
    }
}

/// Returns what could not be put right. What could not be before either is not told of again.
async fn repair(handle: &Handle, stuck: &[String]) -> Vec<String> {
    match handle.repair().await {
        Ok(Repair { found, left, warnings }) => {
            if !found.is_empty() && (left.is_empty() || left != stuck) {
                handle.tell(Event::Repaired { what: found });
                warn(&warnings);
            }
            left
        }
        Err(error) => {
            let why = one_line(&error);
            if stuck != [why.as_str()] {
                handle.tell(Event::Failed { what: "repair what the kernel holds".into(), why: why.clone() });
            }
            vec![why]
        }
    }
}

/// Reads what is wanted anew each time that a command changes it.
pub(super) async fn follow(handle: &Handle) -> anyhow::Result<()> {
    let file = handle.look(|host| Ok(host.state_path())).await?;
    let mut file = Watch::file(&file).context("wait for changes of what is wanted")?;
    loop {
        if let Err(error) = handle.caught_up().await {
            handle.tell(Event::Failed { what: "read what is wanted".into(), why: one_line(&error) });
        }
        file.changed().await.context("wait for changes of what is wanted")?;
    }
}
