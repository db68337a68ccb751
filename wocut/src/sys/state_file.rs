//! Files in which a command leaves state for the next one: JSON that says its layout in `schema`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The file is laid out by another version of wocut.
#[derive(Debug, thiserror::Error)]
#[error("state file {} has schema {found}, this version's is {ours}", .path.display())]
pub struct OtherSchema {
    pub(crate) path: PathBuf,
    pub(crate) found: u32,
    pub(crate) ours: u32,
}

/// All that is read of a file of another layout.
#[derive(Deserialize)]
struct Head {
    schema: u32,
}

/// What the file says; `None` if there is none.
pub fn read<T: DeserializeOwned>(path: &Path, schema: u32) -> anyhow::Result<Option<T>> {
    let context = || format!("read state file {}", path.display());
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(context)?,
    };
    let Head { schema: found } = serde_json::from_str(&text).with_context(context)?;
    if found != schema {
        return Err(OtherSchema { path: path.to_owned(), found, ours: schema }.into());
    }
    serde_json::from_str(&text).map(Some).with_context(context)
}

/// Replaces the file, in one step.
pub fn write(path: &Path, state: &impl Serialize) -> anyhow::Result<()> {
    let context = || format!("write state file {}", path.display());
    let draft = path.with_extension("json.new");
    let text = serde_json::to_string_pretty(state).with_context(context)? + "\n";
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::{OtherSchema, read};

    #[test]
    fn another_layout_is_told_before_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.json");
        assert_eq!(read::<u32>(&path, 1).unwrap(), None);
        std::fs::write(&path, r#"{"schema":2,"services":"of a type that is not known here"}"#).unwrap();
        let error = read::<crate::model::Wanted>(&path, 1).unwrap_err();
        assert!(error.is::<OtherSchema>());
        assert!(error.to_string().contains("schema 2"));
        assert!(read::<crate::model::Wanted>(&path, 2).is_err());
    }
}
