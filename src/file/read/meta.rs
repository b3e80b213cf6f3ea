//! Opening: postscript, footer, column blocks.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::buffer::Buffer;
use arrow::datatypes::{Fields, Schema, SchemaRef};
use prost::Message;

use super::column::{BlockContext, ColumnMeta};
use crate::encoding::ModelStore;
use crate::error::{Error, Result};
use crate::file::layout::ColumnRole;
use crate::file::machine::{Machine, Pool, Step};
use crate::file::postscript::{POSTSCRIPT_LEN, Postscript, START_MAGIC};
use crate::file::segment::checksum;
use crate::file::{proto, types};

/// What one tail read fetches: postscript, footer and blocks of most files.
const TAIL: u64 = 64 << 10;

/// A column in the directory.
#[derive(Debug, Clone)]
pub struct DirectoryEntry {
    /// Name.
    pub name: String,
    /// What it is to readers.
    pub role: ColumnRole,
    /// Its block in the file; empty if that lies in the footer.
    pub block: Range<u64>,
    checksum: u32,
    inside: Option<Vec<u8>>,
}

/// A file that was opened: its directory, and those column blocks that somebody needed.
#[derive(Debug)]
pub struct FileMeta {
    name: String,
    size: u64,
    rows: u64,
    zone_rows: u64,
    area: u64,
    footer_len: u64,
    checksum: u32,
    encodings: Vec<Arc<str>>,
    directory: Vec<DirectoryEntry>,
    shown: Vec<usize>,
    blocks: Vec<OnceLock<Arc<ColumnMeta>>>,
    schema_metadata: HashMap<String, String>,
    user_metadata: HashMap<String, String>,
    schema: OnceLock<SchemaRef>,
    models: Option<Arc<dyn ModelStore>>,
}

impl FileMeta {
    /// Name or path, as messages show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows in a zone.
    pub fn zone_rows(&self) -> u64 {
        self.zone_rows
    }

    /// Number of zones.
    pub fn zone_count(&self) -> u64 {
        self.rows.div_ceil(self.zone_rows)
    }

    /// Checksum of the footer, which covers those of all blocks: equal files have equal ones.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Bytes of footer and postscript.
    pub fn footer_len(&self) -> u64 {
        self.footer_len + POSTSCRIPT_LEN
    }

    /// Roughly what this value occupies in memory.
    pub fn memory_size(&self) -> usize {
        let blocks: u64 = self
            .directory
            .iter()
            .map(|e| e.block.end - e.block.start + e.inside.as_ref().map_or(0, Vec::len) as u64)
            .sum();
        (self.footer_len + blocks) as usize * 4 + 4096
    }

    /// All columns, hidden ones too.
    pub fn directory(&self) -> &[DirectoryEntry] {
        &self.directory
    }

    /// Positions in the directory of the columns that users see, in schema order.
    pub fn shown(&self) -> &[usize] {
        &self.shown
    }

    /// The encodings that the file uses.
    pub fn encodings(&self) -> &[Arc<str>] {
        &self.encodings
    }

    /// What the writer noted about the file.
    pub fn user_metadata(&self) -> &HashMap<String, String> {
        &self.user_metadata
    }

    /// A column whose block was loaded.
    pub fn column(&self, index: usize) -> Result<&Arc<ColumnMeta>> {
        self.blocks
            .get(index)
            .and_then(OnceLock::get)
            .ok_or_else(|| Error::invalid(format!("column {index} was not loaded")))
    }

