//! A file that appears under its name only when it is whole, or standard output.

use std::io::{BufWriter, Stdout, Write};
use std::path::Path;

use super::failed;
use crate::error::Result;
use crate::file::write::{AtomicFile, Sink};

/// Where an export goes.
#[derive(Debug)]
pub struct Target {
    out: Out,
    written: u64,
}

#[derive(Debug)]
enum Out {
    Stdout(BufWriter<Stdout>),
    File(AtomicFile),
}

impl Target {
    /// Standard output for `-`, else a file.
    pub fn create(path: &Path) -> Result<Self> {
        let out = match path.as_os_str() == "-" {
            true => Out::Stdout(BufWriter::with_capacity(64 << 10, std::io::stdout())),
            false => Out::File(AtomicFile::create(path)?),
        };
        Ok(Self { out, written: 0 })
    }

    /// Makes what was written visible and returns its size in bytes.
    pub fn publish(self) -> Result<u64> {
        match self.out {
            Out::Stdout(mut out) => out.flush().map_err(failed)?,
            Out::File(mut file) => file.publish()?,
        }
        Ok(self.written)
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = match &mut self.out {
            Out::Stdout(out) => out.write(bytes)?,
            Out::File(file) => file.write(bytes)?,
        };
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.out {
            Out::Stdout(out) => out.flush(),
            Out::File(file) => file.flush(),
        }
    }
}
