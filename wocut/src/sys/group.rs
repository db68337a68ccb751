//! Groups by name.

use std::{ffi::CString, io, mem::MaybeUninit, ptr};

/// The number of a group, if there is one of that name.
pub fn named(name: &str) -> io::Result<Option<u32>> {
    // The longest line of a group file that is looked at.
    const MOST: usize = 1 << 20;
    let name = CString::new(name).map_err(io::Error::other)?;
    let mut room = 1024;
    loop {
        let mut text: Vec<libc::c_char> = vec![0; room];
        let mut group = MaybeUninit::<libc::group>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: `name` ends in NUL; `text` has as many bytes as is said; the others are places for one value each.
        let result = unsafe {
            libc::getgrnam_r(name.as_ptr(), group.as_mut_ptr(), text.as_mut_ptr(), room, &raw mut found)
        };
        match result {
            0 if found.is_null() => return Ok(None),
            // SAFETY: it was found, so `group` was filled in.
            0 => return Ok(Some(unsafe { group.assume_init() }.gr_gid)),
            // What some systems say when there is none of that name.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            libc::EINTR => {}
            libc::ERANGE if room < MOST => room *= 4,
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn group_is_found_by_name() {
        assert_eq!(named("root").unwrap(), Some(0));
        assert_eq!(named("no-such-group-of-wocut").unwrap(), None);
        assert!(named("a\0b").is_err());
    }
}
