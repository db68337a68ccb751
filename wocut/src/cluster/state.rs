//! What is known of workers, for the next master.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::machine::WorkerId;
use crate::model::{InstanceSpec, ProcessId};

/// A worker that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) id: WorkerId,
    pub(super) index: u32,
    pub(super) generation: u64,
    pub(super) process: ProcessId,
    pub(super) spec: InstanceSpec,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    schema: u32,
    workers: Vec<Known>,
}

const SCHEMA: u32 = 1;

/// Workers that were started and not forgotten. They may have ended.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Known>> {
    let context = || format!("read state file {}", path.display());
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(context)?,
    };
    let state: State = serde_json::from_str(&text).with_context(context)?;
    if state.schema != SCHEMA {
        bail!("state file {} has schema {}, not {SCHEMA}", path.display(), state.schema);
    }
    Ok(state.workers)
}

/// Replaces the file, in one step.
pub(super) fn write(path: &Path, workers: Vec<Known>) -> anyhow::Result<()> {
    let context = || format!("write state file {}", path.display());
    let draft = path.with_extension("new");
    let text = serde_json::to_vec(&State { schema: SCHEMA, workers }).with_context(context)?;
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::{Known, read, write};
    use crate::{cluster::machine::WorkerId, model::ProcessId};

    #[test]
    fn next_master_reads_what_the_last_one_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7-web.json");
        assert_eq!(read(&path).unwrap(), []);
        let process = ProcessId { pid: 4, started: 5 };
        let spec = "40400".parse().unwrap();
        let known = Known { id: WorkerId(1), index: 2, generation: 3, process, spec };
        write(&path, vec![known.clone()]).unwrap();
        assert_eq!(read(&path).unwrap(), [known]);
        std::fs::write(&path, r#"{"schema":2,"workers":[]}"#).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("schema 2"));
    }
}
