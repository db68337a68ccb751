//! Configuration files: text from outside becomes definitions of services, or problems with their places.
//!
//! In reading order: [`source`] reads the files; `toml` and `yaml` make the same tree of nodes of either; `fields`
//! takes it apart and notes what is wrong; `service` reads wocut's own keys, `check` those of a check, and `original` those of the Perl wocut;
//! `problem` says where something is wrong and shows the line. [`export`] goes the other way.
//!
//! Files are hostile: what one may cost is bounded by its size, and every text that is shown again is escaped.

mod check;
mod export;
mod fields;
mod node;
mod original;
mod problem;
mod service;
mod source;
#[cfg(test)]
mod tests;
mod toml;
mod yaml;

use std::{collections::BTreeMap, path::PathBuf};

use wocut_common::maps::MAX_SERVICES;

pub use self::{
    export::export,
    problem::{Problem, Refused},
};
use self::{
    problem::{Kind, Problems},
    source::{Format, Source},
};
use crate::{
    model::{Definition, Name},
    plan::{self, ChangeError},
};

/// What all the files say together.
#[derive(Debug, Default)]
pub struct Config {
    /// The files that were read, in order.
    pub files: Vec<Summary>,
    /// Every service that could be understood, in the order of the files.
    pub services: Vec<Definition>,
    /// What is understood, and does not do what one may think.
    pub warnings: Vec<Problem>,
    refused: Refused,
}

/// What a file came to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Its name, as it was given.
    pub file: String,
    /// Services that could be understood.
    pub services: usize,
    /// What is wrong in it.
    pub errors: usize,
}

impl Config {
    /// Reads files, every `*.toml` and `*.wocut` in directories, and standard input for `-`. All of them are read, and
    /// checked beside each other, whatever is wrong with one.
    pub fn read(paths: &[PathBuf]) -> Self {
        let mut config = Self::default();
        let mut places = BTreeMap::new();
        for source in source::read(paths) {
            config.take(source, &mut places);
        }
        for (name, error) in plan::problems(&config.services) {
            let Some((file, place)) = places.get(&name) else { continue };
            let kind = match error {
                ChangeError::Conflict { .. } => Kind::Conflict,
                _ => Kind::Nonsense,
            };
            config.files[*file].errors += 1;
            config.refused.push(Problem { kind, message: format!("{name}: {error}"), ..place.clone() });
        }
        config
    }

    fn take(&mut self, source: Result<Source, Problem>, places: &mut BTreeMap<Name, (usize, Problem)>) {
        let file = match &source {
            Ok(source) => source.name.clone(),
            Err(problem) => problem.file.clone(),
        };
        let mut summary = Summary { file, services: 0, errors: 0 };
        let mut problems = Refused::default();
        match source {
            Err(problem) => problems.push(problem),
            Ok(source) => {
                let mut noted = Problems::new(&source);
                let services = match source.format {
                    Format::Toml => service::read(&mut noted),
                    Format::Original => original::read(&mut noted),
                };
                for (definition, span) in services {
                    if self.services.len() == MAX_SERVICES {
                        noted
                            .error(&span, format!("{MAX_SERVICES} services come before it, more do not fit"));
                        break;
                    }
                    let name = definition.name.clone();
                    if let Some((_, first)) = places.get(&name) {
                        noted.error(&span, format!("service `{name}` is in {} already", first.place()));
                        continue;
                    }
                    places.insert(name, (self.files.len(), noted.at(&span)));
                    summary.services += 1;
                    self.services.push(definition);
                }
                self.warnings.append(&mut noted.warnings);
                problems = noted.refused;
            }
        }
        summary.errors = problems.count();
        self.refused.extend(problems);
        self.files.push(summary);
    }

    /// The same, if nothing is wrong.
    pub fn sound(self) -> Result<Self, Refused> {
        if self.refused.count() == 0 { Ok(self) } else { Err(self.refused) }
    }
}

/// Every key of a service, an instance and a check.
#[cfg(test)]
pub(crate) fn keys() -> impl Iterator<Item = &'static str> {
    service::KEYS.into_iter().chain(service::INSTANCE_KEYS).chain(check::KEYS)
}
