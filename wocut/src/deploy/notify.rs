//! What a worker says of itself: the receiving end of `sd_notify(3)`.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    net::UnixDatagram,
    time::{Instant, sleep_until},
};

/// A longer datagram is not read.
const LONGEST: usize = 4096;
/// Datagrams that are read at a time.
const BURST: usize = 64;
/// Datagrams that are read when nobody could listen for a while; the kernel keeps ten for one socket, if it is not told
/// otherwise (`net.unix.max_dgram_qlen`).
const QUEUE: usize = 1024;
/// From one time to the next: a worker that talks all the time costs no more than this. Then it waits, as the kernel
/// keeps few datagrams for one socket.
const PAUSE: Duration = Duration::from_millis(10);
/// A socket that was made so short a time ago is not looked at.
const YOUNG: Duration = Duration::from_secs(1);
/// Characters of a status line that are kept.
const STATUS: usize = 200;

/// What was said. Later words are added to earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the protocol")]
pub struct Said {
    /// It takes connections.
    pub ready: bool,
    /// It is alive.
    pub alive: bool,
    /// It wants to be retired as if it had missed its watchdog.
    pub trigger: bool,
    /// It is about to end.
    pub stopping: bool,
    /// How it is, for people.
    pub status: Option<String>,
}

impl Said {
    /// Of one datagram. What is not known, and what is no text, is passed over.
    fn hear(&mut self, datagram: &[u8]) {
        for line in datagram.split(|byte| *byte == b'\n') {
            match line {
                b"READY=1" => self.ready = true,
                b"WATCHDOG=1" => self.alive = true,
                b"WATCHDOG=trigger" => self.trigger = true,
                b"STOPPING=1" => self.stopping = true,
                _ => {
                    let status = line.strip_prefix(b"STATUS=");
                    if let Some(status) = status.and_then(|status| std::str::from_utf8(status).ok()) {
                        self.status = Some(printable(status));
                    }
                }
            }
        }
    }
}

/// A terminal would do what control characters say, and other invisible ones make a line look like another.
fn printable(status: &str) -> String {
    let shown = status.chars().filter(|char| !char.is_control() && !is_format(*char));
    shown.take(STATUS).collect()
}

/// Marks that turn the direction of text around, and those without width.
fn is_format(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The socket of one worker, whose path is its `NOTIFY_SOCKET`.
#[derive(Debug)]
pub struct Notify {
    path: PathBuf,
    socket: UnixDatagram,
    next: Instant,
}

impl Notify {
    /// Listens on a path in a folder that only this user can enter. What an earlier process left there is replaced.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = net::UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { path: path.into(), socket: UnixDatagram::from_std(socket)?, next: Instant::now() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until something is said. Dropping it loses nothing.
    ///
    /// Descriptors that come with a datagram are closed by the kernel when it is read, as there is no place for them:
    /// `scm_recv` in include/net/scm.h. Whoever waits for that, as `sd_notify_barrier(3)` does, goes on then.
    pub async fn hear(&mut self) -> io::Result<Said> {
        sleep_until(self.next).await;
        let mut said = Said::default();
        loop {
            self.socket.readable().await?;
            let mut buffer = [0; LONGEST + 1];
            for count in 0..BURST {
                match self.socket.try_recv(&mut buffer) {
                    Ok(length) if length <= LONGEST => said.hear(&buffer[..length]),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && count == 0 => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.breathe(said)),
                    Err(error) => return Err(error),
                }
                if count + 1 == BURST {
                    return Ok(self.breathe(said));
                }
            }
        }
    }

    /// What waits now, whenever something was heard last.
    pub fn waiting(&mut self) -> Said {
        let (mut said, mut buffer) = (Said::default(), [0; LONGEST + 1]);
        for _ in 0..QUEUE {
            // Not through the runtime, which may not have looked yet whether there is something.
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) if length <= LONGEST => said.hear(&buffer[..length]),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        said
    }

    fn breathe(&mut self, said: Said) -> Said {
        self.next = Instant::now() + PAUSE;
        said
    }
}

/// Removes sockets that nobody listens on any more, as those of a process that was killed: files of that folder that begin
/// with `prefix`.
pub fn sweep(folder: &Path, prefix: &str) {
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(".notify"))
    };
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in paths.filter(is_one).filter(|path| is_left(path).is_ok_and(|left| left)) {
        // The next one tries again.
        let _left = fs::remove_file(path);
    }
}

