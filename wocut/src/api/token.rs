//! Tokens of clients that come over TCP. Only their hashes are here: a file that leaks opens nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, bail};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::ConstantTimeEq as _;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// To look.
    Read,
    /// To change as well.
    Write,
}

impl Right {
    /// What it is called in a token file, and in answers.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    hash: [u8; SHA256_OUTPUT_LEN],
    /// What it allows.
    pub(super) right: Right,
    /// Whose it is, for the log.
    pub(super) name: String,
}

/// All tokens.
#[derive(Clone, Debug)]
pub(super) struct Tokens(Vec<Token>);

impl Tokens {
    /// Reads a file with a line for each: `sha256:HEX [read|write] [NAME]`.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("read token file {}", path.display());
        let mode = fs::metadata(path).with_context(context)?.permissions().mode();
        if mode & 0o007 != 0 {
            bail!("read token file {}: it is open to everybody (mode {:03o})", path.display(), mode & 0o777);
        }
        Self::parse(&fs::read_to_string(path).with_context(context)?).with_context(context)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
        let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let tokens: Vec<Token> = said
            .map(|(number, line)| token(number, line).with_context(|| format!("line {number}")))
            .collect::<Result<_, _>>()?;
        if tokens.is_empty() {
            bail!("no token is in it");
        }
        Ok(Self(tokens))
    }

    /// Whose token this is. It takes as long for one that is nobody's, whatever of it is right.
    pub(super) fn find(&self, given: &[u8]) -> Option<&Token> {
        let hash = digest(&SHA256, given);
        // All are looked at, also after one that fits.
        self.0.iter().fold(None, |found, token| {
            let is_same = bool::from(token.hash.as_slice().ct_eq(hash.as_ref()));
            if is_same { Some(token) } else { found }
        })
    }
}

fn token(number: usize, line: &str) -> anyhow::Result<Token> {
    let mut words = line.split_ascii_whitespace();
    let hash = words.next().and_then(|word| word.strip_prefix("sha256:")).and_then(bytes);
    let hash = hash.context("it does not begin with `sha256:` and 64 hexadecimal digits")?;
    let mut words = words.peekable();
    let right = match words.peek() {
        Some(&"write") => Right::Write,
        _ => Right::Read,
    };
    let name = words.find(|word| !["read", "write"].contains(word));
    let name =
        name.map_or_else(|| number.to_string(), |name| name.chars().flat_map(char::escape_default).collect());
    if words.next().is_some() {
        bail!("it has more than a hash, `read` or `write`, and a name");
    }
    Ok(Token { hash, right, name })
}

fn bytes(hex: &str) -> Option<[u8; SHA256_OUTPUT_LEN]> {
    let mut bytes = [0; SHA256_OUTPUT_LEN];
    if hex.len() != 2 * SHA256_OUTPUT_LEN || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{Right, Tokens};

    // sha256sum of `secret`.
    const SECRET: &str = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn token_is_found_by_its_hash() {
        let text = format!("# ours\n{} read prometheus\n{SECRET} write ops\n", SECRET.replace(":2", ":3"));
        let tokens = Tokens::parse(&text).unwrap();
        let found = tokens.find(b"secret").unwrap();
        assert_eq!((found.right, found.name.as_str()), (Right::Write, "ops"));
        for wrong in [&b""[..], b"secre", b"secret\n", b"Secret", SECRET.as_bytes()] {
            assert!(tokens.find(wrong).is_none());
        }
    }

    #[test]
    fn token_without_words_may_only_read() {
        let tokens = Tokens::parse(SECRET).unwrap();
        assert_eq!((tokens.0[0].right, tokens.0[0].name.as_str()), (Right::Read, "1"));
        assert_eq!(Tokens::parse(&format!("{SECRET} read")).unwrap().0[0].right, Right::Read);
    }

    #[test]
    fn line_that_is_no_hash_is_refused_with_its_number() {
        for bad in ["secret", "sha256:", "sha256:12", &format!("{SECRET}0"), &format!("{SECRET} read a b")] {
            let error = Tokens::parse(&format!("\n{bad}")).unwrap_err();
            assert_eq!(error.to_string(), "line 2", "{bad}");
        }
        assert!(Tokens::parse("# nothing\n").is_err());
    }

    #[test]
    fn file_that_everybody_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        fs::write(&path, SECRET).unwrap();
        for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Tokens::read(&path).is_ok(), good, "{mode:o}");
        }
    }
}
