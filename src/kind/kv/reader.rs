//! Reading prefixes: which are there, how much of a prompt is, and the layers of some rows.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::buffer::Buffer;
use arrow::datatypes::UInt32Type;

use super::cache::{Cache, Shape, Side};
use super::digest::{CHUNK_TOKENS, Digest, PrefixKey};
use super::profile::KvProfile;
use super::table::{self, DIGEST, Header, PARENT, POSITION, TOKEN};
use crate::error::{Error, Result};
use crate::file::{ColumnScan, File, ScanRequest, drive};

/// A run of tokens that is stored: the rows of one digest.
#[derive(Debug, Clone)]
struct Run {
    parent: Digest,
    rows: Range<u64>,
    /// Position of the first row.
    start: u32,
}

/// A stored sequence: consecutive rows whose positions count up from the first one's, and whose runs
/// follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Its rows in the file.
    pub rows: Range<u64>,
    /// Position of the first row; zero unless the rows continue another sequence.
    pub start: u32,
}

/// How much of a prompt is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hit {
    /// Tokens from the prompt's start that are stored.
    pub tokens: usize,
    /// Their rows, in order.
    pub rows: Vec<Range<u64>>,
}

/// An open file of prefixes. Its index of digests is held in memory.
pub struct KvFile {
    file: File,
    header: Header,
    runs: HashMap<Digest, Vec<Run>>,
    /// Lengths of short runs, by the run that they follow.
    tails: HashMap<Digest, Vec<usize>>,
    sequences: Vec<Sequence>,
}

