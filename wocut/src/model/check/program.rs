//! A program that knows whether an instance is up.

use std::{ffi::OsStr, path::Path};

use serde::{Deserialize, Serialize};

use crate::model::ParseError;

/// The full path of a program, and what is given to it: 64 words at most, of 4,096 bytes at most each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Program {
    path: String,
    arguments: Vec<String>,
}

impl Program {
    const WORDS: usize = 64;
    const BYTES: usize = 4096;

    /// What is run.
    pub fn path(&self) -> &Path {
        Path::new(&self.path)
    }

    /// What it is given.
    pub fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        self.arguments.iter().map(AsRef::as_ref)
    }

    /// The path, and then the arguments.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.path).chain(&self.arguments).map(String::as_str)
    }
}

impl TryFrom<Vec<String>> for Program {
    type Error = ParseError;

    fn try_from(mut words: Vec<String>) -> Result<Self, ParseError> {
        let error = |word: &str, why| ParseError::new(word, "a command", why);
        if words.is_empty() || words.len() > Self::WORDS {
            return Err(error(&words.join(" "), "it has 1 to 64 words"));
        }
        if let Some(bad) = words.iter().find(|word| word.len() > Self::BYTES || word.contains('\0')) {
            return Err(error(bad, "a word has 4096 bytes at most, and none that is 0"));
        }
        let path = words.remove(0);
        if !path.starts_with('/') {
            return Err(error(&path, "it begins with the full path of a program, and no shell reads it"));
        }
        Ok(Self { path, arguments: words })
    }
}

impl From<Program> for Vec<String> {
    fn from(program: Program) -> Self {
        std::iter::once(program.path).chain(program.arguments).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Program;

    #[test]
    fn bad_commands_are_refused_with_the_reason() {
        let words = |words: &[&str]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        for (bad, why) in [
            (words(&[]), "1 to 64"),
            (words(&["/a"; 65]), "1 to 64"),
            (words(&["check"]), "full path"),
            (words(&[""]), "full path"),
            (words(&["/a", "b\0c"]), "none that is 0"),
            (words(&["/a", &"x".repeat(4097)]), "4096 bytes"),
        ] {
            assert!(Program::try_from(bad).unwrap_err().to_string().contains(why), "{why}");
        }
        let good = words(&["/usr/bin/test", "", "-e", "a b"]);
        let program = Program::try_from(good.clone()).unwrap();
        assert_eq!(program.words().collect::<Vec<_>>(), good);
    }
}
