//! Caches as NumPy arrays: `.npz` archives of `k`, `v` and `tokens`, or three `.npy` files.
//!
//! NumPy knows no bfloat16 and no 8-bit floats; libraries that add them save bare words of 2 bytes or
//! 1 (`|V2`, `|V1`, `<u2`, `|u1`). Two bare bytes are taken for bfloat16; which 8-bit float one byte is
//! must be said, by a string `dtype` (`f8e4m3`, `f8e5m2`) in the archive. A string `model` names the
//! model; `position` and `parent`, both strings, say where a part of a sequence belongs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::cache::{Cache, Dtype, Shape, Side, TokenType};
use super::tensors::{PARENT, POSITION, ReadCache, place};
use super::zip;
use crate::error::{Error, Result};

/// Kinds of integers that token ids come in.
const TOKEN_TYPES: [(&str, TokenType); 5] = [
    ("u2", TokenType::U16),
    ("i4", TokenType::I32),
    ("u4", TokenType::U32),
    ("i8", TokenType::I64),
    ("u8", TokenType::U64),
];

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// An array: what a value is, dimensions, little-endian bytes in C order.
#[derive(Debug)]
struct Array<'a> {
    /// Kind and width: `f2`, `i4`, `V2`, `U5`, ...
    kind: String,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    fn parse(file: &'a [u8]) -> Result<Self> {
        let bad = |what: &str| Error::invalid(format!("an .npy array {what}"));
        let rest = file
            .strip_prefix(MAGIC)
            .ok_or_else(|| bad("without its first bytes"))?;
        let (version, rest) = rest
            .split_first_chunk::<2>()
            .ok_or_else(|| bad("that ends early"))?;
        let length = |n: usize| {
            let mut word = [0u8; 4];
            word[..n].copy_from_slice(rest.get(..n).ok_or_else(|| bad("that ends early"))?);
            Ok::<_, Error>((u32::from_le_bytes(word) as usize, n))
        };
        let (length, at) = match version[0] {
            1 => length(2)?,
            2 | 3 => length(4)?,
            other => return Err(Error::unsupported(format!(".npy format version {other}"))),
        };
        let header = rest
            .get(at..at + length)
            .and_then(|h| std::str::from_utf8(h).ok())
            .ok_or_else(|| bad("without a header"))?;
        let bytes = &rest[at + length..];
        let after = |key: &str| {
            let (_, rest) = header.split_once(&format!("'{key}':"))?;
            Some(rest.trim_start())
        };
        let descr = after("descr")
            .and_then(|d| d.strip_prefix('\''))
            .and_then(|d| d.split_once('\''))
            .ok_or_else(|| bad("of records, not of plain values"))?
            .0;
        if after("fortran_order").is_some_and(|f| f.starts_with("True")) {
            return Err(bad("in Fortran order; save numpy.ascontiguousarray of it"));
        }
        let dims = after("shape")
            .and_then(|s| s.strip_prefix('('))
            .and_then(|s| s.split_once(')'))
            .ok_or_else(|| bad("without a shape"))?
            .0;
        let dims = dims.split(',').map(str::trim).filter(|d| !d.is_empty());
        let shape = dims
            .map(|d| d.parse::<usize>().map_err(|_| bad("with an odd shape")))
            .collect::<Result<Vec<_>>>()?;
        if descr.starts_with('>') {
            return Err(bad("of big-endian values; save it as little-endian"));
        }
        let kind = descr.trim_start_matches(['<', '|', '=']).to_owned();
        let width = kind.get(1..).and_then(|w| w.parse::<usize>().ok());
        let width = width.map(|w| if kind.starts_with('U') { 4 * w } else { w });
        let size = shape
            .iter()
            .copied()
            .try_fold(width.unwrap_or(0), usize::checked_mul);
        match size == Some(bytes.len()) && width.is_some() {
            true => Ok(Self { kind, shape, bytes }),
            false => Err(bad(&format!(
                "of {shape:?} values '{descr}' in {} bytes",
                bytes.len()
            ))),
        }
    }

    /// A string of no dimensions.
    fn text(&self) -> Option<String> {
        let characters = match self.kind.chars().next()? {
            'S' => self.bytes.iter().map(|&b| u32::from(b)).collect(),
            'U' => {
                let (words, _) = self.bytes.as_chunks::<4>();
                words
                    .iter()
                    .map(|&w| u32::from_le_bytes(w))
                    .collect::<Vec<_>>()
            }
            _ => return None,
        };
        let characters = characters.into_iter().take_while(|&c| c != 0);
        characters.map(char::from_u32).collect()
    }

    fn tokens(&self) -> Result<(TokenType, Vec<u32>)> {
        let found = TOKEN_TYPES.iter().find(|t| t.0 == self.kind);
        let &(_, token_type) =
            found.ok_or_else(|| Error::invalid(format!("'tokens' of type {}", self.kind)))?;
        match self.shape.len() {
            1 => Ok((token_type, token_type.read(self.bytes)?)),
            _ => Err(Error::invalid("'tokens' must have one dimension")),
        }
    }

    /// The type of the values, as it is or as it is told.
    fn dtype(&self, told: Option<Dtype>) -> Result<Dtype> {
        let found = match (self.kind.as_str(), told) {
            ("f2", _) => Dtype::F16,
            ("f4", _) => Dtype::F32,
            ("V2" | "u2", None) => Dtype::BF16,
            ("V2" | "u2" | "V1" | "u1", Some(told)) => told,
            (other, _) => {
                return Err(Error::invalid(format!(
                    "values of type '{other}': f2, f4 and bare bfloat16 are known; for 8-bit floats \
                     add a string 'dtype', 'f8e4m3' or 'f8e5m2'"
                )));
            }
        };
        match self.kind[1..] == found.width().to_string() {
            true => Ok(found),
            false => Err(Error::invalid(format!(
                "values of {} are not '{}'",
                found.name(),
                self.kind
            ))),
        }
    }
}

