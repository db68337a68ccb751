//! Waiting that Ctrl-C ends.

use std::{io, mem::MaybeUninit, ptr, time::Duration};

/// While this lives, an interrupt (`SIGINT`) ends a wait, and not the process. One that comes outside a wait is kept
/// for the next, or for the end of this value.
pub struct Interrupt {
    only: libc::sigset_t,
    before: libc::sigset_t,
}

impl Interrupt {
    /// From here on. Threads that are started later do the same; processes do not.
    pub fn hold() -> io::Result<Self> {
        let mut only = MaybeUninit::uninit();
        // SAFETY: both calls take a signal set to write to, and the first makes it a valid one.
        let only = unsafe {
            libc::sigemptyset(only.as_mut_ptr());
            libc::sigaddset(only.as_mut_ptr(), libc::SIGINT);
            only.assume_init()
        };
        let mut before = MaybeUninit::uninit();
        // SAFETY: the first set is read and the second is written.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const only, before.as_mut_ptr()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: the call above wrote it.
        Ok(Self { only, before: unsafe { before.assume_init() } })
    }

    /// Waits that long; true: not to the end, because of an interrupt.
    pub fn within(&self, wait: Duration) -> io::Result<bool> {
        let timeout = libc::timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        // SAFETY: the set and the time are read, and nothing is written where there is no place for it.
        let signal = unsafe { libc::sigtimedwait(&raw const self.only, ptr::null_mut(), &raw const timeout) };
        if signal == libc::SIGINT {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // The time is over, or the process was stopped and goes on.
            Some(libc::EAGAIN | libc::EINTR) => Ok(false),
            _ => Err(error),
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // SAFETY: the set is read, and nothing is written where there is no place for it.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}