    /// The columns whose blocks were loaded.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &Arc<ColumnMeta>> {
        self.blocks.iter().filter_map(OnceLock::get)
    }

    /// The schema that users see. Needs all shown columns' blocks, which [`Opener::new`] loads.
    pub fn schema(&self) -> Result<SchemaRef> {
        if let Some(schema) = self.schema.get() {
            return Ok(Arc::clone(schema));
        }
        let fields = self
            .shown
            .iter()
            .map(|&i| Ok(Arc::clone(&self.column(i)?.field)))
            .collect::<Result<Fields>>()?;
        let schema = Arc::new(Schema::new_with_metadata(
            fields,
            self.schema_metadata.clone(),
        ));
        Ok(Arc::clone(self.schema.get_or_init(|| schema)))
    }

    /// Where models are that live outside the file.
    pub(crate) fn model_store(&self) -> Option<&dyn ModelStore> {
        self.models.as_deref()
    }

    /// Adds the file, and the column if one is given, to an error.
    pub(crate) fn locate(&self, error: Error, column: Option<usize>) -> Error {
        let error = match column.and_then(|c| self.directory.get(c)) {
            Some(entry) => error.in_column(&entry.name),
            None => error,
        };
        error.in_file(&self.name)
    }

    /// Loads the blocks of some columns and of all their ancestors from bytes at hand; answers with
    /// the ranges that are missing.
    pub(crate) fn load(&self, columns: &[usize], pool: &Pool) -> Result<Vec<Range<u64>>> {
        let mut missing = Vec::new();
        let mut todo = columns.to_vec();
        let mut seen = vec![false; self.directory.len()];
        while let Some(index) = todo.pop() {
            let entry = self
                .directory
                .get(index)
                .ok_or_else(|| Error::invalid(format!("column {index} does not exist")))?;
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            if self.blocks[index].get().is_none() {
                let fetched;
                let bytes = match &entry.inside {
                    Some(block) => block.as_slice(),
                    None => {
                        let Some(bytes) = pool.get(&entry.block) else {
                            missing.push(entry.block.clone());
                            continue;
                        };
                        fetched = bytes;
                        fetched.as_slice()
                    }
                };
                let column = self.parse_block(index, entry, bytes).map_err(|e| {
                    self.locate(e.in_part("column block", entry.block.start), Some(index))
                })?;
                let _ = self.blocks[index].set(Arc::new(column));
            }
            todo.extend(&self.column(index)?.parents);
        }
        Ok(pool.missing(missing))
    }

    fn parse_block(
        &self,
        index: usize,
        entry: &DirectoryEntry,
        bytes: &[u8],
    ) -> Result<ColumnMeta> {
        // A block in the footer is covered by the footer's checksum.
        if entry.inside.is_none() && checksum(bytes) != entry.checksum {
            return Err(Error::corrupt(
                "the block is damaged (its checksum differs)",
            ));
        }
        let message = proto::ColumnBlock::decode(bytes)
            .map_err(|e| Error::corrupt(format!("the block cannot be parsed: {e}")))?;
        let column = ColumnMeta::parse(
            &message,
            &BlockContext {
                index,
                role: entry.role,
                rows: self.rows,
                zone_rows: self.zone_rows,
                area: self.area,
                encodings: &self.encodings,
            },
        )?;
        match *column.field.name() == entry.name {
            true => Ok(column),
            false => Err(Error::corrupt("the block belongs to another column")),
        }
    }
}

/// Most zones of a file: a thousand billion rows of the usual zones.
const MAX_ZONES: u64 = 1 << 27;
/// Most rows of a file.
const MAX_FILE_ROWS: u64 = 1 << 40;

/// Opens a file: one tail read, as a rule.
#[derive(Debug)]
pub struct Opener {
    name: String,
    size: u64,
    all_blocks: bool,
    models: Option<Arc<dyn ModelStore>>,
    pool: Pool,
    meta: Option<Arc<FileMeta>>,
    done: bool,
}

impl Opener {
    /// Opens a file of this size and loads the blocks of all shown columns, so that
    /// [`FileMeta::schema`] is there.
    pub fn new(name: impl Into<String>, size: u64) -> Self {
        Self {
            name: name.into(),
            size,
            all_blocks: true,
            models: None,
            pool: Pool::default(),
            meta: None,
            done: false,
        }
    }

    /// Opens a file and loads its directory only. Scans load the blocks that they need: ten columns
    /// of a hundred thousand cost ten blocks.
    pub fn directory_only(name: impl Into<String>, size: u64) -> Self {
        Self {
            all_blocks: false,
            ..Self::new(name, size)
        }
    }

    /// Gives the models that live outside the file.
    pub fn with_models(self, models: Arc<dyn ModelStore>) -> Self {
        Self {
            models: Some(models),
            ..self
        }
    }

