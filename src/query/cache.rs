//! Opened files: footers in DataFusion's metadata cache, and what the partitions of a scan share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::cache::cache_manager::{
    CachedFileMetadataEntry, FileMetadata, FileMetadataCache,
};
use datafusion::physical_plan::metrics::Count;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::driver::{StoredFile, external};
use crate::file::{FileMeta, Opener, POSTSCRIPT_LEN, Postscript, ZoneLoader, Zones};

/// A footer in DataFusion's cache.
struct CachedFooter(Arc<FileMeta>);

impl FileMetadata for CachedFooter {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn memory_size(&self) -> usize {
        self.0.memory_size()
    }

    fn extra_info(&self) -> datafusion::common::HashMap<String, String> {
        let pair = |key: &str, value: u64| (key.to_owned(), value.to_string());
        [
            pair("rows", self.0.rows()),
            pair("zones", self.0.zone_count()),
        ]
        .into_iter()
        .collect()
    }
}

/// Opens a file, by the cache if that is right about it.
///
/// The cache goes by size and time of change, which an atomic replacement may leave as they were;
/// so the checksum of a cached footer is compared with the one in the file's postscript.
pub(crate) async fn open(
    file: &StoredFile,
    object: &ObjectMeta,
    cache: Option<&Arc<FileMetadataCache>>,
    hits: &Count,
) -> Result<Arc<FileMeta>> {
    if let Some(meta) = cache.and_then(|c| cached(c, object))
        && object.size >= POSTSCRIPT_LEN
    {
        let tail = file
            .range(object.size - POSTSCRIPT_LEN..object.size)
            .await?;
        let sound = tail
            .as_slice()
            .try_into()
            .ok()
            .and_then(|bytes| Postscript::parse(bytes, object.size).ok());
        if sound.is_some_and(|p| p.footer_checksum == meta.checksum()) {
            hits.add(1);
            return Ok(meta);
        }
    }
    let mut opener = Opener::new(object.location.to_string(), object.size);
    let meta = file
        .next(&mut opener)
        .await?
        .ok_or_else(|| exec_datafusion_err!("{}: nothing in the file", object.location))?;
    if let Some(cache) = cache {
        let entry =
            CachedFileMetadataEntry::new(object.clone(), Arc::new(CachedFooter(Arc::clone(&meta))));
        cache.put(&object.location, entry);
    }
    Ok(meta)
}

fn cached(cache: &Arc<FileMetadataCache>, object: &ObjectMeta) -> Option<Arc<FileMeta>> {
    let entry = cache.get(&object.location)?;
    if !entry.is_valid_for(object) {
        return None;
    }
    let footer = entry
        .file_metadata
        .as_any()
        .downcast_ref::<CachedFooter>()?;
    Some(Arc::clone(&footer.0))
}

/// Zone maps of some visible columns of a file.
pub(crate) async fn load_zones(
    file: &StoredFile,
    meta: &Arc<FileMeta>,
    columns: &[usize],
) -> Result<Arc<Zones>> {
    let mut loader = ZoneLoader::new(Arc::clone(meta), columns).map_err(external)?;
    let zones = file
        .next(&mut loader)
        .await?
        .ok_or_else(|| exec_datafusion_err!("{}: no zone maps in the file", meta.name()))?;
    Ok(Arc::new(zones))
}

/// An opened file that the partitions of one scan share.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    pub(crate) meta: Arc<FileMeta>,
    zones: tokio::sync::Mutex<HashMap<Vec<usize>, Arc<Zones>>>,
}

impl OpenedFile {
    /// Zone maps of some visible columns, loaded once.
    pub(crate) async fn zones(&self, file: &StoredFile, columns: &[usize]) -> Result<Arc<Zones>> {
        let mut known = self.zones.lock().await;
        if let Some(zones) = known.get(columns) {
            return Ok(Arc::clone(zones));
        }
        let zones = load_zones(file, &self.meta, columns).await?;
        known.insert(columns.to_vec(), Arc::clone(&zones));
        Ok(zones)
    }
}

/// The files that a scan has open.
///
/// Plans are kept and run again, so files are held by those who read them only.
#[derive(Debug, Default)]
pub(crate) struct OpenedFiles(Mutex<HashMap<Path, Slot>>);

/// Whoever opens a file first holds the lock of its slot.
type Slot = Arc<tokio::sync::Mutex<Weak<OpenedFile>>>;

impl OpenedFiles {
    /// A file, opened unless another partition reads it at the moment.
    pub(crate) async fn open(
        &self,
        file: &StoredFile,
        object: &ObjectMeta,
        cache: Option<&Arc<FileMetadataCache>>,
        hits: &Count,
    ) -> Result<Arc<OpenedFile>> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(object.location.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(opened) = slot.upgrade() {
            hits.add(1);
            return Ok(opened);
        }
        let opened = Arc::new(OpenedFile {
            meta: open(file, object, cache, hits).await?,
            zones: tokio::sync::Mutex::default(),
        });
        *slot = Arc::downgrade(&opened);
        Ok(opened)
    }
}
