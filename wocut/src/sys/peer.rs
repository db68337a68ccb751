//! Who is at the other end of a Unix socket.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

/// A process that connected, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number; 0 where that is not seen from here.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its groups: its own, and all others that it is in.
    pub groups: Vec<u32>,
}

/// Asks the kernel, not `/proc`: a process may be gone by now, and its number another's.
///
/// # Minimum kernel version
///
/// 4.13 for groups beside the process's own (`SO_PEERGROUPS`); before, only that one is known.
pub fn of(socket: impl AsFd) -> io::Result<Peer> {
    let mut known = [libc::ucred { pid: 0, uid: 0, gid: 0 }];
    if option(&socket, libc::SO_PEERCRED, &mut known)? != size_of::<libc::ucred>() {
        return Err(io::Error::other("the kernel said less of the peer than it should"));
    }
    let [libc::ucred { pid, uid, gid }] = known;
    let mut groups = others(&socket).unwrap_or_default();
    groups.push(gid);
    Ok(Peer { pid: pid.try_into().unwrap_or(0), uid, groups })
}

/// Supplementary groups.
fn others(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    // NGROUPS_MAX of linux/limits.h.
    const MOST: usize = 65536;
    let mut room = 64;
    loop {
        let mut groups = vec![0u32; room];
        match option(socket, libc::SO_PEERGROUPS, &mut groups) {
            Ok(bytes) => {
                groups.truncate(bytes / size_of::<u32>());
                return Ok(groups);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && room < MOST => room = MOST,
            Err(error) => return Err(error),
        }
    }
}

/// Reads an option of a socket. Returns how many bytes there were.
fn option<T>(socket: &impl AsFd, name: libc::c_int, values: &mut [T]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(size_of_val(values)).map_err(io::Error::other)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes, which `values` has, and both options give plain integers.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, values.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    usize::try_from(length).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::of;

    #[test]
    fn peer_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = of(&one).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert!(peer.groups.contains(&rustix::process::getegid().as_raw()));
        let groups = rustix::process::getgroups().unwrap();
        assert!(groups.iter().all(|group| peer.groups.contains(&group.as_raw())));
    }

    #[test]
    fn what_is_no_unix_socket_has_no_peer() {
        let file = tempfile::tempfile().unwrap();
        assert!(of(&file).is_err());
    }
}
