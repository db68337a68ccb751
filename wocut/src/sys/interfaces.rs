//! The network interfaces of this namespace.

use std::{ffi::CStr, io};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number, which another one may have after it is gone.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// All of them. One whose name is not UTF-8 is left out.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    // SAFETY: the list that it returns is freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut entry = list;
    // SAFETY: the list ends with an entry whose index is 0; each before has a name.
    while let libc::if_nameindex { if_index: index @ 1.., if_name } = unsafe { *entry } {
        // SAFETY: as above.
        if let Ok(name) = unsafe { CStr::from_ptr(if_name) }.to_str() {
            found.push(Interface { index, name: name.into() });
        }
        // SAFETY: this entry is not the last.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: `if_nameindex` made it, and nothing refers to it any more.
    unsafe { libc::if_freenameindex(list) };
    Ok(found)
}

/// Whether it is there, under that name.
pub fn exists(interface: &Interface) -> bool {
    interfaces().is_ok_and(|all| all.contains(interface))
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_is_the_first() {
        let all = super::interfaces().unwrap();
        assert!(all.iter().any(|interface| interface.index == 1 && interface.name == "lo"));
    }
}
