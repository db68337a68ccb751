//! What is known of workers, for the next master.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::WorkerId;
use crate::{
    model::{InstanceSpec, ProcessId},
    sys::state_file,
};

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
    Ok(state_file::read(path, SCHEMA)?.map_or_else(Vec::new, |State { workers, .. }| workers))
}

/// Replaces the file, in one step.
pub(super) fn write(path: &Path, workers: Vec<Known>) -> anyhow::Result<()> {
    state_file::write(path, &State { schema: SCHEMA, workers })
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
    }
}
