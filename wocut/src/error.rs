//! What an error means for the exit code, and what helps.

use serde::{Deserialize, Serialize};

use crate::{
    cluster::place::HasMaster,
    config::Refused,
    conflicts::{Conflict, Conflicts},
    engine::ebpf::{Foreign, Gone, OtherVersion},
    model::ParseError,
    plan::ChangeError,
    sys::state_file::OtherSchema,
};

/// Nothing that the command needs is attached or running.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAttached(pub String);

/// The command line makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An engine that would do, but not do all that is wanted: what it cannot do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FallsShort(pub String);

/// Connections are open that were to go.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StillOpen(pub String);

/// The user did not want to wait any longer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

/// A program that was run has ended, with this exit code.
#[derive(Debug, thiserror::Error)]
#[error("the program has ended with exit code {0}")]
pub struct Ended(pub u8);

/// An error of another process, as a command tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", .causes.join(": "))]
pub struct Told {
    /// See [`exit_code`].
    pub exit_code: u8,
    /// See [`causes`].
    pub causes: Vec<String>,
    /// See [`hint`].
    pub hint: Option<String>,
    /// See [`conflicts`].
    pub conflicts: Vec<Conflict>,
}

impl Told {
    /// All that is told of an error.
    pub fn of(error: &anyhow::Error) -> Self {
        Self {
            exit_code: exit_code(error),
            causes: causes(error),
            hint: hint(error),
            conflicts: conflicts(error).to_vec(),
        }
    }
}

/// The exit code for an error: 1 failed, 2 usage, 3 not attached, 4 no such service or instance, 5 conflict, 130
/// interrupted; a program's own.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(1)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(told) = cause.downcast_ref::<Told>() {
        return Some(told.exit_code);
    }
    if let Some(Ended(code)) = cause.downcast_ref() {
        return Some(*code);
    }
    if let Some(change) = cause.downcast_ref::<ChangeError>() {
        return Some(match change {
            ChangeError::Usage(_) => 2,
            ChangeError::NoService(_) | ChangeError::NoInstance(..) => 4,
            ChangeError::Conflict { .. } => 5,
        });
    }
    if let Some(refused) = cause.downcast_ref::<Refused>() {
        return Some(refused.exit_code());
    }
    let usage = cause.is::<Usage>() || cause.is::<ParseError>();
    usage
        .then_some(2)
        .or_else(|| cause.is::<NotAttached>().then_some(3))
        .or_else(|| {
            (cause.is::<OtherVersion>()
                || cause.is::<OtherSchema>()
                || cause.is::<Foreign>()
                || cause.is::<Conflicts>()
                || cause.is::<HasMaster>())
            .then_some(5)
        })
        .or_else(|| cause.is::<Interrupted>().then_some(130))
}

/// The first line of an error and of each of its causes, outermost first. A cause that the one before it has told
/// already is left out.
pub fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    let words = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<Told>() {
        Some(told) => told.causes.clone(),
        None => vec![cause.to_string()],
    };
    for cause in error.chain().flat_map(words) {
        // What the verifier says goes on for pages.
        let cause = cause.lines().next().unwrap_or_default().trim_end().to_owned();
        if said.last().is_none_or(|last| !last.contains(&cause)) {
            said.push(cause);
        }
    }
    said
}

/// What is in the way, if that is the error.
pub fn conflicts(error: &anyhow::Error) -> &[Conflict] {
    let found = error.chain().find_map(|cause| match cause.downcast_ref::<Told>() {
        Some(told) => Some(&told.conflicts),
        None => cause.downcast_ref().map(|Conflicts(all)| all),
    });
    found.map_or(&[], Vec::as_slice)
}

/// An error and its causes on one line.
pub fn one_line(error: &anyhow::Error) -> String {
    causes(error).join(": ")
}

/// What the user can do about an error.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(told) = cause.downcast_ref::<Told>() {
            return told.hint.clone();
        }
        if let Some(change) = cause.downcast_ref::<ChangeError>() {
            return match change {
                ChangeError::NoService(_) => Some("`wocut list` shows what is attached".into()),
                ChangeError::NoInstance(service, _) => {
                    Some(format!("`wocut status {service}` shows its instances"))
                }
                ChangeError::Conflict { forceable: true, .. } => {
                    Some("`--force` puts the new one in its place".into())
                }
                _ => None,
            };
        }
        if cause.is::<OtherVersion>() || cause.is::<OtherSchema>() {
            return Some("that version's `wocut detach --all` removes it".into());
        }
        if cause.is::<Gone>() {
            return Some("`wocut upgrade` puts it back, and so does any change".into());
        }
        if cause.is::<Conflicts>() {
            return Some("`--force` goes on in spite of them".into());
        }
        if cause.is::<FallsShort>() {
            return Some("`--allow-degraded` attaches it without".into());
        }
        if cause.is::<StillOpen>() {
            return Some("the same command goes on waiting, with `--kill` it ends them".into());
        }
        if cause.is::<Interrupted>() {
            return Some("the same command goes on from here, `wocut ready` takes it back".into());
        }
        if let Some(HasMaster { name, .. }) = cause.downcast_ref() {
            return Some(format!(
                "`wocut cluster reload {name}` replaces its workers, `--replace` its master"
            ));
        }
        let io = cause.downcast_ref::<std::io::Error>()?;
        (io.kind() == std::io::ErrorKind::PermissionDenied)
            .then(|| "run it as root; `wocut doctor` says which capabilities are missing".into())
    })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::{Interrupted, Told, conflicts};
    use crate::{
        conflicts::{Conflict, Conflicts, Kind},
        plan::ChangeError,
    };

    #[test]
    fn error_of_another_process_is_told_as_it_was_there() {
        let web = || "web".parse().unwrap();
        let (what, owner) = ("a rule".into(), "Docker".into());
        let conflict = Conflict { service: web(), kind: Kind::Rule, what, owner };
        let error: [anyhow::Error; 4] = [
            ChangeError::NoService(web()).into(),
            Conflicts(vec![conflict]).into(),
            Interrupted("at it".into()).into(),
            Err::<(), _>(anyhow!("bpf(2)")).context("write map").unwrap_err(),
        ];
        for (error, code) in error.iter().zip([4, 5, 130, 1]) {
            let told = Told::of(error);
            assert_eq!(told.exit_code, code);
            let sent: Told = serde_json::from_str(&serde_json::to_string(&told).unwrap()).unwrap();
            assert_eq!(conflicts(&sent.clone().into()).len(), usize::from(code == 5));
            assert_eq!(Told::of(&sent.into()), told);
        }
    }
}