/// A cache out of arrays by name.
fn cache_of(arrays: &HashMap<String, Vec<u8>>) -> Result<ReadCache> {
    let get = |name: &str| {
        arrays
            .get(name)
            .map(|bytes| Array::parse(bytes))
            .transpose()
    };
    let need = |name: &str| {
        get(name)?.ok_or_else(|| {
            Error::invalid(format!(
                "there is no array '{name}', which a KV cache needs"
            ))
        })
    };
    let (k, v) = (need("k")?, need("v")?);
    let (token_type, tokens) = need("tokens")?.tokens()?;
    if k.shape != v.shape || k.kind != v.kind {
        return Err(Error::invalid(format!(
            "'k' is {} {:?}, but 'v' is {} {:?}",
            k.kind, k.shape, v.kind, v.shape
        )));
    }
    let &[layers, heads, rows, head_dim] = k.shape.as_slice() else {
        return Err(Error::invalid(format!(
            "'k' has {} dimensions; [layers, kv_heads, tokens, head_dim] are four",
            k.shape.len()
        )));
    };
    if tokens.len() != rows {
        return Err(Error::invalid(format!(
            "{} tokens for {rows} rows of 'k'",
            tokens.len()
        )));
    }
    let told = get("dtype")?.and_then(|a| a.text());
    let told = told.map(|name| Dtype::named(&name)).transpose()?;
    let shape = Shape {
        layers,
        heads,
        head_dim,
        dtype: k.dtype(told)?,
    };
    let kept = ["k", "v", "tokens", "dtype", "model", POSITION, PARENT];
    let mut ignored: Vec<String> = arrays.keys().cloned().collect();
    ignored.retain(|name| !kept.contains(&name.as_str()));
    ignored.sort();
    let text = |name: &str| Ok::<_, Error>(get(name)?.and_then(|a| a.text()));
    let (start, parent) = place(text(POSITION)?, text(PARENT)?)?;
    let cache = Cache::new(shape, tokens, k.bytes.to_vec(), v.bytes.to_vec())?;
    Ok(ReadCache {
        cache: cache.continuing(start, parent)?.with_token_type(token_type),
        model: text("model")?,
        ignored,
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io(format!("cannot read '{}'", path.display()), e))
}

/// Reads a cache out of an `.npz` archive.
pub fn read_npz(path: &Path) -> Result<ReadCache> {
    let bytes = read(path)?;
    let read = zip::read(&bytes).and_then(|files| {
        let named = files.into_iter();
        let named = named.filter_map(|(name, b)| Some((name.strip_suffix(".npy")?.to_owned(), b)));
        cache_of(&named.collect())
    });
    read.map_err(|e| Error::invalid(format!("'{}': {e}", path.display())))
}

/// Reads a cache out of three files, of which the first is named: `k.npy` stands beside `v.npy` and
/// `tokens.npy`, `run1-k.npy` beside `run1-v.npy` and `run1-tokens.npy`.
pub fn read_npy(path: &Path) -> Result<ReadCache> {
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let Some(stem) = name.strip_suffix("k.npy") else {
        return Err(Error::invalid(format!(
            "'{}': of a cache in .npy files name the keys, which end in k.npy; values and tokens \
             stand beside them in v.npy and tokens.npy",
            path.display()
        )));
    };
    let mut arrays = HashMap::new();
    for part in ["k", "v", "tokens"] {
        let file = path.with_file_name(format!("{stem}{part}.npy"));
        arrays.insert(part.to_owned(), read(&file)?);
    }
    for part in ["dtype", "model", POSITION, PARENT] {
        let file = path.with_file_name(format!("{stem}{part}.npy"));
        if file.exists() {
            arrays.insert(part.to_owned(), read(&file)?);
        }
    }
    cache_of(&arrays).map_err(|e| Error::invalid(format!("'{}': {e}", path.display())))
}

/// The bytes of an `.npy` file.
fn npy(descr: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        dims.join(", ")
    );
    // Values start at a multiple of 64.
    let length = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    header.push_str(&" ".repeat(length - header.len() - 1));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(values);
    bytes
}

