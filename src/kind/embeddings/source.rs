//! Files that hold vectors and nothing else.
//!
//! `.npy` holds one two-dimensional array (format versions 1 to 3, C order) of 16-, 32- or 64-bit floats
//! or bytes. In `.fvecs` and `.bvecs` each vector is its dimension, a 32-bit little-endian number, and
//! its values, 32-bit floats or bytes. Bytes become floats: the planner stores integers in a byte again.

use std::fs;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::*;
use arrow::compute;
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use half::f16;

use super::{MAX_DIMENSIONS, VECTOR_COLUMN};
use crate::error::{Error, Result};

/// Bytes of values that a batch aims at.
const BATCH_BYTES: usize = 8 << 20;
/// Longest header of a `.npy` file that is read; numpy writes some hundred bytes.
const NPY_HEADER: usize = 1 << 16;

/// How values are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Half,
    Single,
    Double,
    Byte,
    Signed,
}

impl Number {
    fn width(self) -> usize {
        match self {
            Number::Half => 2,
            Number::Single => 4,
            Number::Double => 8,
            Number::Byte | Number::Signed => 1,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Number::Double => DataType::Float64,
            Number::Half => DataType::Float16,
            _ => DataType::Float32,
        }
    }

    fn array(self, bytes: &[u8], big: bool) -> ArrayRef {
        fn words<const N: usize>(bytes: &[u8], big: bool) -> impl Iterator<Item = [u8; N]> {
            bytes.as_chunks::<N>().0.iter().map(move |word| {
                let mut word = *word;
                if big {
                    word.reverse();
                }
                word
            })
        }
        match self {
            Number::Half => Arc::new(Float16Array::from_iter_values(
                words(bytes, big).map(f16::from_le_bytes),
            )),
            Number::Single => Arc::new(Float32Array::from_iter_values(
                words(bytes, big).map(f32::from_le_bytes),
            )),
            Number::Double => Arc::new(Float64Array::from_iter_values(
                words(bytes, big).map(f64::from_le_bytes),
            )),
            Number::Byte => Arc::new(Float32Array::from_iter_values(
                bytes.iter().map(|b| f32::from(*b)),
            )),
            Number::Signed => Arc::new(Float32Array::from_iter_values(
                bytes.iter().map(|b| f32::from(*b as i8)),
            )),
        }
    }
}

/// All vectors of a file, row by row, as 32-bit floats, and their dimension. An array of one dimension is
/// one vector, as queries are saved.
pub fn read_all(path: &Path) -> Result<(Vec<f32>, usize)> {
    let source = VectorSource::open_file(path, true)?;
    let dimension = source.dimension();
    let mut all = Vec::new();
    for batch in source {
        let batch = batch?;
        let values = batch.column(0).as_fixed_size_list().values();
        let values = compute::cast(values, &DataType::Float32)?;
        all.extend_from_slice(values.as_primitive::<Float32Type>().values());
    }
    Ok((all, dimension))
}

/// A file of vectors, read in batches.
#[derive(Debug)]
pub struct VectorSource {
    path: PathBuf,
    input: BufReader<fs::File>,
    number: Number,
    big: bool,
    dimension: usize,
    /// Whether each vector is preceded by its dimension.
    prefixed: bool,
    /// Rows that the header promises.
    promised: Option<u64>,
    rows: u64,
    schema: SchemaRef,
}

