//! A Unix socket that is listened on under a path.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
        net::{UnixListener, UnixStream},
    },
    path::Path,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens on a path. Nobody can connect before it has its mode and its group. What a daemon that is gone left there is
/// removed; what somebody answers on, or what is no socket, is not.
pub fn bind_path(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    clear(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Until it listens, whoever connects is refused, whatever its mode.
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    chown(path, None, group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn clear(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?.file_type(),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "something that is no socket has this path"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another process answers on it")),
    }
}

/// Makes the folder of a path, and lets a group through to what is in it, but not look around. In one that is wocut's own,
/// as systemd makes it for the unit, it takes the place of another group.
pub fn open_folder(path: &Path, group: Option<u32>, is_own: bool) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    // Whoever can open the folder can hold the lock that is on it: see `DirLock`.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let present = fs::metadata(folder)?;
    // The folder of state files is made for nobody else; one that others are let into already is not wocut's to change.
    let mode = present.mode() & 0o7777;
    if let Some(group) = group
        && (mode == 0o700 || is_own && mode == 0o710)
        && present.uid() == rustix::process::geteuid().as_raw()
    {
        chown(folder, None, Some(group))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o710))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::ErrorKind,
        os::unix::{
            fs::{MetadataExt as _, PermissionsExt as _, symlink},
            net::UnixStream,
        },
    };

    use super::{bind_path, open_folder};

    #[test]
    fn mode_follows_the_group() {
        let folder = tempfile::tempdir().unwrap();
        for (group, mode) in [(None, 0o600), (Some(rustix::process::getegid().as_raw()), 0o660)] {
            let path = folder.path().join(format!("{mode}"));
            let _listener = bind_path(&path, group).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
            assert!(UnixStream::connect(&path).is_ok());
        }
    }

    #[test]
    fn only_what_a_dead_daemon_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let first = bind_path(&path, None).unwrap();
        assert_eq!(bind_path(&path, None).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(first);
        let _second = bind_path(&path, None).unwrap();

        let file = folder.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        for other in [file, link] {
            assert_eq!(bind_path(&other, None).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert!(other.exists());
        }
    }

    #[test]
    fn group_passes_through_a_folder_and_does_not_see_it() {
        let folder = tempfile::tempdir().unwrap();
        let group = rustix::process::getegid().as_raw();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        open_folder(&folder.path().join("api.sock"), Some(group), false).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o710);
        let own = fs::Permissions::from_mode(0o710);
        fs::set_permissions(folder.path(), own).unwrap();
        open_folder(&folder.path().join("api.sock"), Some(group), true).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().gid(), group);
        for (name, group, mode) in [("closed", None, 0o700), ("open", Some(group), 0o710)] {
            open_folder(&folder.path().join(name).join("api.sock"), group, false).unwrap();
            assert_eq!(fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777, mode);
        }
    }
}