    fn advance(&mut self) -> Result<Step<Arc<FileMeta>>> {
        if self.done {
            return Ok(Step::Done);
        }
        if self.size < POSTSCRIPT_LEN + START_MAGIC.len() as u64 {
            return Err(Error::corrupt(format!(
                "not a .pil file: it has only {} bytes",
                self.size
            )));
        }
        let meta = match &self.meta {
            Some(meta) => Arc::clone(meta),
            None => {
                let tail = self.size - POSTSCRIPT_LEN..self.size;
                let Some(bytes) = self.pool.get(&tail) else {
                    return Ok(Step::Need(vec![self.size.saturating_sub(TAIL)..self.size]));
                };
                let mut end = [0; POSTSCRIPT_LEN as usize];
                end.copy_from_slice(&bytes);
                let postscript = Postscript::parse(&end, self.size)?;
                let footer = postscript.footer_offset..tail.start;
                let Some(bytes) = self.pool.get(&footer) else {
                    return Ok(Step::Need(vec![footer]));
                };
                let mut meta = footer_to_meta(&self.name, &postscript, &bytes)
                    .map_err(|e| e.in_part("footer", postscript.footer_offset))?;
                meta.models = self.models.clone();
                Arc::clone(self.meta.insert(Arc::new(meta)))
            }
        };
        let wanted: &[usize] = match self.all_blocks {
            true => &meta.shown,
            false => &[],
        };
        let missing = meta.load(wanted, &self.pool)?;
        if !missing.is_empty() {
            return Ok(Step::Need(missing));
        }
        self.done = true;
        self.pool.clear();
        Ok(Step::Item(meta))
    }
}

impl Machine for Opener {
    type Item = Arc<FileMeta>;

    fn step(&mut self) -> Result<Step<Arc<FileMeta>>> {
        let name = self.name.clone();
        self.advance().map_err(|e| e.in_file(&name))
    }

    fn deliver(&mut self, offset: u64, bytes: Buffer) {
        self.pool.put(offset, bytes);
    }
}

fn footer_to_meta(name: &str, postscript: &Postscript, bytes: &[u8]) -> Result<FileMeta> {
    if checksum(bytes) != postscript.footer_checksum {
        return Err(Error::corrupt(
            "the footer is damaged (its checksum differs)",
        ));
    }
    let footer = proto::Footer::decode(postscript.unpack_footer(bytes)?.as_ref())
        .map_err(|e| Error::corrupt(format!("the footer cannot be parsed: {e}")))?;
    if footer.zone_rows == 0 {
        return Err(Error::corrupt("zones of no rows"));
    }
    // Scans and filters keep something for each zone, and rows cost a file nothing to declare.
    let zones = footer.rows.div_ceil(u64::from(footer.zone_rows));
    let blocks = footer.columns.iter().map(|c| c.length);
    let blocks = blocks.fold(0u64, u64::saturating_add);
    if zones > MAX_ZONES || footer.rows > MAX_FILE_ROWS || blocks > postscript.file_len {
        return Err(Error::corrupt(format!(
            "{} rows in {zones} zones and {blocks} bytes of column blocks are more than a file of \
             {} bytes can have",
            footer.rows, postscript.file_len
        )));
    }
    let directory = footer
        .columns
        .iter()
        .map(|c| {
            let role = match c.role {
                0 => ColumnRole::Visible,
                1 => ColumnRole::Hidden,
                2 => ColumnRole::Derived,
                other => return Err(Error::unsupported(format!("column role {other}"))),
            };
            match c.offset.checked_add(c.length) {
                Some(end) if end <= postscript.footer_offset => Ok(DirectoryEntry {
                    name: c.name.clone(),
                    role,
                    block: c.offset..end,
                    checksum: c.checksum,
                    inside: c.block.clone(),
                }),
                _ => Err(Error::corrupt(format!(
                    "the block of column '{}' lies outside the file",
                    c.name
                ))),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let shown = directory
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.role.is_shown())
        .map(|(i, _)| i)
        .collect();
    Ok(FileMeta {
        name: name.to_owned(),
        size: postscript.file_len,
        rows: footer.rows,
        zone_rows: u64::from(footer.zone_rows),
        area: postscript.footer_offset,
        footer_len: postscript.footer_len,
        checksum: postscript.footer_checksum,
        encodings: footer
            .encodings
            .iter()
            .map(|e| Arc::from(e.as_str()))
            .collect(),
        blocks: directory.iter().map(|_| OnceLock::new()).collect(),
        directory,
        shown,
        schema_metadata: types::metadata(&footer.schema_metadata),
        user_metadata: types::metadata(&footer.user_metadata),
        schema: OnceLock::new(),
        models: None,
    })
}
