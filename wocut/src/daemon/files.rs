//! Configuration files and the state file, at the start and at a reload.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{Handle, log::warn};
use crate::{
    config::{Config, Problem},
    conflicts::Ask,
    model::{Definition, EngineChoice, Name},
    plan::Change,
    propose::{self, Terms},
};

/// Who makes these changes.
const WHO: &str = "config";

/// Where services come from.
#[derive(Debug)]
pub(super) struct Files {
    /// Files and directories as `wocut apply` takes them.
    pub(super) config: Option<PathBuf>,
    /// What services outlive a boot in.
    pub(super) state: Option<PathBuf>,
    /// Whether it is applied in spite of conflicts.
    pub(super) force: bool,
    /// `--engine`.
    pub(super) engine: EngineChoice,
    /// The services that the configuration had when it was last read.
    pub(super) had: Mutex<BTreeSet<Name>>,
}

impl Files {
    /// Makes wanted what is to be there after a start.
    ///
    /// What is attached already stays as it is, and so does what the state file has: with one, the configuration is
    /// for the first start of all.
    pub(super) async fn start(&self, handle: &Handle) -> anyhow::Result<()> {
        if let Some(state) = &self.state {
            if !handle.wanted().services.is_empty() {
                tracing::info!("going on with what is attached");
                return Ok(());
            }
            if state.exists() {
                tracing::info!("going on with what {} has", state.display());
                return self.apply(handle, state, BTreeSet::new()).await.map(drop);
            }
        }
        self.reload(handle).await
    }

    /// Makes wanted what the configuration says, all of it or nothing. Services that it had before and has no more go;
    /// those that came another way stay.
    pub(super) async fn reload(&self, handle: &Handle) -> anyhow::Result<()> {
        let Some(config) = &self.config else {
            tracing::info!("there is no configuration to read");
            return Ok(());
        };
        let had = self.had.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let has = self.apply(handle, config, had).await?;
        *self.had.lock().unwrap_or_else(PoisonError::into_inner) = has;
        Ok(())
    }

    /// Returns the names of the services that were read. Those of `had` that are none of them go.
    async fn apply(
        &self,
        handle: &Handle,
        path: &Path,
        had: BTreeSet<Name>,
    ) -> anyhow::Result<BTreeSet<Name>> {
        let path = path.to_owned();
        let Config { services, warnings, .. } =
            handle.look(move |_| Ok(Config::read(&[path]).sound()?)).await?;
        warn(warnings.iter().map(Problem::brief));
        let names: BTreeSet<Name> = services.iter().map(|service| service.name.clone()).collect();
        let (has, gone) = (names.clone(), had.difference(&names).cloned().collect::<BTreeSet<Name>>());
        let ask = Ask { force: self.force, verbose: false };
        let terms = Terms { engine: self.engine, prune: true, dry_run: false, ask };
        let done = handle
            .change(WHO, move |host, wanted| {
                // What came another way stays as it is.
                let stays = |name: &&Name| !names.contains(*name) && !gone.contains(*name);
                let others = wanted.services.keys().filter(stays);
                let others = others.filter_map(|name| Some(Definition::of(name, wanted.services.get(name)?)));
                let all: Vec<Definition> = others.chain(services).collect();
                if all.is_empty() {
                    return Ok(Change::Apply { services: Vec::new(), prune: true }.into());
                }
                propose::definitions(host, wanted, all, terms, |note| tracing::warn!("{note}"))
            })
            .await?;
        warn(&done.warnings);
        Ok(has)
    }
}