fn text(value: &str) -> Vec<u8> {
    let characters: Vec<u8> = value
        .chars()
        .flat_map(|c| (c as u32).to_le_bytes())
        .collect();
    npy(
        &format!("<U{}", value.chars().count().max(1)),
        &[],
        &match value.is_empty() {
            true => vec![0; 4],
            false => characters,
        },
    )
}

/// Writes a cache as an `.npz` archive that [`read_npz`] takes, under a temporary name first. Gives
/// its bytes.
pub fn write_npz(path: &Path, cache: &Cache, model: &str) -> Result<u64> {
    let shape = cache.shape();
    let rows = cache.tokens().len();
    let dims = [shape.layers, shape.heads, rows, shape.head_dim];
    let descr = match shape.dtype {
        Dtype::F16 => "<f2",
        Dtype::F32 => "<f4",
        Dtype::BF16 => "|V2",
        Dtype::F8E4M3 | Dtype::F8E5M2 => "|V1",
    };
    let (token_type, tokens) = cache.token_bytes();
    let token_type = TOKEN_TYPES.iter().find(|t| t.1 == token_type);
    let token_type = format!("<{}", token_type.map_or("u4", |t| t.0));
    let mut files = vec![
        ("k.npy", npy(descr, &dims, cache.tensor(Side::K))),
        ("v.npy", npy(descr, &dims, cache.tensor(Side::V))),
        ("tokens.npy", npy(&token_type, &[rows], &tokens)),
        ("dtype.npy", text(shape.dtype.name())),
        ("model.npy", text(model)),
    ];
    let (start, parent) = cache.place();
    if start > 0 {
        files.push(("position.npy", text(&start.to_string())));
        files.push(("parent.npy", text(&parent.to_string())));
    }
    let bytes = zip::write(&files)?;
    use crate::file::write::{AtomicFile, Sink};
    let mut file = AtomicFile::create(path)?;
    file.append(&bytes)?;
    file.publish()?;
    Ok(bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_parsed_and_odd_ones_refused() {
        let array = npy("<f2", &[1, 2, 3, 1], &[7; 12]);
        let parsed = Array::parse(&array).unwrap();
        assert_eq!(
            (parsed.kind.as_str(), parsed.shape.as_slice()),
            ("f2", &[1, 2, 3, 1][..])
        );
        assert_eq!(parsed.bytes, [7; 12]);
        assert_eq!(array.len() % 64, 12);
        assert_eq!(Array::parse(&text("bf16")).unwrap().text().unwrap(), "bf16");
        for cut in 0..array.len() {
            assert!(Array::parse(&array[..cut]).is_err());
        }
        let big = npy(">f2", &[1], &[0; 2]);
        assert!(
            Array::parse(&big)
                .unwrap_err()
                .to_string()
                .contains("little-endian")
        );
    }
}
