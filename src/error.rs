//! The one error type of the crate.
//!
//! A message says what is wrong, where (file, column, segment, offset) and, where there is one, the
//! remedy. The place is filled in on the way up: the layer that knows the column adds the column,
//! the layer that knows the file adds the file.

use std::fmt;

/// Result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in a file something is wrong; parts that are not known are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Name or path of the file.
    pub file: Option<String>,
    /// Name of the column.
    pub column: Option<String>,
    /// What part of the file: a segment, the footer, the postscript, a column block.
    pub part: Option<String>,
    /// Byte offset from the start of the file.
    pub offset: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut put = |f: &mut fmt::Formatter<'_>, text: String| {
            let lead = if first { "" } else { ", " };
            first = false;
            write!(f, "{lead}{text}")
        };
        if let Some(file) = &self.file {
            put(f, file.clone())?;
        }
        if let Some(column) = &self.column {
            put(f, format!("column '{column}'"))?;
        }
        if let Some(part) = &self.part {
            put(f, part.clone())?;
        }
        if let Some(offset) = self.offset {
            put(f, format!("offset {offset}"))?;
        }
        if first {
            write!(f, "data")?;
        }
        Ok(())
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system or object store refused a read or a write.
    #[error("{what}: {source}")]
    Io {
        /// The file and what was being done with it.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Stored bytes are damaged, truncated or were never a valid file.
    #[error("{place}: {message}")]
    Corrupt {
        /// Where.
        place: Box<Place>,
        /// What is wrong.
        message: String,
    },
    /// The file is sound but needs something that this version does not have.
    #[error("{place}: {message}")]
    Unsupported {
        /// Where.
        place: Box<Place>,
        /// What is needed.
        message: String,
    },
    /// The caller's data, options or names are not acceptable.
    #[error("{0}")]
    InvalidInput(String),
    /// An Arrow kernel refused.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    /// Damaged bytes; the place is added by the layers above.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Error::Corrupt {
            place: Box::default(),
            message: message.into(),
        }
    }

    /// A feature, encoding or type that this version cannot handle.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Error::Unsupported {
            place: Box::default(),
            message: message.into(),
        }
    }

    /// Input that the caller must change.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::InvalidInput(message.into())
    }

    /// An I/O failure, with the file and the action in words.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io {
            what: what.into(),
            source,
        }
    }

    fn place(self, fill: impl FnOnce(&mut Place)) -> Self {
        match self {
            Error::Corrupt { mut place, message } => {
                fill(&mut place);
                Error::Corrupt { place, message }
            }
            Error::Unsupported { mut place, message } => {
                fill(&mut place);
                Error::Unsupported { place, message }
            }
            // An Arrow kernel that refuses while bytes are being decoded means bad bytes.
            Error::Arrow(source) => {
                let mut place = Box::<Place>::default();
                fill(&mut place);
                Error::Corrupt {
                    place,
                    message: source.to_string(),
                }
            }
            other => other,
        }
    }

    /// Adds the file's name, unless a name is there already.
    pub fn in_file(self, file: &str) -> Self {
        self.place(|p| {
            p.file.get_or_insert_with(|| file.to_owned());
        })
    }

    /// Adds the column's name, unless a name is there already.
    pub fn in_column(self, column: &str) -> Self {
        self.place(|p| {
            p.column.get_or_insert_with(|| column.to_owned());
        })
    }

    /// Adds the part of the file and its offset, unless they are there already.
    pub fn in_part(self, part: &str, offset: u64) -> Self {
        self.place(|p| {
            p.part.get_or_insert_with(|| part.to_owned());
            p.offset.get_or_insert(offset);
        })
    }
}
