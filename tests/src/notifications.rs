//! What systemd would be told.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::must::Must as _;

/// The socket that `NOTIFY_SOCKET` names.
#[derive(Debug)]
pub struct Notifications {
    socket: UnixDatagram,
    path: PathBuf,
    told: Vec<String>,
}

impl Notifications {
    /// Listens in a folder.
    pub fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).must("listen for notifications");
        socket.set_nonblocking(true).must("listen for notifications");
        Self { socket, path, told: Vec::new() }
    }

    /// What `NOTIFY_SOCKET` is to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every assignment that has come by now, in order.
    pub fn told(&mut self) -> &[String] {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            self.told.extend(text.lines().map(str::to_owned));
        }
        &self.told
    }

    /// Forgets what has been told, for what comes from now on.
    pub fn forget(&mut self) {
        self.told();
        self.told.clear();
    }

    /// Whether something has been told by now.
    pub fn has(&mut self, assignment: &str) -> bool {
        self.told().iter().any(|told| told == assignment)
    }
}
