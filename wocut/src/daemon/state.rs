//! The file that services outlive a boot in: `wocut export`'s TOML, written anew in one step at every change.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;

use crate::{config::export, model::Wanted};

/// Replaces the file, unless it says this already. It is on the disk before the one that was there is gone.
pub(super) fn write(path: &Path, wanted: &Wanted) -> anyhow::Result<()> {
    let context = || format!("write state file {}", path.display());
    let text = export(wanted);
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().with_context(context)?.to_owned();
    name.push(".new");
    let draft = folder.join(name);
    let mut file = File::create(&draft).with_context(context)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(context)?;
    fs::rename(&draft, path).with_context(context)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(context)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::write;
    use crate::model::Wanted;

    #[test]
    fn file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.toml");
        fs::write(&path, "[service.old]").unwrap();
        write(&path, &Wanted::empty(None)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("none/state.toml"), &Wanted::empty(None)).is_err());
    }
}