impl KvFile {
    /// Opens a file on disk.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(File::open(path)?)
    }

    /// Opens a file on disk that keeps its profile outside: `klt(PROFILE,STEP,outside)`.
    pub fn open_with_profile(path: impl AsRef<Path>, profile: &KvProfile) -> Result<Self> {
        Self::new(File::open_with_models(path, profile.models())?)
    }

    /// Opens a file in memory.
    pub fn from_bytes(name: &str, bytes: impl Into<Buffer>) -> Result<Self> {
        Self::new(File::from_bytes(name, bytes)?)
    }

    /// Reads the keys of an open file; fails if it holds something else.
    pub fn new(file: File) -> Result<Self> {
        let header = Header::parse(file.meta().schema()?.as_ref())?;
        let mut open = Self {
            file,
            header,
            runs: HashMap::new(),
            tails: HashMap::new(),
            sequences: Vec::new(),
        };
        open.index()?;
        Ok(open)
    }

    fn index(&mut self) -> Result<()> {
        let request = ScanRequest::columns([DIGEST, PARENT, POSITION]);
        let mut row = 0u64;
        let mut open: Option<(Digest, Run)> = None;
        let mut last = None;
        let mut found = Vec::new();
        for batch in self.file.scan(request)? {
            let batch = batch?;
            let digests = batch.column(0).as_fixed_size_binary();
            let parents = batch.column(1).as_fixed_size_binary();
            let positions = batch.column(2).as_primitive::<UInt32Type>();
            for i in 0..batch.num_rows() {
                let (digest, parent) = (digest(digests.value(i)), digest(parents.value(i)));
                let position = positions.value(i);
                // Rows may come from anywhere: SQL cuts, reorders and joins files. They belong to one
                // sequence within a run, and from a whole run to one that names it as its parent.
                let follows = open.as_ref().is_some_and(|(name, run)| {
                    let next = last == Some(position.wrapping_sub(1)) && position > 0;
                    next && match position as usize % CHUNK_TOKENS {
                        0 => parent == *name,
                        _ => digest == *name && parent == run.parent,
                    }
                });
                if !follows {
                    self.sequences.push(Sequence {
                        rows: row..row,
                        start: position,
                    });
                }
                if let Some(sequence) = self.sequences.last_mut() {
                    sequence.rows.end = row + 1;
                }
                match &mut open {
                    Some((name, run))
                        if follows
                            && *name == digest
                            && !(position as usize).is_multiple_of(CHUNK_TOKENS) =>
                    {
                        run.rows.end = row + 1;
                    }
                    _ => {
                        let run = Run {
                            parent,
                            rows: row..row + 1,
                            start: position,
                        };
                        found.extend(open.replace((digest, run)));
                    }
                }
                last = Some(position);
                row += 1;
            }
        }
        found.extend(open);
        for (digest, run) in found {
            let length = (run.rows.end - run.rows.start) as usize;
            if length < CHUNK_TOKENS {
                let lengths = self.tails.entry(run.parent).or_default();
                if !lengths.contains(&length) {
                    lengths.push(length);
                }
            }
            self.runs.entry(digest).or_default().push(run);
        }
        Ok(())
    }

    /// The file as a table.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The dimensions of all its prefixes.
    pub fn shape(&self) -> &Shape {
        &self.header.shape
    }

    /// The model that the prefixes are of.
    pub fn model(&self) -> &str {
        &self.header.model
    }

    /// All stored sequences, in the order of their rows.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// The copies of a run of so many tokens at a position that are there as a whole: of a run that
    /// was cut, some rows answer to its name.
    fn whole(
        &self,
        name: &Digest,
        start: usize,
        length: usize,
    ) -> impl Iterator<Item = &Run> + Clone {
        let copies = self.runs.get(name).map_or(&[][..], Vec::as_slice);
        let is_whole = move |run: &&Run| {
            run.start as usize == start && run.rows.end - run.rows.start == length as u64
        };
        copies.iter().filter(is_whole)
    }

    /// Finds the longest stored prefix of a prompt, for the tenant of this salt.
    pub fn lookup(&self, prompt: &[u32], salt: &[u8]) -> Hit {
        let key = PrefixKey::new(&self.header.model, salt);
        let mut names = Vec::new();
        let mut parent = Digest::ROOT;
        let mut tokens = 0;
        for run in prompt.chunks_exact(CHUNK_TOKENS) {
            let name = key.run(parent, run);
            if self.whole(&name, tokens, CHUNK_TOKENS).next().is_none() {
                break;
            }
            names.push((name, tokens, CHUNK_TOKENS));
            parent = name;
            tokens += CHUNK_TOKENS;
        }
        let rest = &prompt[tokens..];
        let tails = self.tails.get(&parent).into_iter().flatten();
        let tail = tails
            .filter_map(|&length| Some((key.run(parent, rest.get(..length)?), length)))
            .filter(|(name, length)| self.whole(name, tokens, *length).next().is_some())
            .max_by_key(|(_, length)| *length);
        if let Some((name, length)) = tail {
            names.push((name, tokens, length));
            tokens += length;
        }
        Hit {
            tokens,
            rows: self.rows_of(&names),
        }
    }

    /// The rows of runs, from the last to the first: of several copies of one, that which lies before
    /// the run that follows.
    fn rows_of(&self, names: &[(Digest, usize, usize)]) -> Vec<Range<u64>> {
        let mut rows: Vec<Range<u64>> = Vec::new();
        for (name, start, length) in names.iter().rev() {
            let mut copies = self.whole(name, *start, *length);
            let next = rows.last().map(|r| r.start);
            let before = copies.clone().find(|c| Some(c.rows.end) == next);
            match (before, rows.last_mut()) {
                (Some(copy), Some(last)) => last.start = copy.rows.start,
                _ => rows.extend(copies.next().map(|c| c.rows.clone())),
            }
        }
        rows.reverse();
        rows
    }

    /// The rows from the start of a sequence to the end of the run whose digest starts with these
    /// hexadecimal digits; fails unless there is just one such digest.
    pub fn prefix_of(&self, digits: &str) -> Result<Range<u64>> {
        let matches = |digest: &&Digest| digest.to_string().starts_with(digits);
        let mut found = self.runs.keys().filter(matches);
        let (Some(digest), None) = (found.next(), found.next()) else {
            return Err(Error::invalid(format!(
                "no digest of the file, or more than one, starts with {digits}"
            )));
        };
        // The copy that most of the sequence comes before: others may be parts of it.
        let copies = self.runs.get(digest).into_iter().flatten();
        let rows = copies.filter_map(|run| {
            let holds =
                |s: &&Sequence| s.rows.start <= run.rows.start && run.rows.end <= s.rows.end;
            let sequence = self.sequences.iter().find(holds)?;
            Some(sequence.rows.start..run.rows.end)
        });
        let longest = rows.rev().max_by_key(|rows| rows.end - rows.start);
        longest.ok_or_else(|| Error::corrupt("a run outside of all sequences"))
    }

    /// Hands over some heads of some rows, layer after layer, keys before values, each as soon as its
    /// bytes are there: `[rows, heads, head_dim]`, little-endian. Gives the bytes that were read.
    pub fn layers(
        &self,
        rows: Range<u64>,
        layers: Range<usize>,
        heads: Range<usize>,
        mut visit: impl FnMut(usize, Side, &[u8]) -> Result<()>,
    ) -> Result<u64> {
        let shape = self.shape();
        if layers.end > shape.layers || heads.end > shape.heads || heads.start >= heads.end {
            return Err(Error::invalid(format!(
                "layers {layers:?} and heads {heads:?} of a cache of {} layers and {} heads",
                shape.layers, shape.heads
            )));
        }
        let wanted: Vec<(usize, Side)> = layers
            .flat_map(|layer| Side::BOTH.map(|side| (layer, side)))
            .collect();
        let columns: Vec<usize> = wanted.iter().map(|&(l, s)| table::column(l, s)).collect();
        let mut scan = ColumnScan::new(Arc::clone(self.file.meta()), &columns, rows)?;
        if heads.len() < shape.heads {
            scan = scan.with_elements(heads.start * shape.head_dim..heads.end * shape.head_dim);
        }
        while let Some((i, array)) = drive(&mut scan, self.file.source())? {
            let (layer, side) = wanted[i];
            visit(layer, side, &table::list_bytes(&array)?)?;
        }
        Ok(scan.bytes_read())
    }

    /// Fills buffers of the caller's, one for each layer and side in the order of
    /// [`KvFile::layers`], each of `rows * heads * head_dim` values. Gives the bytes that were read.
    pub fn layers_into(
        &self,
        rows: Range<u64>,
        layers: Range<usize>,
        heads: Range<usize>,
        buffers: &mut [&mut [u8]],
    ) -> Result<u64> {
        let first = layers.start;
        self.layers(rows, layers, heads, |layer, side, bytes| {
            let i = 2 * (layer - first) + usize::from(side == Side::V);
            match buffers.get_mut(i) {
                Some(buffer) if buffer.len() == bytes.len() => {
                    buffer.copy_from_slice(bytes);
                    Ok(())
                }
                _ => Err(Error::invalid(format!(
                    "buffer {i} must hold {} bytes",
                    bytes.len()
                ))),
            }
        })
    }

    /// The token ids of some rows.
    pub fn tokens(&self, rows: Range<u64>) -> Result<Vec<u32>> {
        let request = ScanRequest {
            rows: vec![rows],
            ..ScanRequest::columns([TOKEN])
        };
        let mut tokens = Vec::new();
        for batch in self.file.scan(request)? {
            let batch = batch?;
            tokens.extend_from_slice(batch.column(0).as_primitive::<UInt32Type>().values());
        }
        Ok(tokens)
    }

    /// The position of the first of some rows, and the name of the tokens before it; fails if they
    /// are not rows of one sequence from the start of a run on.
    fn place(&self, rows: &Range<u64>) -> Result<(u32, Digest)> {
        if rows.is_empty() {
            return Ok((0, Digest::ROOT));
        }
        let holds = |s: &&Sequence| s.rows.start <= rows.start && rows.end <= s.rows.end;
        let sequence =
            self.sequences.iter().find(holds).ok_or_else(|| {
                Error::invalid(format!("rows {rows:?} are not rows of one sequence"))
            })?;
        let start = sequence.start + (rows.start - sequence.rows.start) as u32;
        let run = self
            .runs
            .values()
            .flatten()
            .find(|run| run.rows.start == rows.start);
        match run.filter(|_| (start as usize).is_multiple_of(CHUNK_TOKENS)) {
            Some(run) if (start == 0) == (run.parent == Digest::ROOT) => Ok((start, run.parent)),
            _ => Err(Error::invalid(format!(
                "rows {rows:?} start at position {start}, within a run of {CHUNK_TOKENS} tokens; a part \
                 of a sequence must start at a multiple of {CHUNK_TOKENS}, or nothing says what comes \
                 before it"
            ))),
        }
    }

    /// Rows of a sequence from the start of a run on, as tensors.
    pub fn cache(&self, rows: Range<u64>) -> Result<Cache> {
        let (start, parent) = self.place(&rows)?;
        let mut cache = Cache::zeroed(*self.shape(), self.tokens(rows.clone())?)?
            .continuing(start, parent)?
            .with_token_type(self.header.token_type);
        let (layers, heads) = (self.shape().layers, self.shape().heads);
        self.layers(rows, 0..layers, 0..heads, |layer, side, bytes| {
            cache.put(layer, side, 0, bytes)
        })?;
        Ok(cache)
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(std::array::from_fn(|i| bytes.get(i).copied().unwrap_or(0)))
}
