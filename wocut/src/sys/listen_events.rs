//! The kernel's word that somebody begins to listen on a port: its tracepoint `sock/inet_sock_set_state` (Linux 4.16).

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd},
    path::Path,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Descriptors at most, of this process: many servers that start at once are looked at instead.
const MOST: usize = 256;
/// Those that are open.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Tells of every `listen(2)` on one port, in any network namespace: whoever hears it looks whether it is this one.
pub struct ListenEvents(Vec<AsyncFd<Ring>>);

impl ListenEvents {
    /// From here on. Needs a tokio runtime with I/O, `CAP_PERFMON`, and a tracefs, or `CAP_SYS_ADMIN` to have one.
    pub fn of(port: u16) -> io::Result<Self> {
        let id = tracepoint()?;
        let cpus = std::thread::available_parallelism()?.get().max(configured_cpus());
        if OPEN.load(Ordering::Relaxed) + cpus > MOST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let mut rings = Vec::new();
        for cpu in 0..cpus {
            match Ring::open(id, cpu, port) {
                // One that is switched off.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                other => {
                    // SAFETY: a ring's descriptor is open and the same as long as the ring lives.
                    let ring = unsafe { AsyncFd::register_with_interest(other?, Interest::READABLE) };
                    rings.push(ring.map_err(|error| error.into_parts().1)?);
                }
            }
        }
        Ok(Self(rings))
    }

    /// Waits for the next one.
    pub async fn next(&self) -> io::Result<()> {
        std::future::poll_fn(|context| {
            for ring in &self.0 {
                if let Poll::Ready(event) = ring.poll_read_ready(context) {
                    event?.clear_ready();
                    return Poll::Ready(Ok(()));
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn configured_cpus() -> usize {
    // SAFETY: it only reads a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }).unwrap_or(1)
}

/// The number of the tracepoint.
fn tracepoint() -> io::Result<u64> {
    const ID: &str = "events/sock/inet_sock_set_state/id";
    let mut text = String::new();
    match File::open(Path::new("/sys/kernel/tracing").join(ID)) {
        Ok(mut file) => file.read_to_string(&mut text)?,
        Err(_) => File::from(openat(tracefs()?, ID, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
            .read_to_string(&mut text)?,
    };
    text.trim().parse().map_err(io::Error::other)
}

/// A tracefs that nobody else sees, and that goes with the descriptor. Linux 5.2.
fn tracefs() -> io::Result<OwnedFd> {
    let system = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&system)?;
    Ok(fsmount(&system, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// `struct perf_event_attr` of `linux/perf_event.h`, in its first size.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

const TYPE_TRACEPOINT: u32 = 2;
const DISABLED: u64 = 1;
const FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const IOC_ENABLE: libc::Ioctl = 0x2400;
const IOC_SET_FILTER: libc::Ioctl = 0x4008_2406;
/// `TCP_LISTEN` of `linux/tcp_states.h`.
const LISTEN: u8 = 10;

/// The events of one CPU. They are counted by nobody: that there was one is all.
struct Ring {
    descriptor: OwnedFd,
    start: ptr::NonNull<libc::c_void>,
    len: usize,
}

impl Ring {
    fn open(tracepoint: u64, cpu: usize, port: u16) -> io::Result<Self> {
        let attributes = Attributes {
            kind: TYPE_TRACEPOINT,
            size: u32::try_from(size_of::<Attributes>()).map_err(io::Error::other)?,
            config: tracepoint,
            sample_period: 1,
            flags: DISABLED,
            wakeup_events: 1,
            ..Attributes::default()
        };
        let (every_process, no_group) = (-1, -1);
        let cpu = i32::try_from(cpu).map_err(io::Error::other)?;
        // SAFETY: the attributes are of the size that they say, and are only read.
        let descriptor = unsafe {
            let number = libc::SYS_perf_event_open;
            libc::syscall(number, &raw const attributes, every_process, cpu, no_group, FLAG_FD_CLOEXEC)
        };
        let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it, for nobody else.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let filter = format!("newstate == {LISTEN} && sport == {port}\0");
        // SAFETY: the filter is a text that ends with a zero, and is only read.
        check(unsafe { libc::ioctl(descriptor.as_raw_fd(), IOC_SET_FILTER, filter.as_ptr()) })?;
        // Without a ring the descriptor is never readable.
        let len = 2 * rustix::param::page_size();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the kernel likes.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, descriptor.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = ptr::NonNull::new(start).ok_or(io::ErrorKind::AddrNotAvailable)?;
        OPEN.fetch_add(1, Ordering::Relaxed);
        let ring = Self { descriptor, start, len };
        // SAFETY: it takes no argument.
        check(unsafe { libc::ioctl(ring.descriptor.as_raw_fd(), IOC_ENABLE, 0) })?;
        Ok(ring)
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: this is what `open` made, and nobody has it any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.len) };
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use tokio::time::timeout;

    use super::ListenEvents;

    #[tokio::test]
    async fn listener_is_heard_of_when_it_begins_to_listen() {
        // A port that is free now.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let events = match ListenEvents::of(port) {
            Ok(events) => events,
            Err(why) => {
                assert!(!rustix::process::geteuid().is_root(), "{why}");
                return;
            }
        };
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(timeout(Duration::from_millis(20), events.next()).await.is_err());
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
        drop(other);
    }
}
