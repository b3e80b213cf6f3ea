//! Files on local disk and in memory, read without a runtime.

use std::borrow::Borrow;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::record_batch::RecordBatch;

use super::machine::{Pool, ReadAt, drive};
use super::read::{
    ColumnMeta, ColumnScan, FileMeta, Opener, Scan, ScanMetrics, ScanRequest, ZoneLoader, Zones,
};
use crate::encoding::{ModelStore, Node, Registry, Selection};
use crate::error::{Error, Result};

/// An open file.
#[derive(Clone)]
pub struct File {
    source: Arc<dyn ReadAt + Send + Sync>,
    meta: Arc<FileMeta>,
}

/// A file on disk, as a source; `F` says who owns it.
pub(crate) struct OnDisk<F> {
    file: F,
    name: String,
    size: u64,
}

impl<F: Borrow<fs::File>> OnDisk<F> {
    /// A file as long as it is now; messages call it by this name.
    pub fn new(file: F, name: String) -> io::Result<Self> {
        let size = file.borrow().metadata()?.len();
        Ok(Self { file, name, size })
    }
}

impl<F: Borrow<fs::File>> ReadAt for OnDisk<F> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, range: Range<u64>) -> Result<Buffer> {
        // Arrow's allocation is aligned for every type that lies in the file.
        let mut bytes = MutableBuffer::from_len_zeroed((range.end - range.start) as usize);
        self.file
            .borrow()
            .read_exact_at(&mut bytes, range.start)
            .map_err(|e| Error::io(format!("cannot read '{}'", self.name), e))?;
        Ok(bytes.into())
    }
}

/// A file in memory, as a source.
#[derive(Debug, Clone)]
pub struct Memory(pub Buffer);

impl ReadAt for Memory {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, range: Range<u64>) -> Result<Buffer> {
        match range.end <= self.size() && range.start <= range.end {
            true => Ok(self
                .0
                .slice_with_length(range.start as usize, (range.end - range.start) as usize)),
            false => Err(Error::corrupt("a read past the end of the file")),
        }
    }

    fn gap(&self) -> u64 {
        0
    }
}

