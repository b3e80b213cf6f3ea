//! From cache files to a `.pil` file and back.

use std::path::{Path, PathBuf};

use super::cache::Shape;
use super::reader::KvFile;
use super::tensors::{read_safetensors, write_safetensors};
use super::write::{KvOptions, KvWriter};
use crate::error::{Error, Result};

/// What an import did.
#[derive(Debug, Clone)]
pub struct KvSummary {
    /// Prefixes stored.
    pub prefixes: usize,
    /// Tokens in all.
    pub tokens: u64,
    /// Dimensions of the caches.
    pub shape: Shape,
    /// Bytes of the values as they were.
    pub value_bytes: u64,
    /// Bytes of the file.
    pub bytes_out: u64,
    /// Tensors of the sources that are not kept, by name.
    pub ignored: Vec<String>,
}

/// Stores cache files as prefixes of one file, in order, for the tenant of a salt. All must have the
/// shape of the first; a source that names another model than the options is refused, and if these
/// name none the first source's counts.
pub fn import(
    sources: &[PathBuf],
    dst: &Path,
    mut options: KvOptions,
    salt: &[u8],
) -> Result<KvSummary> {
    let mut summary: Option<KvSummary> = None;
    let mut writer: Option<KvWriter<_>> = None;
    for source in sources {
        let read = read_safetensors(source)?;
        if options.model.is_empty() {
            options.model = read.model.clone().unwrap_or_default();
        }
        if let Some(model) = read.model.filter(|m| *m != options.model) {
            return Err(Error::invalid(format!(
                "'{}' is of model '{model}', not '{}'",
                source.display(),
                options.model
            )));
        }
        let out = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(KvWriter::create(dst, options.clone())?),
        };
        out.add(&read.cache, salt)
            .map_err(|e| Error::invalid(format!("'{}': {e}", source.display())))?;
        let shape = *read.cache.shape();
        let sum = summary.get_or_insert(KvSummary {
            prefixes: 0,
            tokens: 0,
            shape,
            value_bytes: 0,
            bytes_out: 0,
            ignored: Vec::new(),
        });
        let rows = read.cache.tokens().len();
        sum.prefixes += 1;
        sum.tokens += rows as u64;
        sum.value_bytes += 2 * (rows * shape.layers * shape.row_bytes()) as u64;
        sum.ignored.extend(read.ignored);
        sum.ignored.sort();
        sum.ignored.dedup();
    }
    match (writer, summary) {
        (Some(writer), Some(mut summary)) => {
            summary.bytes_out = writer.finish()?.bytes;
            Ok(summary)
        }
        _ => Err(Error::invalid("no cache file was named")),
    }
}

/// Writes the `sequence`-th prefix of a file as a cache file. Gives its bytes.
pub fn export(src: &Path, dst: &Path, sequence: usize) -> Result<u64> {
    let file = KvFile::open(src)?;
    let count = file.sequences().len();
    let found = file
        .sequences()
        .get(sequence)
        .ok_or_else(|| Error::invalid(format!("prefix {sequence} of a file of {count}")))?;
    let cache = file.cache(found.rows.clone())?;
    write_safetensors(dst, &cache, file.model())
}
