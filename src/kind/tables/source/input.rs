//! An input that can be read more than once: a file, or standard input spooled to a temporary file.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A named input of known size, read from its start as often as needed.
#[derive(Debug)]
pub struct Input {
    name: String,
    file: File,
    size: u64,
    extension: String,
    /// Removes a spooled file at the end.
    _spool: Option<Scratch>,
}

impl Input {
    /// Opens a path; `-` reads standard input to its end into a temporary file.
    pub fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == "-" {
            return Self::spool(std::io::stdin().lock());
        }
        let name = path.display().to_string();
        let failed = |e| Error::io(format!("cannot read {name}"), e);
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.is_dir() {
            return Err(Error::invalid(format!(
                "{name} is a directory; name the files in it, as in {name}/*.csv"
            )));
        }
        if !meta.is_file() {
            // A pipe or device can be read only once.
            return Ok(Self {
                name,
                ..Self::spool(file)?
            });
        }
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        Ok(Self {
            extension: extension.to_ascii_lowercase(),
            size: meta.len(),
            name,
            file,
            _spool: None,
        })
    }

    /// Opens a path as [`Self::open`] does; a file that gzip, zstd or xz has packed is unpacked into a
    /// temporary file.
    pub fn open_unpacked(path: &Path) -> Result<Self> {
        let input = Self::open(path)?;
        let head = input.head(6)?;
        let packed = input.rewind()?;
        let failed = |e| Error::io(format!("cannot unpack {}", input.name), e);
        let unpacked = if head.starts_with(&[0x1f, 0x8b]) {
            Self::spool(flate2::read::MultiGzDecoder::new(packed))?
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::spool(zstd::Decoder::new(packed).map_err(failed)?)?
        } else if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Self::spool(liblzma::read::XzDecoder::new_multi_decoder(packed))?
        } else {
            return Ok(input);
        };
        let inner = path.file_stem().map(Path::new).and_then(Path::extension);
        let extension = inner.and_then(|e| e.to_str()).unwrap_or_default();
        Ok(Self {
            extension: extension.to_ascii_lowercase(),
            name: input.name,
            ..unpacked
        })
    }

    fn spool(mut from: impl Read) -> Result<Self> {
        let mut scratch = Scratch::create()?;
        let size = std::io::copy(&mut from, scratch.file())
            .map_err(|e| Error::io("cannot copy the input to a temporary file", e))?;
        let file = scratch.reopen()?;
        Ok(Self {
            name: "standard input".into(),
            file,
            size,
            extension: String::new(),
            _spool: Some(scratch),
        })
    }

    /// What messages call the input.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The extension in lower case, empty where there is none.
    pub fn extension(&self) -> &str {
        &self.extension
    }

    /// A handle at the start of the input. Handles share their position: one at a time.
    pub fn rewind(&self) -> Result<File> {
        let failed = |e| Error::io(format!("cannot read {}", self.name), e);
        let mut file = self.file.try_clone().map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(file)
    }

    /// The first bytes, `limit` at most.
    pub fn head(&self, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.rewind()?
            .take(limit as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::io(format!("cannot read {}", self.name), e))?;
        Ok(bytes)
    }
}

/// A temporary file that goes away with its owner.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    /// A new file in the system's temporary directory (`TMPDIR`).
    pub(crate) fn create() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = std::env::temp_dir();
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("pilaster-{}-{n}.tmp", std::process::id()));
            match OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
            {
                Ok(file) => return Ok(Self { path, file }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => {
                    return Err(Error::io(
                        format!(
                            "cannot make a temporary file in {}; set TMPDIR to a folder with room",
                            folder.display()
                        ),
                        e,
                    ));
                }
            }
        }
    }

    /// The file, for writing.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// A second handle at the start, for reading what was written.
    pub(crate) fn reopen(&mut self) -> Result<File> {
        let failed = |e| Error::io("cannot read a temporary file", e);
        self.file.flush().map_err(failed)?;
        let mut file = self.file.try_clone().map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(file)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a file that is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}
