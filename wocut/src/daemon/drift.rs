//! Notices what something else did to the kernel or to what is wanted, and puts it right.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep_until};

use super::{Event, Handle, log::warn};
use crate::{error::one_line, sys::watch::Watch};

/// From one look at the kernel to the next: rules that are flushed and pins that are removed tell nobody.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause after something that could not be put right.
const MOST: Duration = Duration::from_mins(1);

/// Looks until it is dropped: every second, and at once where an interface comes or a command changes what is wanted.
pub(super) async fn watch(handle: &Handle) -> anyhow::Result<()> {
    let mut interfaces = Watch::interfaces().context("wait for new interfaces")?;
    let mut last = Vec::new();
    let mut pause = INTERVAL;
    loop {
        let next = Instant::now() + pause;
        tokio::select! {
            () = sleep_until(next) => {}
            changed = interfaces.changed() => changed.context("wait for new interfaces")?,
        }
        let found = match handle.repair().await {
            Ok((found, _)) if found == last => found,
            Ok((found, warnings)) => {
                if !found.is_empty() {
                    handle.tell(Event::Repaired { what: found.clone() });
                }
                warn(&warnings);
                found
            }
            Err(error) => {
                let why = one_line(&error);
                let failed = vec![why.clone()];
                if failed != last {
                    handle.tell(Event::Failed { what: "repair what the kernel holds".into(), why });
                }
                failed
            }
        };
        // What was the same before does not get better by haste.
        pause = if found.is_empty() || found != last { INTERVAL } else { (pause * 2).min(MOST) };
        last = found;
    }
}

/// Reads what is wanted anew each time that a command changes it.
pub(super) async fn follow(handle: &Handle) -> anyhow::Result<()> {
    let file = handle.look(|host| Ok(host.state_path())).await?;
    let mut file = Watch::file(&file).context("wait for changes of what is wanted")?;
    loop {
        handle.caught_up().await?;
        file.changed().await.context("wait for changes of what is wanted")?;
    }
}
