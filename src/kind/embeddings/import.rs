//! From a file of vectors to a `.pil` file.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;

use super::columns::{NotFinite, vectors};
use super::source::VectorSource;
use crate::encoding::Profile;
use crate::error::Result;
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
}

/// What an import did.
#[derive(Debug, Clone, Copy)]
pub struct ImportSummary {
    /// Vectors.
    pub rows: u64,
    /// Values of each.
    pub dimension: usize,
    /// Bytes of the vectors in memory.
    pub arrow_bytes: u64,
    /// Bytes of the file.
    pub bytes_out: u64,
}

/// Reads a `.npy`, `.fvecs` or `.bvecs` file and writes its vectors as column `v` of `dst`, which
/// changes only when all went well.
///
/// ```no_run
/// use pilaster::kind::embeddings::{ImportOptions, import};
///
/// let options = ImportOptions {
///     specs: vec![("v".to_owned(), "lvq8".to_owned())],
///     ..ImportOptions::default()
/// };
/// let done = import("vectors.npy".as_ref(), "vectors.pil".as_ref(), &options)?;
/// println!("{} vectors in {} bytes", done.rows, done.bytes_out);
/// # Ok::<(), pilaster::Error>(())
/// ```
pub fn import(source: &Path, dst: &Path, options: &ImportOptions) -> Result<ImportSummary> {
    let source = VectorSource::open(source)?;
    let dimension = source.dimension();
    let given = source.schema();
    let field = given.field(0);
    let nullable = options.not_finite == NotFinite::Null;
    let schema = Arc::new(Schema::new(vec![Field::new(
        field.name(),
        field.data_type().clone(),
        nullable,
    )]));
    let write = WriteOptions {
        profile: options.profile,
        specs: options.specs.clone(),
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(dst, Arc::clone(&schema), write)?;
    let mut rows = 0;
    for batch in source {
        let column = vectors(batch?.column(0), Some(dimension), rows, options.not_finite)?;
        rows += column.len() as u64;
        let column: ArrayRef = Arc::new(column);
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![column])?)?;
    }
    let done = writer.finish()?;
    Ok(ImportSummary {
        rows: done.rows,
        dimension,
        arrow_bytes: done.arrow_bytes,
        bytes_out: done.bytes,
    })
}
