//! Reads files: regular ones, of a size that a configuration can have.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::problem::{Kind, Problem};

/// Bytes that a file has at most.
const MAX_BYTES: u64 = 1 << 20;
/// Files that are read at most: as many as there can be services.
const MAX_FILES: usize = 1024;

/// The text of a file.
#[derive(Debug)]
pub(super) struct Source {
    /// The name of the file, as it was given, fit to be shown.
    pub(super) name: String,
    /// The name of the service, for a file of the original.
    pub(super) stem: String,
    pub(super) format: Format,
    pub(super) text: String,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// wocut's own.
    Toml,
    /// The YAML of the original: `NAME.wocut`.
    Original,
}

impl Format {
    /// By the file's name.
    fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|end| end == "wocut") { Self::Original } else { Self::Toml }
    }
}

/// Reads what the paths name, in their order, and directories sorted by name; each file when it is asked for.
pub(super) fn read(paths: &[PathBuf]) -> impl Iterator<Item = Result<Source, Problem>> {
    let mut files: Vec<Result<PathBuf, Problem>> = Vec::new();
    for path in paths {
        if path.is_dir() {
            match list(path) {
                Ok(found) => files.extend(found.into_iter().map(Ok)),
                Err(error) => files.push(Err(unread(path, &error))),
            }
        } else {
            files.push(Ok(path.clone()));
        }
    }
    if files.len() > MAX_FILES {
        let message = format!("{} files: {MAX_FILES} are read at most", files.len());
        files = vec![Err(Problem::of_file(&shown(&paths[0]), Kind::Nonsense, message))];
    }
    files.into_iter().map(|file| file.and_then(|path| open(&path)))
}

/// The configuration files of a directory.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|end| end == "toml" || end == "wocut") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn open(path: &Path) -> Result<Source, Problem> {
    if path.as_os_str() == "-" {
        return take(path, io::stdin().lock());
    }
    // A FIFO that nobody writes to would be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file: File = file.map_err(|error| unread(path, &error))?;
    let metadata = file.metadata().map_err(|error| unread(path, &error))?;
    if !metadata.is_file() {
        return Err(Problem::of_file(&shown(path), Kind::Nonsense, "not a regular file"));
    }
    take(path, file)
}

fn take(path: &Path, from: impl Read) -> Result<Source, Problem> {
    let refuse = |message: String| Err(Problem::of_file(&shown(path), Kind::Nonsense, message));
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unread(path, &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return refuse(format!("a configuration has at most {MAX_BYTES} bytes"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source {
            name: shown(path),
            stem: path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into()),
            format: Format::of(path),
            text,
        }),
        Err(error) => refuse(format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to() + 1)),
    }
}

fn unread(path: &Path, error: &io::Error) -> Problem {
    Problem::of_file(&shown(path), Kind::Unread, format!("cannot be read: {error}"))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
impl Source {
    pub(super) fn toml(text: &str) -> Self {
        Self { name: "test.toml".into(), stem: "test".into(), format: Format::Toml, text: text.into() }
    }

    pub(super) fn original(stem: &str, text: &str) -> Self {
        let name = format!("{stem}.wocut");
        Self { name, stem: stem.into(), format: Format::Original, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::{Format, read};

    #[test]
    fn directory_gives_its_files_sorted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.wocut", "c.toml~", ".d.toml", "README"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let found: Vec<(String, Format)> = read(&[folder.path().into()])
            .map(|source| source.unwrap())
            .map(|source| (source.text, source.format))
            .collect();
        assert_eq!(found, [("a.wocut".into(), Format::Original), ("b.toml".into(), Format::Toml)]);
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("big.toml"), vec![b' '; (1 << 20) + 1]).unwrap();
        fs::write(path("bytes.toml"), b"a = \xff").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo.toml"), rustix::fs::Mode::RUSR).unwrap();
        fs::create_dir(path("folder.toml")).unwrap();
        for (file, why) in [
            (path("big.toml"), "at most 1048576 bytes"),
            (path("bytes.toml"), "not UTF-8 from byte 5 on"),
            (path("fifo.toml"), "not a regular file"),
            (PathBuf::from("/dev/zero"), "not a regular file"),
            (path("none.toml"), "cannot be read"),
        ] {
            let problem = read(std::slice::from_ref(&file)).next().unwrap().unwrap_err();
            assert!(problem.message.contains(why), "{problem}");
        }
        assert_eq!(read(&[folder.path().into()]).count(), 4);
    }
}
