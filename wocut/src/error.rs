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

/// Errors that mean something to who reads them: one place for all, so that none is forgotten.
macro_rules! kinds {
    ($($kind:ident($error:ty)),+ $(,)?) => {
        #[derive(Debug)]
        #[expect(dead_code, reason = "most are known by their kind alone")]
        pub(crate) enum Kind<'e> {
            $($kind(&'e $error)),+
        }

        impl<'e> Kind<'e> {
            /// The names of all.
            #[cfg(test)]
            pub(crate) const ALL: &'static [&'static str] = &[$(stringify!($kind)),+];

            pub(crate) fn of(cause: &'e (dyn std::error::Error + 'static)) -> Option<Self> {
                None$(.or_else(|| cause.downcast_ref().map(Self::$kind)))+
            }
        }
    };
}

kinds! {
    Told(Told),
    Ended(Ended),
    Change(ChangeError),
    Refused(Refused),
    Usage(Usage),
    Parse(ParseError),
    NotAttached(NotAttached),
    OtherVersion(OtherVersion),
    OtherSchema(OtherSchema),
    Foreign(Foreign),
    Gone(Gone),
    Conflicts(Conflicts),
    HasMaster(HasMaster),
    FallsShort(FallsShort),
    StillOpen(StillOpen),
    Interrupted(Interrupted),
    Io(std::io::Error),
}

/// The exit code for an error: 1 failed, 2 usage, 3 not attached, 4 no such service or instance, 5 conflict, 130
/// interrupted; a program's own.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().filter_map(Kind::of).find_map(|kind| code_of(&kind)).unwrap_or(1)
}

fn code_of(kind: &Kind<'_>) -> Option<u8> {
    match kind {
        Kind::Told(told) => Some(told.exit_code),
        Kind::Ended(Ended(code)) => Some(*code),
        Kind::Refused(refused) => Some(refused.exit_code()),
        Kind::Usage(_) | Kind::Parse(_) | Kind::Change(ChangeError::Usage(_)) => Some(2),
        Kind::NotAttached(_) => Some(3),
        Kind::Change(ChangeError::NoService(_) | ChangeError::NoInstance(..)) => Some(4),
        Kind::Change(ChangeError::Conflict { .. })
        | Kind::OtherVersion(_)
        | Kind::OtherSchema(_)
        | Kind::Foreign(_)
        | Kind::Conflicts(_)
        | Kind::HasMaster(_) => Some(5),
        Kind::Interrupted(_) => Some(130),
        Kind::Gone(_) | Kind::FallsShort(_) | Kind::StillOpen(_) | Kind::Io(_) => None,
    }
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
    error.chain().filter_map(Kind::of).find_map(|kind| hint_for(&kind))
}

fn hint_for(kind: &Kind<'_>) -> Option<String> {
    let hint = match kind {
        Kind::Told(told) => return told.hint.clone(),
        Kind::Change(ChangeError::NoService(_)) => "`wocut list` shows what is attached",
        Kind::Change(ChangeError::NoInstance(service, _)) => {
            return Some(format!("`wocut status {service}` shows its instances"));
        }
        Kind::Change(ChangeError::Conflict { forceable: true, .. }) => {
            "`--force` puts the new one in its place"
        }
        Kind::OtherVersion(_) | Kind::OtherSchema(_) => "that version's `wocut detach --all` removes it",
        Kind::Gone(_) => "`wocut upgrade` puts it back, and so does any change",
        Kind::Conflicts(_) => "`--force` goes on in spite of them",
        Kind::HasMaster(HasMaster { name, .. }) => {
            return Some(format!(
                "`wocut cluster reload {name}` replaces its workers, `--replace` its master"
            ));
        }
        Kind::FallsShort(_) => "`--allow-degraded` attaches it without",
        Kind::StillOpen(_) => "the same command goes on waiting, with `--kill` it ends them",
        Kind::Interrupted(_) => "the same command goes on from here, `wocut ready` takes it back",
        Kind::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "run it as root; `wocut doctor` says which capabilities are missing"
        }
        Kind::Change(ChangeError::Usage(_) | ChangeError::Conflict { forceable: false, .. })
        | Kind::Ended(_)
        | Kind::Refused(_)
        | Kind::Usage(_)
        | Kind::Parse(_)
        | Kind::NotAttached(_)
        | Kind::Foreign(_)
        | Kind::Io(_) => return None,
    };
    Some(hint.into())
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
