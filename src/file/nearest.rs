//! The rows nearest to a query, exactly.
//!
//! For each chunk: bounds of all distances from as few bytes as possible; the most promising rows are
//! looked at closely, which makes a limit; rows that bounds from all stored bytes do not exclude are
//! decoded. All distances that count are those of decoded vectors.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::{DataType, Float32Type};

use super::File;
use super::machine::{Pool, read_ranges};
use super::read::{ColumnMeta, Fetcher};
use crate::encoding::distance::{Distances, Nearest, Neighbour, Query, Stage};
use crate::encoding::{Models, NoParents, Node, Registry, Rows, Selection};
use crate::error::{Error, Result};

/// Rows that are decoded together at first: few, for the nearest lower the limit most.
const FIRST_STEP: usize = 16;
/// And at most: few, so that the limit of those before counts.
const STEP: usize = 256;
/// A second look at codes pays only for more rows than this.
const FEW: usize = 24;

/// Where rows of a chunk come from.
trait Chunk {
    fn distances(&mut self, query: &Query, stage: Stage, rows: &Selection) -> Result<Distances>;
    fn vectors(&mut self, rows: &Selection) -> Result<ArrayRef>;
}

/// Shows the rows of a chunk that may be among the nearest; `wanted` selects rows out of `rows`.
fn search(
    chunk: &mut dyn Chunk,
    rows: &Range<u64>,
    wanted: &Selection,
    query: &Query,
    best: &mut Nearest,
    k: usize,
) -> Result<()> {
    let len = (rows.end - rows.start) as usize;
    if k == 0 || wanted.count(len) == 0 {
        return Ok(());
    }
    let mut left = candidates(chunk, rows, wanted, query, best, k)?;
    // Nearest first: the limit falls fastest, and the rest need not be looked at.
    left.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut left, mut step) = (left.as_slice(), FIRST_STEP);
    while !left.is_empty() {
        let (part, rest) = left.split_at(step.min(left.len()));
        (left, step) = (rest, STEP.min(2 * step));
        let limit = best.limit();
        let far = |lower: f32| lower > limit;
        let near = part.iter().filter(|(lower, _)| !far(*lower));
        let mut numbers: Vec<u32> = near.map(|(_, row)| *row).collect();
        numbers.sort_unstable();
        decode(chunk, rows, numbers, query, best)?;
    }
    Ok(())
}

/// Rows of a chunk that bounds do not exclude, with lower bounds of their distances. The most promising
/// are not among them if they were decoded and shown.
fn candidates(
    chunk: &mut dyn Chunk,
    rows: &Range<u64>,
    wanted: &Selection,
    query: &Query,
    best: &mut Nearest,
    k: usize,
) -> Result<Vec<(f32, u32)>> {
    let first = chunk.distances(query, Stage::Coarse, wanted)?;
    // Places among the wanted rows become numbers of rows of the chunk.
    let all: Option<Vec<u32>> = match &wanted.rows {
        Rows::All => None,
        _ => {
            let len = (rows.end - rows.start) as usize;
            Some(wanted.iter(len).map(|r| r as u32).collect())
        }
    };
    let numbers_of = |places: &[u32]| -> Vec<u32> {
        match &all {
            None => places.to_vec(),
            Some(all) => places.iter().map(|place| all[*place as usize]).collect(),
        }
    };
    let (mut shown, mut limit) = (Vec::new(), best.limit());
    if first.len() > k {
        let seeds = first.most_promising(k);
        if first.finer {
            let numbers = Selection::indices(numbers_of(&seeds))?;
            let fine = chunk.distances(query, Stage::Fine, &numbers)?;
            limit = limit.min(fine.limit(k));
        } else {
            decode(chunk, rows, numbers_of(&seeds), query, best)?;
            (shown, limit) = (seeds, best.limit());
        }
    }
    let mut places = first.within(limit);
    places.retain(|place| shown.binary_search(place).is_err());
    let numbers = numbers_of(&places);
    if first.finer && places.len() > FEW {
        let selection = Selection::indices(numbers.as_slice())?;
        let fine = chunk.distances(query, Stage::Fine, &selection)?;
        let near = fine.within(limit.min(fine.limit(k)));
        let bound = |i: &u32| (fine.lower[*i as usize], numbers[*i as usize]);
        return Ok(near.iter().map(bound).collect());
    }
    let lowers = places.iter().map(|place| first.lower[*place as usize]);
    Ok(lowers.zip(numbers).collect())
}

