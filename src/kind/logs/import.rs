//! From text to a `.pil` file.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::input::{LineReader, schema};
use super::layout::LogLayout;
use super::restore::SOURCES;
use crate::encoding::Profile;
use crate::error::Result;
use crate::file::write::{AtomicFile, Sink};
use crate::file::{WriteOptions, Writer};

/// How a log is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Size against speed.
    pub profile: Profile,
    /// Threads that encode; 0 takes what the machine has.
    pub threads: usize,
    /// Publishes without reading back what was written ([`WriteOptions::unchecked`]).
    pub unchecked: bool,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Lines.
    pub lines: u64,
    /// Bytes of text.
    pub bytes_in: u64,
    /// Bytes of the file.
    pub bytes_out: u64,
}

/// Reads files (`-` is standard input) one after the other as one log and writes it to `dst`, which
/// changes only when all went well. `progress` is told the bytes of text taken in so far.
pub fn import(
    sources: &[PathBuf],
    dst: &Path,
    options: &ImportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<ImportSummary> {
    let mut opened = sources.iter().map(|path| {
        let name = path.display().to_string();
        let reader: Box<dyn Read> = Box::new(super::source::open(path)?);
        Ok((name, reader))
    });
    import_into(AtomicFile::create(dst)?, &mut opened, options, progress)
}

/// A source's name and its bytes.
pub type NamedReader = (String, Box<dyn Read>);

/// Reads readers one after the other as one log into any sink.
pub fn import_into<S: Sink>(
    sink: S,
    sources: &mut dyn Iterator<Item = Result<NamedReader>>,
    options: &ImportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<ImportSummary> {
    let write = WriteOptions {
        profile: options.profile,
        threads: options.threads,
        unchecked: options.unchecked,
        layout: Some(Box::new(LogLayout::new())),
        ..WriteOptions::default()
    };
    let mut writer = Writer::with_sink(sink, schema(), write)?;
    let mut summary = ImportSummary::default();
    let mut list = String::new();
    for source in sources {
        let (name, reader) = source?;
        let mut lines = LineReader::new(reader, &name);
        let before = summary.lines;
        while let Some(batch) = lines.next_batch()? {
            summary.lines += batch.num_rows() as u64;
            writer.write(&batch)?;
            progress(summary.bytes_in + lines.bytes);
        }
        summary.bytes_in += lines.bytes;
        let name = name.replace(['\n', '\r'], " ");
        list.push_str(&format!("{} {name}\n", summary.lines - before));
    }
    writer.add_metadata(SOURCES, &list);
    summary.bytes_out = writer.finish()?.bytes;
    Ok(summary)
}
