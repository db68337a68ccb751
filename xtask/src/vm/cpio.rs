//! Writing a cpio archive, the form in which the kernel takes its first file system.
//!
//! Every file belongs to root, whoever runs this. The format is in the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive under way. Paths are absolute, as they will be where it is unpacked.
pub(crate) struct Archive<W> {
    out: W,
    present: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, present: BTreeSet::from(["/".into()]) }
    }

    /// Whether a path has been written.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.present.contains(path)
    }

    /// A folder, and those that it is in. Writing one again does nothing.
    pub(crate) fn folder(&mut self, path: &Path) -> io::Result<()> {
        if self.has(path) {
            return Ok(());
        }
        self.entry(path, FOLDER, 0, (0, 0), &[])
    }

    /// A file with the permissions of `mode`.
    pub(crate) fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        self.dated_file(path, mode, 0, content)
    }

    /// A file that was changed so many seconds after 1970: Python compiles a program anew if that is not so.
    pub(crate) fn dated_file(&mut self, path: &Path, mode: u32, time: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, FILE | mode & 0o7777, time, (0, 0), content)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &Path, to: &OsStr) -> io::Result<()> {
        self.entry(path, LINK, 0, (0, 0), to.as_bytes())
    }

    /// A character device.
    pub(crate) fn device(&mut self, path: &Path, numbers: (u32, u32)) -> io::Result<()> {
        self.entry(path, CHARACTER_DEVICE, 0, numbers, &[])
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write("TRAILER!!!".as_ref(), 0, 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(
        &mut self,
        path: &Path,
        mode: u32,
        time: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        if self.present.insert(path.to_owned()) {
            self.write(path.strip_prefix("/").unwrap_or(path).as_os_str(), mode, time, device, content)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        name: &OsStr,
        mode: u32,
        time: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let number = |length: usize| u32::try_from(length).map_err(io::Error::other);
        let inode = number(self.present.len())?;
        let fields = [
            inode,
            mode,
            0, // user
            0, // group
            1, // links
            time,
            number(content.len())?,
            0, // device that the file is on
            0,
            device.0,
            device.1,
            number(name.len() + 1)?,
            0, // checksum
        ];
        let mut head = b"070701".to_vec();
        for field in fields {
            write!(head, "{field:08x}")?;
        }
        head.extend(name.as_bytes());
        head.push(0);
        self.padded(&head)?;
        self.padded(content)
    }

    /// Names and contents begin at multiples of four.
    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Archive;

    #[test]
    fn one_file_comes_after_its_folders_and_before_the_end() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/a/b"), 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let zeros = "00000000";
        let folder = format!(
            "07070100000002000041ed{zeros}{zeros}00000001{zeros}{zeros}{zeros}{zeros}{zeros}{zeros}00000002{zeros}a\0"
        );
        let file = format!(
            "07070100000003000081ed{zeros}{zeros}00000001{zeros}00000005{zeros}{zeros}{zeros}{zeros}00000004{zeros}\
             a/b\0\0\0hello\0\0\0"
        );
        let text = String::from_utf8(bytes).unwrap();
        let rest = text.strip_prefix(&folder).unwrap().strip_prefix(&file).unwrap();
        assert!(rest.contains("TRAILER!!!\0"), "{rest:?}");
        assert_eq!(text.len() % 4, 0);
    }

    #[test]
    fn a_path_is_written_once() {
        let mut archive = Archive::new(Vec::new());
        archive.link(Path::new("/bin"), "elsewhere".as_ref()).unwrap();
        archive.folder(Path::new("/bin")).unwrap();
        assert!(archive.has(Path::new("/bin")));
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        assert_eq!(text.matches("bin\0").count(), 1, "{text:?}");
    }
}
