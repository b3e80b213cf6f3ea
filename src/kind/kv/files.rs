//! From cache files to a `.pil` file and back.

use std::path::{Path, PathBuf};

use super::cache::{Cache, Shape};
use super::fit::{FitOptions, fit};
use super::npy::{read_npy, read_npz, write_npz};
use super::profile::KvProfile;
use super::reader::KvFile;
use super::tensors::{ReadCache, read_safetensors, write_safetensors};
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
        let read = read_cache(source)?;
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

/// Reads a cache file by its extension: `.safetensors`, `.npz`, or `k.npy` and what stands beside it.
pub fn read_cache(path: &Path) -> Result<ReadCache> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("npz") => read_npz(path),
        Some("npy") => read_npy(path),
        _ => read_safetensors(path),
    }
}

/// Which prefix of a file is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// By its place, from zero.
    Place(usize),
    /// By the first digits of the digest of one of its runs: the tokens up to that run's end.
    Digest(String),
}

impl std::str::FromStr for Chosen {
    type Err = Error;

    /// Up to four digits are a place, eight or more hexadecimal ones a digest.
    fn from_str(text: &str) -> Result<Self> {
        let hex = text.len() >= 8 && text.chars().all(|c| c.is_ascii_hexdigit());
        match (hex, text.parse::<usize>()) {
            (true, _) => Ok(Self::Digest(text.to_ascii_lowercase())),
            (false, Ok(place)) => Ok(Self::Place(place)),
            _ => Err(Error::invalid(format!(
                "'{text}' names no prefix; give its number (from 0) or at least 8 digits of a digest"
            ))),
        }
    }
}

/// What an export wrote.
#[derive(Debug, Clone, Copy)]
pub struct Exported {
    /// Bytes.
    pub bytes: u64,
    /// Prefixes in the file, of which one was written.
    pub prefixes: usize,
}

/// Writes a prefix of a file as a cache file: an archive if the name ends in `.npz`, else
/// `.safetensors`. A file that keeps its profile outside needs it.
pub fn export(
    src: &Path,
    dst: &Path,
    chosen: &Chosen,
    profile: Option<&KvProfile>,
) -> Result<Exported> {
    let file = match profile {
        Some(profile) => KvFile::open_with_profile(src, profile)?,
        None => KvFile::open(src)?,
    };
    let count = file.sequences().len();
    let rows = match chosen {
        Chosen::Place(place) => {
            let found = file.sequences().get(*place);
            let found = found.map(|s| s.rows.clone());
            found.ok_or_else(|| {
                Error::invalid(format!(
                    "prefix {place} of a file of {count}; they are counted from 0"
                ))
            })?
        }
        Chosen::Digest(digits) => file.prefix_of(digits)?,
    };
    let cache = file.cache(rows)?;
    let bytes = match dst.extension().and_then(|e| e.to_str()) {
        Some("npz") => write_npz(dst, &cache, file.model())?,
        _ => write_safetensors(dst, &cache, file.model())?,
    };
    Ok(Exported {
        bytes,
        prefixes: count,
    })
}

/// Fits a profile to cache files of one model. Options that name no model take the first file's.
pub fn fit_files(sources: &[PathBuf], mut options: FitOptions) -> Result<KvProfile> {
    let mut caches: Vec<Cache> = Vec::with_capacity(sources.len());
    for source in sources {
        let read = read_cache(source)?;
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
        caches.push(read.cache);
    }
    fit(&caches, &options)
}
