//! Where the files of one cluster are, and the lock that keeps a second master of its name out.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

use crate::{deploy::notify, model::Name};

/// How often a lock is tried that another process is about to give up.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is tried while others only look at it.
const LOOKS: u32 = 50;
/// Digits of a process number at most.
const NUMBER: u64 = 16;

/// A cluster of that name has a master.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cluster {name} is run by process {pid}")]
pub struct HasMaster {
    /// The cluster.
    pub name: Name,
    /// Its master; `?` where that has not said so yet.
    pub pid: String,
}

impl HasMaster {
    /// As the one says that has the lock.
    fn of(place: &Place, lock: &File) -> io::Result<Self> {
        let mut pid = String::new();
        lock.take(NUMBER).read_to_string(&mut pid)?;
        let pid = pid.trim().parse::<u32>().map_or_else(|_| "?".into(), |pid| pid.to_string());
        Ok(Self { name: place.name.clone(), pid })
    }
}

/// The files of one cluster in one network namespace.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    netns: u64,
    name: Name,
}

impl Place {
    /// Of a cluster in the network namespace with that inode number.
    pub fn new(netns: u64, name: Name) -> Self {
        Self::under("/run/wocut/cluster".into(), netns, name)
    }

    pub(super) fn under(folder: PathBuf, netns: u64, name: Name) -> Self {
        Self { folder, netns, name }
    }

    /// The name of the cluster.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.file("sock")
    }

    /// What is known of the workers, for the next master.
    pub fn state(&self) -> PathBuf {
        self.file("json")
    }

    /// Where a worker says how it is.
    pub fn notify(&self, worker: impl std::fmt::Display) -> PathBuf {
        self.file(&format!("{worker}.notify"))
    }

    /// Removes the sockets of workers that nobody hears any more.
    pub fn sweep(&self) {
        notify::sweep(&self.folder, &format!("{}-{}.", self.netns, self.name));
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}-{}.{ending}", self.netns, self.name))
    }

    /// Makes the folder, which only this user can enter.
    fn make(&self) -> anyhow::Result<()> {
        let folder = self.folder.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .with_context(|| format!("make {folder}"))?;
        let made = fs::symlink_metadata(&self.folder).with_context(|| format!("look at {folder}"))?;
        let own = made.uid() == rustix::process::geteuid().as_raw();
        if !made.is_dir() || !own || made.mode() & 0o077 != 0 {
            bail!("{folder} is not a folder of this user that nobody else can enter");
        }
        Ok(())
    }
}

/// The right to be the master, for as long as this lives. Workers are not given it.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the kernel takes the lock back when it is closed")] File);

impl Lock {
    /// Fails with [`HasMaster`] while there is another one.
    pub fn claim(place: &Place) -> anyhow::Result<Self> {
        place.make()?;
        let path = place.file("lock");
        let context = || format!("lock {}", path.display());
        let mut held = open(&path).with_context(context)?;
        let mut looks = LOOKS;
        while !try_lock(&held, FlockOperation::NonBlockingLockExclusive).with_context(context)? {
            // Those who only look whether there is a master have it for a moment, and share it.
            if looks == 0 || !try_lock(&held, FlockOperation::NonBlockingLockShared).with_context(context)? {
                return Err(HasMaster::of(place, &held).with_context(context)?.into());
            }
            looks -= 1;
            flock(&held, FlockOperation::Unlock).with_context(context)?;
            sleep(LOOK);
        }
        held.set_len(0).and_then(|()| held.rewind()).with_context(context)?;
        writeln!(held, "{}", std::process::id()).with_context(context)?;
        Ok(Self(held))
    }

    /// Fails with [`HasMaster`] while there is one.
    pub fn expect_none(place: &Place) -> anyhow::Result<()> {
        let path = place.file("lock");
        let context = || format!("look at {}", path.display());
        let held = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(context)?,
        };
        // Shared, so that it keeps nobody out who looks as well; a master that starts tries again.
        if try_lock(&held, FlockOperation::NonBlockingLockShared).with_context(context)? {
            return Ok(());
        }
        Err(HasMaster::of(place, &held).with_context(context)?.into())
    }

    /// Waits that long for a master that is about to go.
    pub fn wait(place: &Place, patience: Duration) -> anyhow::Result<Self> {
        let end = Instant::now() + patience;
        loop {
            match Self::claim(place) {
                Err(error) if error.is::<HasMaster>() && Instant::now() < end => sleep(LOOK),
                other => return other,
            }
        }
    }
}

/// False: others have it in a way that does not allow that.
fn try_lock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The file stays when the lock is given up: one that is removed could be held by one process and made anew by another.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::PermissionsExt as _,
        time::Duration,
    };

    use rustix::fs::{FlockOperation, flock};

    use super::{HasMaster, Lock, Place};

    #[test]
    fn second_master_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| Place::under(folder.path().join("cluster"), 7, name.parse().unwrap());
        let first = Lock::claim(&place("web")).unwrap();
        let error = Lock::claim(&place("web")).unwrap_err();
        let expected = HasMaster { name: "web".parse().unwrap(), pid: std::process::id().to_string() };
        assert_eq!(error.downcast_ref(), Some(&expected));
        let _other = Lock::claim(&place("api")).unwrap();
        assert!(Lock::wait(&place("web"), Duration::from_millis(1)).is_err());
        drop(first);
        Lock::claim(&place("web")).unwrap();
    }

    #[test]
    fn who_only_looks_for_a_master_keeps_none_out() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::under(folder.path().join("cluster"), 7, "web".parse().unwrap());
        Lock::expect_none(&place).unwrap();
        assert!(!folder.path().join("cluster").exists());
        let master = Lock::claim(&place).unwrap();
        assert!(Lock::expect_none(&place).unwrap_err().is::<HasMaster>());
        drop(master);
        Lock::expect_none(&place).unwrap();
        let looks = File::open(place.file("lock")).unwrap();
        flock(&looks, FlockOperation::NonBlockingLockShared).unwrap();
        Lock::expect_none(&place).unwrap();
        let master = std::thread::spawn(move || Lock::claim(&place).unwrap());
        drop(looks);
        master.join().unwrap();
    }

    #[test]
    fn folder_that_others_can_enter_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Place::under(folder.path().into(), 7, "web".parse().unwrap());
        assert!(Lock::claim(&place).unwrap_err().to_string().contains("nobody else can enter"));
    }

    #[test]
    fn lock_says_nothing_that_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::under(folder.path().join("cluster"), 7, "web".parse().unwrap());
        let _first = Lock::claim(&place).unwrap();
        fs::write(place.file("lock"), "\x1b[31m").unwrap();
        assert_eq!(Lock::claim(&place).unwrap_err().to_string(), "cluster web is run by process ?");
    }
}
