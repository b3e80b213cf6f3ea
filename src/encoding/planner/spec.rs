//! Encoding specs: how a user says which encoding a column gets.
//!
//! ```text
//! spec      = part *( "+" part )
//! part      = name [ "(" argument *( "," argument ) ")" ]
//! ```
//!
//! `dictionary+bitpacked` is a dictionary whose codes are bit-packed, `zstd(19)` is zstd at its
//! level 19, `exact` leaves the choice to the planner. A spec prints back in the same words.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::encoding::{Encoding, Loss, Registry};
use crate::error::{Error, Result};

/// A parsed spec: encodings from the root inwards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    parts: Vec<SpecPart>,
}

/// One encoding of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpecPart {
    /// Name of the encoding, as in [`Encoding::name`].
    pub name: String,
    /// What stood in parentheses.
    pub arguments: Vec<String>,
}

impl Spec {
    /// The parts, outermost first; at least one.
    pub fn parts(&self) -> &[SpecPart] {
        &self.parts
    }

    /// True for `exact`: any exact encoding, chosen by the planner.
    pub fn is_exact(&self) -> bool {
        matches!(self.parts.as_slice(), [part] if part.name == "exact" && part.arguments.is_empty())
    }

    /// What the encodings of this spec may lose: the declaration of the first that is not exact.
    pub fn loss(&self, registry: &Registry) -> Loss {
        let losses = self.parts.iter().filter_map(|part| {
            let (encoding, arguments) = part.resolve(registry)?;
            Some(encoding.loss(&arguments))
        });
        losses
            .into_iter()
            .find(|l| !l.is_exact())
            .unwrap_or_default()
    }

    /// Fails, with the names that there are, if a part names no encoding.
    pub fn check(&self, registry: &Registry) -> Result<()> {
        if self.is_exact() {
            return Ok(());
        }
        for part in &self.parts {
            if registry.named(&part.name).is_none() {
                let known: Vec<&str> = registry.iter().map(|e| e.name()).collect();
                return Err(Error::invalid(format!(
                    "no encoding is called '{}'; there are exact, {}",
                    part.name,
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }
}

impl SpecPart {
    /// The encoding that is meant, with the arguments of the word and those in parentheses.
    pub fn resolve<'a>(
        &self,
        registry: &'a Registry,
    ) -> Option<(&'a Arc<dyn Encoding>, Vec<String>)> {
        let (encoding, mut arguments) = registry.called(&self.name)?;
        arguments.extend(self.arguments.iter().cloned());
        Some((encoding, arguments))
    }
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text
            .split('+')
            .map(|part| part.trim().parse())
            .collect::<Result<_>>()
            .map_err(|e| Error::invalid(format!("encoding spec '{text}': {e}")))?;
        Ok(Self { parts })
    }
}

impl FromStr for SpecPart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, arguments) = match text.split_once('(') {
            None => (text, Vec::new()),
            Some((name, rest)) => {
                let inside = rest
                    .strip_suffix(')')
                    .ok_or_else(|| Error::invalid("a closing parenthesis is missing"))?;
                let arguments: Vec<String> =
                    inside.split(',').map(|a| a.trim().to_owned()).collect();
                let plain = |a: &String| !a.is_empty() && !a.contains(['(', ')']);
                if !arguments.iter().all(plain) {
                    return Err(Error::invalid(format!(
                        "the arguments of '{name}' are not a list like (a,b)"
                    )));
                }
                (name, arguments)
            }
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || !name.chars().all(word) {
            return Err(Error::invalid(format!(
                "'{name}' is not the name of an encoding; write name or name(arguments), joined by +"
            )));
        }
        Ok(Self {
            name: name.to_owned(),
            arguments,
        })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            let plus = if i == 0 { "" } else { "+" };
            write!(f, "{plus}{part}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SpecPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.arguments.is_empty() {
            true => Ok(()),
            false => write!(f, "({})", self.arguments.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_print_back_in_the_same_words() {
        for text in [
            "exact",
            "zstd(19)",
            "dictionary+bitpacked",
            "pca(50%)+lvq8",
            "a(b,c)",
        ] {
            assert_eq!(text.parse::<Spec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_specs_say_what_is_wrong() {
        for text in ["", "+", "a+", "a(", "a()", "a(b", "a b", "a((b))", "a(b)c"] {
            let error = text.parse::<Spec>().unwrap_err().to_string();
            assert!(error.contains("encoding spec"), "{text}: {error}");
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let spec: Spec = "plian".parse().unwrap();
        let error = spec.check(Registry::standard()).unwrap_err().to_string();
        assert!(error.contains("plain"), "{error}");
    }
}
