//! Tools of the host that only read.

use std::{
    io::{self, ErrorKind},
    process::{Command, Stdio},
};

/// What the first of these tools that is installed prints; nothing if none is.
pub fn read(tools: &[&str], arguments: &[&str]) -> io::Result<Option<String>> {
    for tool in tools {
        let ran = Command::new(tool)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output();
        match ran {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("run `{tool}`: {error}"))),
            Ok(output) if output.status.success() => {
                return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().next().unwrap_or_default().trim().to_owned();
                return Err(io::Error::other(format!("`{tool}` failed with {}: {said}", output.status)));
            }
        }
    }
    Ok(None)
}
