//! What `wocut serve` does, beside its API: keeps services as they are wanted, checks their instances, and tells.
//!
//! Traffic does not depend on it: it makes changes as every command does, through [`Host`](crate::host::Host), and what
//! it found out is in the state file. While it is dead, connections go on as last decided.
//!
//! In reading order: `serve` starts and ends it; `files` reads the configuration and `state` keeps the state file;
//! `checks` asks instances how they are, `sights` is what the kernel saw of them, and `slow_start` gives those that came up
//! their share by and by; `drift` notices what others change; `log` tells how it is. Every part looks at this
//! host and changes it through a [`Handle`], and tells what happened as an [`Event`].

mod alone;
mod checks;
mod drift;
mod event;
mod files;
mod handle;
mod log;
mod serve;
mod sights;
mod slow_start;
mod state;

pub use event::{Event, EventCounts, Noted};
pub use handle::{Checked, Handle};
pub use log::{Format, Level};
pub use serve::{Options, serve};
