//! Whether a program can be started, without starting it.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
};

/// Where `execvp(3)` looks if nobody says where.
const PATH: &str = "/bin:/usr/bin";

/// Fails as `execvp(3)` does, where it can be told without starting the program: of a script, its interpreter may be
/// missing.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> io::Result<()> {
    if name.as_bytes().contains(&b'/') {
        return can_be_started(Path::new(name));
    }
    let mut failed = Errno::NOENT.into();
    for folder in env::split_paths(path.unwrap_or(OsStr::new(PATH))) {
        // An empty one is the current one.
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
        match can_be_started(&folder.join(name)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => failed = error,
            Err(_) => {}
        }
    }
    Err(failed)
}

fn can_be_started(file: &Path) -> io::Result<()> {
    if !fs::metadata(file)?.is_file() {
        return Err(Errno::ACCESS.into());
    }
    Ok(access(file, Access::EXEC_OK)?)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, io::ErrorKind, os::unix::fs::PermissionsExt as _};

    use super::find;

    #[test]
    fn program_is_found_as_it_would_be_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server");
        let kind = |name: &OsStr, path: &OsStr| find(name, Some(path)).map_err(|error| error.kind());
        let path = folder.path().as_os_str();
        let name = OsStr::new("server");
        assert_eq!(kind(file.as_os_str(), path), Err(ErrorKind::NotFound));
        assert_eq!(kind(name, path), Err(ErrorKind::NotFound));
        fs::write(&file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(kind(file.as_os_str(), path), Err(ErrorKind::PermissionDenied));
        assert_eq!(kind(name, path), Err(ErrorKind::PermissionDenied));
        assert_eq!(kind(path, path), Err(ErrorKind::PermissionDenied));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(kind(file.as_os_str(), OsStr::new("")), Ok(()));
        assert_eq!(kind(name, path), Ok(()));
        assert_eq!(find(OsStr::new("sh"), None).map_err(|error| error.kind()), Ok(()));
    }
}
