//! The arguments that the programs have in common.

use std::path::{Path, PathBuf};

use crate::Result;

/// What was asked for.
#[derive(Debug, Default)]
pub struct Arguments {
    /// The directory of CSV files.
    pub directory: PathBuf,
    /// Names of the tables to take, as `folder/file`; all if empty.
    pub only: Vec<String>,
    /// A Markdown file with sizes of the same tables that others measured.
    pub reference: Option<PathBuf>,
    /// Measurements of each kind.
    pub rounds: usize,
    /// Most rows in a row group of Parquet; what its writer takes by default if `None`.
    pub row_group: Option<usize>,
    /// Where files are written.
    pub work: PathBuf,
}

impl Arguments {
    /// Parses `DIR [--only A,B] [--reference FILE] [--rounds N] [--row-group ROWS] [--work DIR]`.
    pub fn parse(usage: &str) -> Result<Self> {
        Self::from_words(std::env::args().skip(1), usage)
    }

    /// The same from given words.
    pub fn from_words(mut words: impl Iterator<Item = String>, usage: &str) -> Result<Self> {
        let mut parsed = Self {
            rounds: 5,
            work: std::env::temp_dir().join("pilaster-peers"),
            ..Self::default()
        };
        let mut directory = None;
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                directory = Some(PathBuf::from(word));
                continue;
            }
            let value = words
                .next()
                .ok_or_else(|| format!("{word} needs a value; {usage}"))?;
            match word.as_str() {
                "--only" => parsed.only = value.split(',').map(str::to_owned).collect(),
                "--reference" => parsed.reference = Some(value.into()),
                "--rounds" => parsed.rounds = value.parse()?,
                "--row-group" => parsed.row_group = Some(value.parse()?),
                "--work" => parsed.work = value.into(),
                _ => return Err(format!("{word} is not an option; {usage}").into()),
            }
        }
        parsed.directory = directory.ok_or(usage)?;
        std::fs::create_dir_all(&parsed.work)?;
        Ok(parsed)
    }

    /// A file to write.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.work.join(name)
    }
}
