//! One file with all of a report, for its owner alone.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

use super::Report;

/// The folder that everything is in.
const FOLDER: &str = "wocut-bugreport";
/// Says what could not be had.
const PROBLEMS: &str = "problems.txt";

/// Writes a report to a file that there is not yet. `now` is the time since 1970.
pub fn write(report: &Report, path: &Path, now: Duration) -> anyhow::Result<()> {
    let context = || format!("write {}", path.display());
    // Nobody else may read it at any moment, and no file of somebody else's is written over.
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(context)?;
    pack(report, file, now).and_then(|file| file.sync_all()).with_context(context)
}

fn pack<W: Write>(report: &Report, to: W, now: Duration) -> io::Result<W> {
    let mut archive = Builder::new(GzEncoder::new(to, Compression::default()));
    let problems = report.problems.iter().flat_map(|problem| [problem.as_str(), "\n"]).collect();
    let problems = [(PROBLEMS.to_owned(), problems)];
    for (name, text) in report.files.iter().chain(&problems) {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now.as_secs());
        archive.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

/// The name of a report that was made at that time.
pub fn name(now: Duration) -> String {
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + now).to_string();
    format!("{FOLDER}-{}.tar.gz", time.replace([':', '-'], ""))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, time::Duration};

    use flate2::read::GzDecoder;
    use tar::Archive;

    use super::{name, write};
    use crate::bugreport::Report;

    #[test]
    fn archive_has_every_file_and_what_failed_and_is_for_its_owner() {
        let report = Report {
            files: vec![("a.txt".into(), "one\n".into()), ("rules/b.txt".into(), String::new())],
            problems: vec!["c.txt: no such tool".into()],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.tar.gz");
        write(&report, &path, Duration::from_secs(7)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut archive = Archive::new(GzDecoder::new(fs::File::open(&path).unwrap()));
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        let expected = [
            ("wocut-bugreport/a.txt", "one\n"),
            ("wocut-bugreport/rules/b.txt", ""),
            ("wocut-bugreport/problems.txt", "c.txt: no such tool\n"),
        ];
        assert_eq!(read.collect::<Vec<_>>(), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn file_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.tar.gz");
        fs::write(&path, "mine").unwrap();
        assert!(write(&Report::default(), &path, Duration::ZERO).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn name_has_the_time_and_needs_no_quotes() {
        assert_eq!(name(Duration::from_secs(1_767_323_045)), "wocut-bugreport-20260102T030405Z.tar.gz");
    }
}
