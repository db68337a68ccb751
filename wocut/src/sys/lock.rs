//! One command changes things at a time.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rustix::{
    fs::{FlockOperation, flock},
    io::{FdFlags, fcntl_setfd},
};

/// An exclusive lock on a directory, which goes with it when it is empty at the end.
#[derive(Debug)]
pub struct DirLock {
    directory: PathBuf,
    _held: File,
}

impl DirLock {
    /// Makes the directory if it is not there, and waits until nobody else holds its lock.
    pub fn wait(directory: &Path) -> anyhow::Result<Self> {
        let context = || format!("lock {}", directory.display());
        loop {
            match fs::DirBuilder::new().recursive(true).mode(0o700).create(directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(context);
                }
                _ => {}
            }
            let held = match File::open(directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.with_context(context)?,
            };
            flock(&held, FlockOperation::LockExclusive).with_context(context)?;
            // The holder before may have removed the directory: then this lock is on nothing.
            let current = fs::metadata(directory).map(|now| now.ino());
            if current.is_ok_and(|ino| held.metadata().is_ok_and(|mine| mine.ino() == ino)) {
                // Programs that this one starts hold the lock as well: when this one is killed while `iptables-restore`
                // runs, the next command has to wait for that to end.
                fcntl_setfd(&held, FdFlags::empty()).with_context(context)?;
                return Ok(Self { directory: directory.into(), _held: held });
            }
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Fails while there is anything in it, which is right.
        let _kept = fs::remove_dir(&self.directory);
    }
}
