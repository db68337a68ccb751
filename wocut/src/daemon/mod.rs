//! What `wocut serve` does, beside its API: keeps services as they are wanted, checks their instances, and tells.
//!
//! Traffic does not depend on it: it makes changes as every command does, through [`Host`](crate::host::Host), and what
//! it found out is in the state file. While it is dead, connections go on as last decided.
//!
//! In reading order: `serve` starts and stops it; every part of it looks at this host and changes it through a
//! [`Handle`], and tells what happened as an [`Event`].

mod event;
mod handle;
mod state;

pub use event::{Event, Noted};
pub use handle::{Checked, Handle};
