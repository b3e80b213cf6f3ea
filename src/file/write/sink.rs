//! Where a writer's bytes go, and how they become visible: all at once or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::buffer::Buffer;

use crate::error::{Error, Result};
use crate::file::local::OnDisk;
use crate::file::machine::ReadAt;

/// Takes the bytes of a file in order.
pub trait Sink: Send {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// The bytes appended so far, so that the writer can read them back before it publishes them.
    fn appended(&mut self) -> Result<Box<dyn ReadAt + Sync + '_>>;

    /// Hands all bytes on, so that only their name is missing.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes everything durable and visible.
    fn publish(&mut self) -> Result<()>;
}

impl<S: Sink> Sink for &mut S {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        (**self).append(bytes)
    }

    fn appended(&mut self) -> Result<Box<dyn ReadAt + Sync + '_>> {
        (**self).appended()
    }

    fn settle(&mut self) -> Result<()> {
        (**self).settle()
    }

    fn publish(&mut self) -> Result<()> {
        (**self).publish()
    }
}

impl Sink for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn appended(&mut self) -> Result<Box<dyn ReadAt + Sync + '_>> {
        Ok(Box::new(Bytes(self)))
    }

    fn publish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The bytes of a file that is written in memory.
struct Bytes<'a>(&'a [u8]);

impl ReadAt for Bytes<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> Result<Buffer> {
        let bytes = self.0.get(range.start as usize..range.end as usize);
        let bytes = bytes.ok_or_else(|| Error::corrupt("a read past the end of the file"))?;
        Ok(Buffer::from(bytes))
    }
}

/// A file that appears under its name only when it is complete.
///
/// Bytes go to a temporary file in the same directory; publishing syncs it, renames it over the
/// target and syncs the directory. Dropped before that, it leaves the target as it was.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    published: bool,
}

impl AtomicFile {
    /// Starts to write `target`. Fails at once if its directory cannot be written to.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let target = target.into();
        let show = target.display().to_string();
        let Some(name) = target.file_name().and_then(|n| n.to_str()) else {
            return Err(Error::invalid(format!("'{show}' is not a file name")));
        };
        if target.is_dir() {
            return Err(Error::invalid(format!(
                "'{show}' is a directory; name a file inside it"
            )));
        }
        let serial = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary =
            target.with_file_name(format!(".{name}.tmp-{}-{serial}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|e| Error::io(format!("cannot write '{show}'"), e))?;
        Ok(Self {
            target,
            temporary,
            out: BufWriter::with_capacity(1 << 20, file),
            published: false,
        })
    }

    fn try_publish(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        // An existing file keeps its permissions.
        if let Ok(existing) = fs::metadata(&self.target) {
            self.out.get_ref().set_permissions(existing.permissions())?;
        }
        fs::rename(&self.temporary, &self.target)?;
        self.published = true;
        let directory = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()
    }
}

impl Sink for AtomicFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .map_err(|e| Error::io(format!("cannot write '{}'", self.target.display()), e))
    }

    fn appended(&mut self) -> Result<Box<dyn ReadAt + Sync + '_>> {
        let name = self.target.display().to_string();
        self.out
            .flush()
            .and_then(|()| OnDisk::new(self.out.get_ref(), name.clone()))
            .map(|file| Box::new(file) as Box<dyn ReadAt + Sync + '_>)
            .map_err(|e| Error::io(format!("cannot write '{name}'"), e))
    }

    fn settle(&mut self) -> Result<()> {
        let settled = self
            .out
            .flush()
            .and_then(|()| self.out.get_ref().sync_all());
        settled.map_err(|e| Error::io(format!("cannot finish '{}'", self.target.display()), e))
    }

    fn publish(&mut self) -> Result<()> {
        self.try_publish()
            .map_err(|e| Error::io(format!("cannot finish '{}'", self.target.display()), e))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
