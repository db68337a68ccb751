//! How many descriptors this process may have open.

use std::{io, sync::OnceLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What it was before it was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// As many as it may allow itself. Programs that are started get what there was before ([`given`]): those that use
/// `select(2)` break where a descriptor has a number over 1023.
pub fn raise() -> io::Result<()> {
    let before = getrlimit(Resource::Nofile);
    let most = before.maximum;
    // The first one is what there was.
    BEFORE.get_or_init(|| before);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })?)
}

/// What a program is to have, if that is not what this process has.
pub fn given() -> Option<Rlimit> {
    BEFORE.get().copied()
}
