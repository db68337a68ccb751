//! Waiting for what others change, in a tokio runtime.

use std::{
    ffi::OsString,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    },
    path::Path,
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use tokio::io::unix::AsyncFd;

use super::readable;

/// `RTMGRP_LINK` of linux/rtnetlink.h.
const LINKS: u32 = 1;

/// Something that others change.
#[derive(Debug)]
pub struct Watch {
    fd: AsyncFd<OwnedFd>,
    /// Of a directory, the name of the file that is meant.
    only: Option<OsString>,
}

impl Watch {
    /// A file that is replaced or removed, and need not be there; its directory is made for its owner alone.
    pub fn file(path: &Path) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        add_watch(&inotify, folder, WatchFlags::MOVED_TO | WatchFlags::DELETE)?;
        Ok(Self { fd: readable::register(inotify)?, only: Some(name.into()) })
    }

    /// The network interfaces of this namespace.
    pub fn interfaces() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, LINKS))?;
        // SAFETY: the socket gives its descriptor away, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(socket.into_raw_fd()) };
        Ok(Self { fd: readable::register(fd)?, only: None })
    }

    /// Waits for a change after the last one that this told of. Many at once may be told of as one.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            let is_meant = match &self.only {
                Some(name) => drain_files(ready.get_inner(), name)?,
                None => drain(ready.get_inner())?,
            };
            ready.clear_ready();
            if is_meant {
                return Ok(());
            }
        }
    }
}

/// Takes all events; whether one was of that file.
fn drain_files(inotify: &OwnedFd, name: &OsString) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut is_meant = false;
    loop {
        match reader.next() {
            // Without a name, events were lost, or the directory is gone.
            Ok(event) => {
                is_meant |= event.file_name().is_none_or(|it| it.to_bytes() == name.as_bytes());
            }
            Err(rustix::io::Errno::AGAIN) => return Ok(is_meant),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes all there is; whether there was something.
fn drain(fd: &OwnedFd) -> io::Result<bool> {
    let mut buffer = [0; 8192];
    let mut any = false;
    loop {
        match rustix::io::read(fd.as_fd(), &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(any),
            // Some were lost: that is a change, too.
            Ok(_) | Err(rustix::io::Errno::NOBUFS) => any = true,
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::Watch;

    #[tokio::test]
    async fn file_that_is_replaced_is_told_of_and_its_neighbours_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/state.json");
        let mut watch = Watch::file(&path).unwrap();
        let put = |name: &str| {
            fs::write(folder.path().join("draft"), name).unwrap();
            fs::rename(folder.path().join("draft"), path.with_file_name(name)).unwrap();
        };
        put("other.json");
        let early = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(early.is_err());
        put("state.json");
        watch.changed().await.unwrap();
        fs::remove_file(&path).unwrap();
        watch.changed().await.unwrap();
    }

    #[tokio::test]
    async fn interfaces_can_be_waited_for() {
        let mut watch = Watch::interfaces().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1), watch.changed()).await.is_err());
    }
}