/// Decodes rows of a chunk and shows them.
fn decode(
    chunk: &mut dyn Chunk,
    rows: &Range<u64>,
    numbers: Vec<u32>,
    query: &Query,
    best: &mut Nearest,
) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let vectors = chunk.vectors(&Selection::indices(numbers.as_slice())?)?;
    let list = vectors.as_fixed_size_list();
    let size = list.value_length() as usize;
    let values = compute::cast(list.values(), &DataType::Float32)?;
    let values = values.as_primitive::<Float32Type>().values();
    for (i, number) in numbers.iter().enumerate() {
        if list.is_valid(i) {
            let start = list.value_offset(i) as usize;
            let distance = query.distance(&values[start..start + size]);
            best.offer(rows.start + u64::from(*number), distance);
        }
    }
    Ok(())
}

/// Fails unless a query fits a column.
fn check(meta: &ColumnMeta, query: &Query) -> Result<()> {
    let (name, asked) = (meta.field.name(), query.values().len());
    match meta.field.data_type() {
        DataType::FixedSizeList(item, size) if item.data_type().is_numeric() => {
            match *size as usize == asked {
                true => Ok(()),
                false => Err(Error::invalid(format!(
                    "the query has {asked} values, the vectors of column '{name}' have {size}"
                ))),
            }
        }
        other => Err(Error::invalid(format!(
            "column '{name}' of type {other} holds no vectors"
        ))),
    }
}

/// The rows of a chunk that are wanted.
fn wanted(rows: &Range<u64>, mask: Option<&BooleanBuffer>) -> Selection {
    let Some(mask) = mask else {
        return Selection::all();
    };
    let mask = mask.slice(rows.start as usize, (rows.end - rows.start) as usize);
    match mask.count_set_bits() {
        n if n == mask.len() => Selection::all(),
        // Few rows are reached faster by number.
        n if n < mask.len() / 16 => {
            Rows::Indices(mask.set_indices().map(|i| i as u32).collect()).into()
        }
        _ => Selection::mask(mask),
    }
}

impl File {
    fn vector_column(&self, column: usize, query: Option<&Query>) -> Result<Arc<ColumnMeta>> {
        let shown = self.meta().shown();
        let position = *shown
            .get(column)
            .ok_or_else(|| Error::invalid(format!("the file has no column {column}")))?;
        let meta = Arc::clone(self.column(position)?);
        if let Some(query) = query {
            check(&meta, query)?;
        }
        Ok(meta)
    }

    /// The `k` rows nearest to a query, the nearest first, of all rows or of those whose bit is set; all
    /// of them if there are fewer. `column` is the place of a shown column of fixed-size lists of numbers;
    /// those that are no 32-bit floats are rounded to such. Null vectors, and those whose distance is no
    /// number, are never among them.
    pub fn nearest(
        &self,
        column: usize,
        query: &Query,
        k: usize,
        rows: Option<&BooleanBuffer>,
    ) -> Result<Vec<Neighbour>> {
        let meta = self.vector_column(column, Some(query))?;
        if rows.is_some_and(|rows| rows.len() as u64 != self.meta().rows()) {
            return Err(Error::invalid("a choice of rows of another table"));
        }
        let mut best = Nearest::new(k);
        let mut fetcher = Fetcher::new(Arc::clone(self.meta()));
        for chunk in &meta.chunks {
            let mut stored = Stored {
                file: self,
                fetcher: &mut fetcher,
                column: meta.index,
                rows: chunk.rows.clone(),
            };
            let wanted = wanted(&chunk.rows, rows);
            search(&mut stored, &chunk.rows, &wanted, query, &mut best, k)?;
            fetcher.release(chunk.rows.end);
        }
        Ok(best.into_sorted())
    }

    /// Loads a column of vectors, for many searches. What is stored as codes stays as codes.
    pub fn vectors(&self, column: usize) -> Result<VectorColumn> {
        let meta = self.vector_column(column, None)?;
        let mut chunks = Vec::with_capacity(meta.chunks.len());
        for (index, chunk) in meta.chunks.iter().enumerate() {
            let read = meta.plan(index, &Selection::all(), Registry::standard());
            let mut pool = Pool::default();
            for range in &read.ranges {
                pool.put(range.start, self.source().read_at(range.clone())?);
            }
            let locate = |e| self.meta().locate(e, Some(meta.index));
            let mut loaded = None;
            if meta.parents.is_empty() {
                let models = meta
                    .load_models(index, &read, &pool, self.meta().model_store())
                    .map_err(locate)?;
                let node = meta.filled_chunk(index, &read, &pool).map_err(locate)?;
                let coded = Codes {
                    meta: &meta,
                    index,
                    node: &node,
                    models: &models,
                };
                if coded.has_distances() {
                    loaded = Some(Loaded::Codes(node, models));
                }
            }
            let loaded = match loaded {
                Some(codes) => codes,
                None => {
                    let mut vectors = None;
                    self.columns(&[column], chunk.rows.clone(), |_, array| {
                        vectors = Some(array);
                        Ok(())
                    })?;
                    Loaded::Vectors(vectors.ok_or_else(|| Error::invalid("no rows came"))?)
                }
            };
            chunks.push(loaded);
        }
        Ok(VectorColumn { meta, chunks })
    }
}