impl VectorSource {
    /// Opens a file; its extension tells the format.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_file(path, false)
    }

    /// `alone`: an array of one dimension is taken as one vector.
    fn open_file(path: &Path, alone: bool) -> Result<Self> {
        let name = path.display().to_string();
        let fail = |e| Error::io(format!("reading {name}"), e);
        let mut input = BufReader::with_capacity(1 << 20, fs::File::open(path).map_err(fail)?);
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let (number, big, dimension, promised) = match extension.to_str() {
            Some("npy") => {
                let header = NpyHeader::read(&mut input, alone).map_err(|e| e.in_file(&name))?;
                (
                    header.number,
                    header.big,
                    header.dimension,
                    Some(header.rows),
                )
            }
            Some(vecs @ ("fvecs" | "bvecs")) => {
                let number = match vecs {
                    "fvecs" => Number::Single,
                    _ => Number::Byte,
                };
                let mut first = fs::File::open(path).map_err(fail)?;
                let mut bytes = [0; 4];
                first.read_exact(&mut bytes).map_err(fail)?;
                (number, false, u32::from_le_bytes(bytes) as usize, None)
            }
            _ => {
                return Err(Error::invalid(format!(
                    "{name} is no file of vectors: .npy, .fvecs and .bvecs are"
                )));
            }
        };
        if dimension == 0 || dimension > MAX_DIMENSIONS {
            return Err(Error::invalid(format!(
                "{name} holds vectors of {dimension} values; 1 to {MAX_DIMENSIONS} can be stored"
            )));
        }
        let item = Arc::new(Field::new("item", number.data_type(), false));
        let column = DataType::FixedSizeList(item, dimension as i32);
        Ok(Self {
            path: path.to_owned(),
            input,
            number,
            big,
            dimension,
            prefixed: promised.is_none(),
            promised,
            rows: 0,
            schema: Arc::new(Schema::new(vec![Field::new(VECTOR_COLUMN, column, false)])),
        })
    }

    /// One column of fixed-size lists.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Values of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Reads the next bytes; false at the end of the file.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => {
                    return Err(Error::invalid(format!(
                        "{} ends in the middle of vector {}",
                        self.path.display(),
                        self.rows
                    )));
                }
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(format!("reading {}", self.path.display()), e)),
            }
        }
        Ok(true)
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let row = self.dimension * self.number.width();
        let most = (BATCH_BYTES / row).max(1) as u64;
        let mut bytes = Vec::new();
        let mut count = 0;
        while count < most && self.promised != Some(self.rows) {
            if self.prefixed {
                let mut prefix = [0; 4];
                if !self.fill(&mut prefix)? {
                    break;
                }
                let dimension = u32::from_le_bytes(prefix) as usize;
                if dimension != self.dimension {
                    return Err(Error::invalid(format!(
                        "vector {} of {} has {dimension} values, the first one {}",
                        self.rows,
                        self.path.display(),
                        self.dimension
                    )));
                }
            }
            let at = bytes.len();
            bytes.resize(at + row, 0);
            if !self.fill(&mut bytes[at..])? {
                return Err(Error::invalid(format!(
                    "{} ends after {} vectors{}",
                    self.path.display(),
                    self.rows,
                    self.promised
                        .map_or(String::new(), |n| format!(", its header promises {n}"))
                )));
            }
            self.rows += 1;
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        let values = self.number.array(&bytes, self.big);
        let item = Arc::new(Field::new("item", self.number.data_type(), false));
        let list = FixedSizeListArray::try_new(item, self.dimension as i32, values, None)?;
        Ok(Some(RecordBatch::try_new(
            self.schema(),
            vec![Arc::new(list)],
        )?))
    }
}

impl Iterator for VectorSource {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// What the header of a `.npy` file says.
struct NpyHeader {
    number: Number,
    big: bool,
    rows: u64,
    dimension: usize,
}

impl NpyHeader {
    /// `alone`: an array of one dimension is one vector.
    fn read(input: &mut impl Read, alone: bool) -> Result<Self> {
        let short = |e| Error::io("reading the header of an .npy file", e);
        let mut start = [0; 8];
        input.read_exact(&mut start).map_err(short)?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(Error::invalid(
                "this is no .npy file: its first bytes are others",
            ));
        }
        let len = match start[6] {
            1 => {
                let mut len = [0; 2];
                input.read_exact(&mut len).map_err(short)?;
                usize::from(u16::from_le_bytes(len))
            }
            2 | 3 => {
                let mut len = [0; 4];
                input.read_exact(&mut len).map_err(short)?;
                u32::from_le_bytes(len) as usize
            }
            version => {
                return Err(Error::unsupported(format!(".npy format version {version}")));
            }
        };
        if len > NPY_HEADER {
            return Err(Error::invalid(format!("an .npy header of {len} bytes")));
        }
        let mut text = vec![0; len];
        input.read_exact(&mut text).map_err(short)?;
        Self::parse(&String::from_utf8_lossy(&text), alone)
    }

    fn parse(text: &str, alone: bool) -> Result<Self> {
        let value = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let quoted = value("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next());
        let descr = quoted.ok_or_else(|| {
            Error::invalid("the array has no plain number type; write one of float32, for example")
        })?;
        let (number, order) = match (descr.get(1..), descr.chars().next()) {
            (Some("f2"), Some(o)) => (Number::Half, o),
            (Some("f4"), Some(o)) => (Number::Single, o),
            (Some("f8"), Some(o)) => (Number::Double, o),
            (Some("u1"), Some(o)) => (Number::Byte, o),
            (Some("i1"), Some(o)) => (Number::Signed, o),
            _ => {
                return Err(Error::invalid(format!(
                    "values of type '{descr}' are no vectors; float16, float32, float64, uint8 and \
                     int8 are"
                )));
            }
        };
        if value("fortran_order").is_some_and(|v| v.starts_with("True")) {
            return Err(Error::invalid(
                "the array lies in Fortran order; save numpy.ascontiguousarray of it",
            ));
        }
        let shape = value("shape")
            .and_then(|rest| rest.strip_prefix('(')?.split(')').next())
            .unwrap_or_default();
        let sides: Option<Vec<u64>> = shape
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| s.parse().ok())
            .collect();
        let (rows, dimension) = match sides.as_deref() {
            Some(&[rows, dimension]) => (rows, dimension),
            Some(&[dimension]) if alone => (1, dimension),
            _ => {
                return Err(Error::invalid(format!(
                    "an array of shape ({shape}) is no list of vectors; two dimensions are needed"
                )));
            }
        };
        Ok(Self {
            number,
            big: order == '>',
            rows,
            dimension: usize::try_from(dimension).unwrap_or(usize::MAX),
        })
    }
}
