//! Which encodings there are, by id and by name.

use std::sync::{Arc, OnceLock};

use super::traits::Encoding;
use crate::error::{Error, Result};

/// A set of encodings. The order is the planner's tie-break.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    encodings: Vec<Arc<dyn Encoding>>,
}

impl Registry {
    /// The encodings of this version.
    pub fn standard() -> &'static Registry {
        static STANDARD: OnceLock<Registry> = OnceLock::new();
        STANDARD.get_or_init(|| Registry {
            encodings: super::standard_encodings(),
        })
    }

    /// The same encodings and one more, which wins if the id is taken.
    pub fn with(&self, encoding: Arc<dyn Encoding>) -> Self {
        let mut encodings = self.encodings.clone();
        encodings.retain(|e| e.id() != encoding.id());
        encodings.push(encoding);
        Self { encodings }
    }

    /// The encoding of this id; an error that says what to do if there is none.
    pub fn get(&self, id: &str) -> Result<&Arc<dyn Encoding>> {
        self.encodings.iter().find(|e| e.id() == id).ok_or_else(|| {
            Error::unsupported(format!(
                "encoding '{id}' is not known to this version; a newer pilaster can read it"
            ))
        })
    }

    /// The encoding that a spec calls by this name.
    pub fn named(&self, name: &str) -> Option<&Arc<dyn Encoding>> {
        self.called(name).map(|(encoding, _)| encoding)
    }

    /// The encoding that a spec calls by this word, and the arguments that the word holds.
    pub fn called(&self, word: &str) -> Option<(&Arc<dyn Encoding>, Vec<String>)> {
        let mut found = self.encodings.iter().map(|e| (e, e.called(word)));
        found.find_map(|(e, arguments)| Some((e, arguments?)))
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Encoding>> {
        self.encodings.iter()
    }
}
