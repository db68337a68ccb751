//! One daemon a network namespace.

use std::{
    fs::{self, DirBuilder, File},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::host::Host;

/// The right to be the one, held as long as this lives, and the directory of the state files with it.
#[derive(Debug)]
pub(super) struct Alone {
    path: PathBuf,
    _held: File,
}

impl Alone {
    /// Fails while another daemon runs in this namespace.
    pub(super) fn claim(host: &Host) -> anyhow::Result<Self> {
        let path = host.state_path().with_extension("serve");
        let context = || format!("open {}", path.display());
        let folder = path.parent().with_context(context)?;
        // Whoever can open the folder can hold the lock that is on it: see `DirLock`.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(context)?;
        let mut held = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(context)?;
        match flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let mut other = String::new();
                held.read_to_string(&mut other).with_context(context)?;
                bail!("`wocut serve` runs in this network namespace already, as process {}", other.trim());
            }
            other => other.with_context(context)?,
        }
        // The one before may have removed the file: then this lock is on nothing.
        if !fs::metadata(&path).is_ok_and(|now| held.metadata().is_ok_and(|mine| mine.ino() == now.ino())) {
            bail!("another `wocut serve` is just ending in this network namespace: start it again");
        }
        held.set_len(0).and_then(|()| held.rewind()).with_context(context)?;
        writeln!(held, "{}", std::process::id()).with_context(context)?;
        Ok(Self { path, _held: held })
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // One that is left behind is nobody's, and the next one takes it.
        let _left = fs::remove_file(&self.path);
    }
}
