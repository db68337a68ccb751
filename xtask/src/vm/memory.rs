//! A file that is in memory alone, and so goes with this process, however that ends.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::fs::{MemfdFlags, memfd_create};

/// A file in memory.
pub(crate) struct Memory(File);

impl Memory {
    /// An empty file.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let file = memfd_create(name, MemfdFlags::CLOEXEC).context("make a file in memory")?;
        Ok(Self(file.into()))
    }

    /// A file with this in it.
    pub(crate) fn holding(name: &str, content: &[u8]) -> Result<Self> {
        let memory = Self::new(name)?;
        memory.file().write_all(content).context("write a file in memory")?;
        Ok(memory)
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Where other programs find it while this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// All that is in it.
    pub(crate) fn read(&self) -> Result<String> {
        let mut text = String::new();
        let mut file = self.file();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).context("read a file in memory")?;
        Ok(text)
    }
}