/// A chunk in a file.
struct Stored<'a> {
    file: &'a File,
    fetcher: &'a mut Fetcher,
    column: usize,
    rows: Range<u64>,
}

impl Stored<'_> {
    fn deliver(&mut self, ranges: Vec<Range<u64>>) -> Result<()> {
        read_ranges(self.file.source(), ranges, |at, bytes| {
            self.fetcher.deliver(at, bytes);
        })
    }
}

impl Chunk for Stored<'_> {
    fn distances(&mut self, query: &Query, stage: Stage, rows: &Selection) -> Result<Distances> {
        let fetcher = &*self.fetcher;
        let ranges = fetcher.plan_distances(self.column, &self.rows, rows, stage)?;
        self.deliver(ranges)?;
        self.fetcher
            .distances(self.column, &self.rows, rows, query, stage)
    }

    fn vectors(&mut self, rows: &Selection) -> Result<ArrayRef> {
        let ranges = self.fetcher.plan(&[self.column], &self.rows, rows)?;
        self.deliver(ranges)?;
        self.fetcher.read(self.column, &self.rows, rows)
    }
}

/// A column of vectors in memory, as [`File::vectors`] loads it.
#[derive(Debug)]
pub struct VectorColumn {
    meta: Arc<ColumnMeta>,
    chunks: Vec<Loaded>,
}

#[derive(Debug)]
enum Loaded {
    /// As stored, verified.
    Codes(Node, Models),
    /// Decoded, since distances on what is stored would be no faster.
    Vectors(ArrayRef),
}

impl VectorColumn {
    /// See [`File::nearest`].
    pub fn nearest(
        &self,
        query: &Query,
        k: usize,
        rows: Option<&BooleanBuffer>,
    ) -> Result<Vec<Neighbour>> {
        check(&self.meta, query)?;
        let total = self.meta.chunks.last().map_or(0, |c| c.rows.end);
        if rows.is_some_and(|rows| rows.len() as u64 != total) {
            return Err(Error::invalid("a choice of rows of another table"));
        }
        let mut best = Nearest::new(k);
        for (index, (chunk, loaded)) in self.meta.chunks.iter().zip(&self.chunks).enumerate() {
            let wanted = wanted(&chunk.rows, rows);
            let mut coded;
            let mut vectors;
            let source: &mut dyn Chunk = match loaded {
                Loaded::Codes(node, models) => {
                    coded = Codes {
                        meta: &self.meta,
                        index,
                        node,
                        models,
                    };
                    &mut coded
                }
                Loaded::Vectors(array) => {
                    vectors = Vectors(array);
                    &mut vectors
                }
            };
            search(source, &chunk.rows, &wanted, query, &mut best, k)?;
        }
        Ok(best.into_sorted())
    }
}

/// A chunk of codes in memory.
struct Codes<'a> {
    meta: &'a ColumnMeta,
    index: usize,
    node: &'a Node,
    models: &'a Models,
}

impl Codes<'_> {
    /// Whether the encoding finds distances without decoding.
    fn has_distances(&self) -> bool {
        let DataType::FixedSizeList(_, size) = self.meta.field.data_type() else {
            return false;
        };
        let query = Query::new(Default::default(), vec![0.0; (*size).max(1) as usize]);
        let Ok(query) = query else { return false };
        let none = Selection::range(0..0);
        let data_type = self.meta.field.data_type();
        let found =
            self.meta
                .with_context(self.index, self.node, self.models, &NoParents, |context| {
                    context.code_distances(self.node, data_type, &query, Stage::Coarse, &none)
                });
        found.is_ok_and(|f| f.is_some())
    }
}

impl Chunk for Codes<'_> {
    fn distances(&mut self, query: &Query, stage: Stage, rows: &Selection) -> Result<Distances> {
        let data_type = self.meta.field.data_type();
        self.meta
            .with_context(self.index, self.node, self.models, &NoParents, |context| {
                context.distances(self.node, data_type, query, stage, rows)
            })
    }

    fn vectors(&mut self, rows: &Selection) -> Result<ArrayRef> {
        let data_type = self.meta.field.data_type();
        self.meta
            .with_context(self.index, self.node, self.models, &NoParents, |context| {
                context.decode(self.node, data_type, rows)
            })
    }
}

/// A chunk of decoded vectors.
struct Vectors<'a>(&'a ArrayRef);

impl Chunk for Vectors<'_> {
    fn distances(&mut self, query: &Query, _: Stage, rows: &Selection) -> Result<Distances> {
        let array = rows.take(self.0)?;
        Distances::of_decoded(array.as_fixed_size_list(), query)
    }

    fn vectors(&mut self, rows: &Selection) -> Result<ArrayRef> {
        rows.take(self.0)
    }
}
