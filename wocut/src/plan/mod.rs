//! What a change makes of the wanted state, and what the kernel must hold for it. Pure: no I/O, no clock.

mod apply;
mod change;
mod processes;
mod slots;
mod turns;
mod validate;

pub use apply::{Assigned, differences, problems};
pub use change::{Change, ChangeError, FIRST_PART};
pub use processes::{Entrant, Entry, by_hand};
pub use slots::{Member, fill, shares};
pub use turns::turns;