impl File {
    /// Opens a file on disk.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Opener::new)
    }

    /// Opens a file on disk some of whose models live outside of it.
    pub fn open_with_models(path: impl AsRef<Path>, models: Arc<dyn ModelStore>) -> Result<Self> {
        Self::open_with(path, |name, size| {
            Opener::new(name, size).with_models(models)
        })
    }

    /// Opens a file on disk with the given opener.
    pub(crate) fn open_with(
        path: impl AsRef<Path>,
        opener: impl FnOnce(String, u64) -> Opener,
    ) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let fail = |e| Error::io(format!("cannot open '{name}'"), e);
        let file = fs::File::open(&path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(Error::invalid(format!("'{name}' is a directory")));
        }
        let source = OnDisk::new(file, name.clone()).map_err(fail)?;
        Self::with_opener(opener(name, source.size()), Arc::new(source))
    }

    /// Opens a file on disk and maps it into memory: nothing is copied before it is decoded.
    ///
    /// # Safety
    ///
    /// Nobody may change or truncate the file while it is open. Files that this crate writes are
    /// replaced as a whole, never changed.
    pub unsafe fn open_mapped(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let fail = |e| Error::io(format!("cannot open '{name}'"), e);
        let file = fs::File::open(&path).map_err(fail)?;
        // SAFETY: the caller vouches that the file does not change.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
        let bytes = Buffer::from(bytes::Bytes::from_owner(map));
        Self::from_bytes(&name, bytes)
    }

    /// Opens a file that is in memory.
    pub fn from_bytes(name: &str, bytes: impl Into<Buffer>) -> Result<Self> {
        Self::from_source(name, Arc::new(Memory(bytes.into())))
    }

    /// Opens a file that something else reads.
    pub fn from_source(name: &str, source: Arc<dyn ReadAt + Send + Sync>) -> Result<Self> {
        let opener = Opener::new(name, source.size());
        Self::with_opener(opener, source)
    }

    /// Opens with an opener of the caller's, which may bring models from outside.
    pub fn with_opener(mut opener: Opener, source: Arc<dyn ReadAt + Send + Sync>) -> Result<Self> {
        let meta = drive(&mut opener, source.as_ref())?
            .ok_or_else(|| Error::invalid("the file could not be opened"))?;
        Ok(Self { source, meta })
    }

    /// Where the bytes come from.
    pub(crate) fn source(&self) -> &dyn ReadAt {
        self.source.as_ref()
    }

    /// What the file says about itself.
    pub fn meta(&self) -> &Arc<FileMeta> {
        &self.meta
    }

    /// Scans the file.
    pub fn scan(&self, request: ScanRequest) -> Result<Batches> {
        Ok(Batches {
            source: Arc::clone(&self.source),
            scan: Scan::new(Arc::clone(&self.meta), request)?,
            failed: false,
        })
    }

    /// All rows and columns.
    pub fn scan_all(&self) -> Result<Batches> {
        self.scan(ScanRequest::columns(
            (0..self.meta.shown().len()).collect::<Vec<_>>(),
        ))
    }

    /// Zone maps of some columns of the schema.
    pub fn zones(&self, columns: &[usize]) -> Result<Zones> {
        let mut loader = ZoneLoader::new(Arc::clone(&self.meta), columns)?;
        drive(&mut loader, self.source.as_ref())?
            .ok_or_else(|| Error::invalid("zone maps could not be loaded"))
    }

    /// A chunk of a column as it is stored, every byte verified, for kinds that read their hidden
    /// columns without decoding them. `column` is a position in the directory; `buffers` may name
    /// buffers of the root that are enough.
    pub fn stored_chunk(
        &self,
        column: usize,
        chunk: usize,
        buffers: &dyn Fn(&Node) -> Option<Vec<usize>>,
    ) -> Result<Node> {
        self.load_columns(&[column])?;
        let meta = Arc::clone(self.meta.column(column)?);
        if chunk >= meta.chunks.len() {
            return Err(Error::invalid(format!(
                "chunk {chunk} of a column of {}",
                meta.chunks.len()
            )));
        }
        let read = match buffers(&meta.chunks[chunk].root) {
            Some(buffers) => meta.plan_buffers(chunk, &buffers),
            None => meta.plan(chunk, &Selection::all(), Registry::standard()),
        };
        let mut pool = Pool::default();
        for range in &read.ranges {
            pool.put(range.start, self.source.read_at(range.clone())?);
        }
        meta.filled_chunk(chunk, &read, &pool)
            .map_err(|e| self.meta.locate(e, Some(column)))
    }

    /// What is known of a column, by its position in the directory.
    pub fn column(&self, column: usize) -> Result<&Arc<ColumnMeta>> {
        self.load_columns(&[column])?;
        self.meta.column(column)
    }

    /// A row range of some columns, handed to `visit` column by column: the position in `columns`
    /// and the rows.
    pub fn columns(
        &self,
        columns: &[usize],
        rows: Range<u64>,
        mut visit: impl FnMut(usize, ArrayRef) -> Result<()>,
    ) -> Result<()> {
        let mut scan = ColumnScan::new(Arc::clone(&self.meta), columns, rows)?;
        while let Some((position, array)) = drive(&mut scan, self.source.as_ref())? {
            visit(position, array)?;
        }
        Ok(())
    }
}

/// The batches of a scan.
pub struct Batches {
    source: Arc<dyn ReadAt + Send + Sync>,
    scan: Scan,
    failed: bool,
}

impl Batches {
    /// What the scan did so far.
    pub fn metrics(&self) -> ScanMetrics {
        self.scan.metrics()
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = drive(&mut self.scan, self.source.as_ref()).transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}