fn is_left(path: &Path) -> io::Result<bool> {
    // While one is made, there is a moment in which nobody listens yet.
    let is_old = fs::symlink_metadata(path)?.modified()?.elapsed().is_ok_and(|age| age > YOUNG);
    let asked = net::UnixDatagram::unbound()?.connect(path);
    Ok(is_old && asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

impl Drop for Notify {
    fn drop(&mut self) {
        // One that is left behind is replaced.
        let _left = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{IoSlice, Read as _},
        mem::MaybeUninit,
        os::{
            fd::AsFd as _,
            unix::{fs::PermissionsExt as _, net::UnixDatagram},
        },
    };

    use proptest::prelude::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::{Notify, Said};

    fn heard(datagram: &[u8]) -> Said {
        let mut said = Said::default();
        said.hear(datagram);
        said
    }

    fn socket() -> (tempfile::TempDir, Notify, UnixDatagram) {
        let folder = tempfile::tempdir().unwrap();
        let notify = Notify::bind(&folder.path().join("worker.sock")).unwrap();
        let worker = UnixDatagram::unbound().unwrap();
        worker.connect(notify.path()).unwrap();
        (folder, notify, worker)
    }

    #[test]
    fn what_is_known_is_heard_and_the_rest_passed_over() {
        let said =
            heard(b"MAINPID=1\nREADY=1\nFDSTORE=1\n\xff\xfe\nSTATUS=3 clients\nREADY=0\nWATCHDOG=1x\n\n");
        assert_eq!(said, Said { ready: true, status: Some("3 clients".into()), ..Said::default() });
        let said = heard(b"WATCHDOG=1\nSTOPPING=1");
        assert_eq!(said, Said { alive: true, stopping: true, ..Said::default() });
        assert!(heard(b"WATCHDOG=trigger").trigger);
        assert_eq!(heard(b""), Said::default());
    }

    #[test]
    fn status_is_short_and_does_nothing_to_a_terminal() {
        let said = heard("STATUS=a\x1b[31m\r\u{202e}\u{9b}é".as_bytes());
        assert_eq!(said.status.as_deref(), Some("a[31mé"));
        let long = heard(format!("STATUS={}", "é".repeat(500)).as_bytes());
        assert_eq!(long.status.unwrap().chars().count(), 200);
        assert_eq!(heard(b"STATUS=\xff").status, None);
    }

    #[tokio::test]
    async fn datagrams_that_wait_are_heard_together() {
        let (_folder, mut notify, worker) = socket();
        assert_eq!(fs::metadata(notify.path()).unwrap().permissions().mode() & 0o777, 0o600);
        worker.send(b"READY=1").unwrap();
        worker.send(b"STATUS=one").unwrap();
        worker.send(&[b'x'; 5000]).unwrap();
        worker.send(b"STATUS=two").unwrap();
        let said = notify.hear().await.unwrap();
        assert_eq!(said, Said { ready: true, status: Some("two".into()), ..Said::default() });
        worker.send(b"WATCHDOG=1").unwrap();
        assert!(notify.hear().await.unwrap().alive);
    }

    #[tokio::test]
    async fn datagrams_that_wait_are_heard_without_a_pause() {
        let (_folder, mut notify, worker) = socket();
        worker.send(b"READY=1").unwrap();
        assert!(notify.hear().await.unwrap().ready);
        assert_eq!(notify.waiting(), Said::default());
        worker.send(b"STATUS=one").unwrap();
        worker.send(b"WATCHDOG=1").unwrap();
        let said = Said { alive: true, status: Some("one".into()), ..Said::default() };
        assert_eq!(notify.waiting(), said);
    }

    #[tokio::test]
    async fn descriptors_are_closed_when_they_come() {
        let (_folder, mut notify, worker) = socket();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        let passed = [writer.as_fd()];
        assert!(with.push(SendAncillaryMessage::ScmRights(&passed)));
        sendmsg(&worker, &[IoSlice::new(b"BARRIER=1")], &mut with, SendFlags::empty()).unwrap();
        drop(writer);
        assert_eq!(notify.hear().await.unwrap(), Said::default());
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[tokio::test]
    async fn path_that_was_left_behind_is_taken_and_goes_with_the_socket() {
        let (folder, notify, _worker) = socket();
        let path = notify.path().to_owned();
        let second = Notify::bind(&path).unwrap();
        drop(second);
        assert!(!path.exists());
        drop((notify, folder));
    }

    #[tokio::test]
    async fn sockets_that_nobody_listens_on_are_swept() {
        let (folder, notify, _worker) = socket();
        let path = |name: &str| folder.path().join(name);
        let age = |path: &std::path::Path| {
            let earlier = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
            let times =
                rustix::fs::Timestamps { last_access: spec(earlier), last_modification: spec(earlier) };
            rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).unwrap();
        };
        for name in ["web.1.notify", "web.2.notify", "api.1.notify"] {
            drop(UnixDatagram::bind(path(name)).unwrap());
        }
        fs::rename(notify.path(), path("web.3.notify")).unwrap();
        for name in ["web.1.notify", "web.3.notify", "api.1.notify"] {
            age(&path(name));
        }
        super::sweep(folder.path(), "web.");
        let left =
            ["web.1.notify", "web.2.notify", "web.3.notify", "api.1.notify"].map(|name| path(name).exists());
        assert_eq!(left, [false, true, true, true]);
    }

    fn spec(time: std::time::SystemTime) -> rustix::fs::Timespec {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap();
        rustix::fs::Timespec { tv_sec: since.as_secs().try_into().unwrap(), tv_nsec: 0 }
    }

    proptest! {
        #[test]
        fn no_datagram_panics(datagram: Vec<u8>) {
            let status = heard(&[b"STATUS=", datagram.as_slice()].concat()).status;
            prop_assert!(status.is_none_or(|status| !status.contains(char::is_control)));
        }
    }
}
