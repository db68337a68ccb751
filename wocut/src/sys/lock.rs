//! One command changes things at a time.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

/// The lock that this process holds, for [`share`]. The kernel gives it to one at a time.
static HELD: Mutex<Option<File>> = Mutex::new(None);

/// The lock that this process holds, if it holds one: for a program that goes on when this process is killed, and that
/// others have to wait for. It is held until the program has ended as well. Every other program that is started
/// meanwhile is not given it: a health check that hangs would keep everybody out.
pub fn share() -> Option<File> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.try_clone().ok()
}

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
                *HELD.lock().unwrap_or_else(PoisonError::into_inner) = held.try_clone().ok();
                return Ok(Self { directory: directory.into(), _held: held });
            }
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        *HELD.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Fails while there is anything in it, which is right.
        let _kept = fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::fs::{FlockOperation, flock};

    use super::{DirLock, File, share};

    #[test]
    fn only_a_program_that_is_given_the_lock_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locked");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        let is_free = || {
            let other = File::open(&path).unwrap();
            flock(&other, FlockOperation::NonBlockingLockExclusive).is_ok()
        };
        let lock = DirLock::wait(&path).unwrap();
        let mut check = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let mut tool =
            Command::new("/bin/sleep").arg("60").stdout(Stdio::from(share().unwrap())).spawn().unwrap();
        drop(lock);
        assert!(share().is_none() && !is_free());
        tool.kill().unwrap();
        tool.wait().unwrap();
        assert!(is_free());
        check.kill().unwrap();
        check.wait().unwrap();
    }
}
