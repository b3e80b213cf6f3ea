//! From vectors, in files of their own or as columns of tables, to a `.pil` file.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeListArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::MAX_DIMENSIONS;
use super::columns::{NotFinite, vectors};
use super::single::Asked;
use super::source::VectorSource;
use crate::encoding::Profile;
use crate::error::{Error, Result};
use crate::file::write::{Rounding, glob};
use crate::file::{WriteOptions, Writer};

/// How vectors are imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// How size is weighed against speed, in exact columns.
    pub profile: Profile,
    /// Encodings for columns: a glob over names, and the encoding's words (`lvq8`); exact without.
    pub specs: Vec<(String, String)>,
    /// What happens to vectors with NaN or infinity.
    pub not_finite: NotFinite,
    /// The columns of a table that hold vectors; all that are lists of numbers if none is named.
    pub columns: Vec<String>,
    /// Publishes without reading back what was written ([`WriteOptions::unchecked`]).
    pub unchecked: bool,
}

/// What an import did.
#[derive(Debug, Clone, Copy)]
pub struct ImportSummary {
    /// Vectors.
    pub rows: u64,
    /// Values of each, in the first column of vectors.
    pub dimension: usize,
    /// Bytes of the vectors in memory.
    pub arrow_bytes: u64,
    /// Bytes of the file.
    pub bytes_out: u64,
}

/// Reads `.npy`, `.fvecs` or `.bvecs` files and writes their vectors, in the order of the files, as column
/// `v` of `dst`, which changes only when all went well. All must have one dimension and one type.
///
/// ```no_run
/// use pilaster::kind::embeddings::{ImportOptions, import};
///
/// let options = ImportOptions {
///     specs: vec![("v".to_owned(), "lvq8".to_owned())],
///     ..ImportOptions::default()
/// };
/// let done = import(&["vectors.npy"], "vectors.pil".as_ref(), &options)?;
/// println!("{} vectors in {} bytes", done.rows, done.bytes_out);
/// # Ok::<(), pilaster::Error>(())
/// ```
pub fn import(
    sources: &[impl AsRef<Path>],
    dst: &Path,
    options: &ImportOptions,
) -> Result<ImportSummary> {
    let mut opened = Vec::with_capacity(sources.len());
    for source in sources {
        opened.push(VectorSource::open(source.as_ref())?);
    }
    let Some(first) = opened.first() else {
        return Err(Error::invalid("there is nothing to import; name a file"));
    };
    let given = first.schema();
    for (source, name) in opened.iter().zip(sources) {
        let (found, wanted) = (source.schema(), given.field(0).data_type());
        if found.field(0).data_type() != wanted {
            return Err(Error::invalid(format!(
                "{} holds vectors of type {}, {} of type {wanted}; import them into separate files",
                name.as_ref().display(),
                found.field(0).data_type(),
                sources[0].as_ref().display(),
            )));
        }
    }
    import_batches(&given, &mut opened.into_iter().flatten(), dst, options)
}

/// Writes a table whose vectors are lists of numbers, of variable or of fixed size, to `dst`: those
/// columns become vectors of one dimension each, others stay as they are.
pub fn import_batches(
    given: &SchemaRef,
    batches: &mut dyn Iterator<Item = Result<RecordBatch>>,
    dst: &Path,
    options: &ImportOptions,
) -> Result<ImportSummary> {
    let mut table = Table::new(given, options)?;
    let mut writer: Option<Writer> = None;
    let (mut waiting, mut rows) = (Vec::new(), 0u64);
    for batch in batches {
        let batch = batch?;
        table.look_at(&batch, rows)?;
        rows += batch.num_rows() as u64;
        waiting.push(batch);
        // Until each column had a vector its dimension is not known.
        if table.is_known() {
            for batch in waiting.drain(..) {
                table.write(&mut writer, dst, &batch)?;
            }
        }
    }
    waiting.push(RecordBatch::new_empty(Arc::clone(given)));
    for batch in waiting {
        table.write(&mut writer, dst, &batch)?;
    }
    let mut writer = writer.ok_or_else(|| Error::invalid("nothing was written"))?;
    for column in &table.columns {
        writer.add_rounding(given.field(column.place).name(), column.rounding);
    }
    let done = writer.finish()?;
    Ok(ImportSummary {
        rows: done.rows,
        dimension: table.columns.first().and_then(|c| c.dimension).unwrap_or(0),
        arrow_bytes: done.arrow_bytes,
        bytes_out: done.bytes,
    })
}

/// A column of vectors.
struct VectorColumn {
    place: usize,
    dimension: Option<usize>,
    /// The encoding that was asked for, which may take 32-bit floats only,
    asked: Option<Asked>,
    /// and what these lost.
    rounding: Rounding,
}

