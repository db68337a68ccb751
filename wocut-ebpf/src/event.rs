//! Tells of instances, for a process that may be reading along. Without one the ring fills up, and what does not fit is
//! not told.

use aya_ebpf::helpers::bpf_ringbuf_output;
use wocut_common::{Event, Load};

use crate::{
    maps::{EVENTS, LOADS},
    pick::now,
};

/// Tells of something that does not happen often.
#[inline(always)]
pub(crate) fn tell(instance: u32, what: u32) {
    let mut event = Event { instance, what };
    let ring = core::ptr::from_ref(&EVENTS).cast_mut().cast();
    // SAFETY: the helper copies one event.
    unsafe { bpf_ringbuf_output(ring, (&raw mut event).cast(), size_of::<Event>() as u64, 0) };
}

/// Tells of a connection that failed, which may happen with every one.
#[inline(always)]
pub(crate) fn failed(instance: u32, what: u32) {
    let Some(load) = LOADS.get_ptr_mut(Load::place(instance)) else { return };
    let period = (now() >> Event::PERIOD) as u32;
    // SAFETY: entries of an array stay. Two CPUs may tell of the same period.
    unsafe {
        if (*load).instance != instance || (*load).told == period {
            return;
        }
        (*load).told = period;
    }
    tell(instance, what);
}
