//! Options of the session (`SET pilaster.x = ..`) and of a write (`OPTIONS (..)`).

use std::collections::HashMap;

use datafusion::common::config::ConfigExtension;
use datafusion::common::{Result, config_err, extensions_options};
use datafusion_session::Session;

use crate::encoding::Profile;
use crate::file::{Layout, WriteOptions};

extensions_options! {
    /// Options of the session, set with `SET pilaster.<name> = <value>`.
    pub struct PilasterOptions {
        /// Adds the column `_row_id` (the row's number in its file) as the last one of tables that
        /// are opened from now on.
        pub row_id: bool, default = false
        /// Skips files and zones whose bounds say that no row passes the filter.
        pub prune: bool, default = true
        /// Bytes that all partitions of one scan may be fetching at a time.
        pub bytes_in_flight: usize, default = 64 * 1024 * 1024
    }
}

impl ConfigExtension for PilasterOptions {
    const PREFIX: &'static str = "pilaster";
}

impl PilasterOptions {
    /// The options of a session, or the defaults if it does not know them.
    pub(crate) fn of(session: &dyn Session) -> Self {
        session
            .config_options()
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_default()
    }
}

/// How tables of a profile become columns, as an extension of a session's configuration. SQL knows
/// no kinds of data, so whoever does brings this; without it each column is stored as given.
#[derive(Debug, Clone, Copy)]
pub struct Layouts(pub fn(Profile) -> Option<Box<dyn Layout>>);

/// How files are written, from the `format.` options of a statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteSettings {
    profile: Profile,
    specs: Vec<(String, String)>,
    unchecked: bool,
}

impl WriteSettings {
    /// Reads the options that a statement gave; DataFusion has put all keys in lower case and
    /// prefixed those without a dot.
    pub(crate) fn parse(options: &HashMap<String, String>) -> Result<Self> {
        let mut settings = Self::default();
        for (key, value) in options {
            match key.strip_prefix("format.") {
                Some("profile") => settings.profile = profile(value)?,
                Some("encoding") => settings.specs = specs(value)?,
                Some("verify") => settings.unchecked = !yes(value)?,
                Some(other) => {
                    return config_err!(
                        "Pilaster files have no option 'format.{other}'; there are \
                         'format.profile', 'format.encoding' and 'format.verify'"
                    );
                }
                // Options of other namespaces belong to DataFusion.
                None => {}
            }
        }
        Ok(settings)
    }

    /// The options of the writer.
    pub(crate) fn write_options(&self, layouts: Option<&Layouts>) -> WriteOptions {
        let layout = layouts.and_then(|layouts| (layouts.0)(self.profile));
        WriteOptions {
            profile: self.profile,
            specs: self.specs.clone(),
            layout,
            unchecked: self.unchecked,
            ..WriteOptions::default()
        }
    }
}

fn yes(word: &str) -> Result<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => config_err!("'{word}' is neither true nor false"),
    }
}

fn profile(word: &str) -> Result<Profile> {
    match word.to_ascii_lowercase().as_str() {
        "fast" => Ok(Profile::Fast),
        "balanced" => Ok(Profile::Balanced),
        "archive" => Ok(Profile::Archive),
        _ => config_err!("'{word}' is no profile; there are fast, balanced and archive"),
    }
}

/// `glob=spec; glob=spec`: globs keep their case here, which they would not in a key.
fn specs(text: &str) -> Result<Vec<(String, String)>> {
    let one = |part: &str| match part.split_once('=') {
        Some((glob, spec)) => Ok((glob.trim().to_owned(), spec.trim().to_owned())),
        None => config_err!("'{part}' is not of the form 'column=encoding'"),
    };
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(one)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<WriteSettings> {
        let options = pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        WriteSettings::parse(&options)
    }

    #[test]
    fn profiles_and_encodings_are_read() {
        let settings = parse(&[
            ("format.profile", "Archive"),
            ("format.encoding", "Id=plain; v*=plain"),
            ("execution.target_partitions", "3"),
        ])
        .unwrap();
        assert_eq!(settings.profile, Profile::Archive);
        assert_eq!(settings.specs[1], ("v*".to_owned(), "plain".to_owned()));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse(&[("format.profile", "tiny")]).is_err());
        assert!(parse(&[("format.compression", "zstd")]).is_err());
        assert!(parse(&[("format.encoding", "plain")]).is_err());
    }
}