/// A table on its way.
struct Table<'a> {
    given: SchemaRef,
    options: &'a ImportOptions,
    columns: Vec<VectorColumn>,
    rows: u64,
}

fn holds_vectors(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            item.data_type().is_numeric()
        }
        _ => false,
    }
}

/// How many values the vectors of a column are said to have.
fn declared(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::FixedSizeList(_, size) => usize::try_from(*size)
            .ok()
            .filter(|size| (1..=MAX_DIMENSIONS).contains(size)),
        _ => None,
    }
}

impl<'a> Table<'a> {
    fn new(given: &SchemaRef, options: &'a ImportOptions) -> Result<Self> {
        let names = || {
            let names: Vec<&str> = given.fields().iter().map(|f| f.name().as_str()).collect();
            names.join(", ")
        };
        let mut places = Vec::new();
        for name in &options.columns {
            let place = given.index_of(name).map_err(|_| {
                Error::invalid(format!("there is no column '{name}', only {}", names()))
            })?;
            places.push(place);
        }
        if options.columns.is_empty() {
            let fields = given.fields().iter().enumerate();
            places.extend(
                fields
                    .filter(|(_, f)| holds_vectors(f.data_type()))
                    .map(|(i, _)| i),
            );
        }
        if places.is_empty() {
            return Err(Error::invalid(format!(
                "no column holds vectors, which are lists of numbers; there are {}",
                names()
            )));
        }
        let asked = |name: &str| -> Result<Option<Asked>> {
            let spec = options
                .specs
                .iter()
                .find(|(pattern, _)| glob(pattern, name));
            spec.map_or(Ok(None), |(_, words)| Asked::of(words))
        };
        let columns = places
            .into_iter()
            .map(|place| {
                Ok(VectorColumn {
                    place,
                    dimension: declared(given.field(place).data_type()),
                    asked: asked(given.field(place).name())?,
                    rounding: Rounding::default(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            given: Arc::clone(given),
            options,
            columns,
            rows: 0,
        })
    }

    fn is_known(&self) -> bool {
        self.columns.iter().all(|c| c.dimension.is_some())
    }

    /// Takes note of dimensions.
    fn look_at(&mut self, batch: &RecordBatch, first_row: u64) -> Result<()> {
        let policy = self.options.not_finite;
        for column in self.columns.iter_mut().filter(|c| c.dimension.is_none()) {
            let array = batch.column(column.place);
            if array.null_count() < array.len() {
                let found = vectors(array, None, first_row, policy)?;
                column.dimension = Some(found.value_length() as usize);
            }
        }
        Ok(())
    }

    fn vectors(&mut self, column: usize, batch: &RecordBatch) -> Result<FixedSizeListArray> {
        let column = &mut self.columns[column];
        let array = batch.column(column.place);
        let name = self.given.field(column.place).name();
        let list = vectors(array, column.dimension, self.rows, self.options.not_finite);
        let list = match (list, &column.asked) {
            (Ok(list), Some(asked)) => asked.vectors(list, self.rows, &mut column.rounding),
            (list, _) => list,
        };
        list.map_err(|e| Error::invalid(format!("column '{name}': {e}")))
    }

    fn write(
        &mut self,
        writer: &mut Option<Writer>,
        dst: &Path,
        batch: &RecordBatch,
    ) -> Result<()> {
        let mut arrays = batch.columns().to_vec();
        for column in 0..self.columns.len() {
            let vectors: ArrayRef = Arc::new(self.vectors(column, batch)?);
            arrays[self.columns[column].place] = vectors;
        }
        self.rows += batch.num_rows() as u64;
        let fields = self.given.fields().iter().zip(&arrays).enumerate();
        let fields: Vec<Field> = fields
            .map(|(place, (field, array))| {
                let vectors = self.columns.iter().any(|c| c.place == place);
                let nulled = vectors && self.options.not_finite == NotFinite::Null;
                let field = field
                    .as_ref()
                    .clone()
                    .with_data_type(array.data_type().clone());
                let nullable = field.is_nullable() || nulled;
                field.with_nullable(nullable)
            })
            .collect();
        let metadata = self.given.metadata().clone();
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let writer = match writer {
            Some(writer) => writer,
            None => {
                let write = WriteOptions {
                    profile: self.options.profile,
                    specs: self.options.specs.clone(),
                    unchecked: self.options.unchecked,
                    ..WriteOptions::default()
                };
                writer.insert(Writer::create(dst, Arc::clone(&schema), write)?)
            }
        };
        writer.write(&RecordBatch::try_new(schema, arrays)?)
    }
}
