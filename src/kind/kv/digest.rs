//! Names of prefixes: chained digests of runs of 256 tokens.
//!
//! ```text
//! h(0)   = 32 zero bytes
//! h(i+1) = SHA-256( tag | field(model) | field(salt) | h(i) | count, 4 bytes | tokens, 4 bytes each )
//! field  = length, 8 bytes | bytes
//! ```
//!
//! All integers are little-endian. Model and tenant salt are inside every digest, with their lengths,
//! so that no pair of them can be taken for another; so a wrong or missing salt finds nothing. All
//! 256 bits are kept and compared.

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// Tokens of a run that has a digest of its own; a prefix's last run may be shorter.
pub const CHUNK_TOKENS: usize = 256;

/// First bytes of everything that is hashed here: other uses of SHA-256 cannot collide with it.
const TAG: &[u8] = b"pilaster.kv.prefix.v1";
const SALT_TAG: &[u8] = b"pilaster.kv.salt.v1";

/// Name of a run of tokens and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The parent of a first run.
    pub const ROOT: Self = Self([0; 32]);
}

impl std::str::FromStr for Digest {
    type Err = Error;

    /// 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self> {
        let digit = |i: usize| {
            text.get(i..i + 2)
                .filter(|d| d.chars().all(|c| c.is_ascii_hexdigit()))
        };
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            let digits = digit(2 * i).filter(|_| text.len() == 64);
            *byte = digits
                .and_then(|d| u8::from_str_radix(d, 16).ok())
                .ok_or_else(|| {
                    Error::invalid(format!("'{text}' is no digest of 64 hexadecimal digits"))
                })?;
        }
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What names are made of beside the tokens: the model, and the tenant's salt.
#[derive(Debug, Clone)]
pub struct PrefixKey {
    start: Sha256,
}

impl PrefixKey {
    /// Names for a model (id and revision, tokenizer, adapter: whatever decides the values) and a
    /// tenant; an empty salt is that of no tenant.
    pub fn new(model: &str, salt: &[u8]) -> Self {
        let mut start = Sha256::new();
        start.update(TAG);
        for field in [model.as_bytes(), salt] {
            start.update((field.len() as u64).to_le_bytes());
            start.update(field);
        }
        Self { start }
    }

    /// The name of a run that follows `parent`.
    pub fn run(&self, parent: Digest, tokens: &[u32]) -> Digest {
        let mut hash = self.start.clone();
        hash.update(parent.0);
        hash.update((tokens.len() as u32).to_le_bytes());
        for token in tokens {
            hash.update(token.to_le_bytes());
        }
        Digest(hash.finalize().into())
    }

    /// The names of all runs of a sequence, the last of which may be short.
    pub fn chain(&self, tokens: &[u32]) -> Vec<Digest> {
        self.chain_after(Digest::ROOT, tokens)
    }

    /// The names of all runs that follow `parent`.
    pub fn chain_after(&self, mut parent: Digest, tokens: &[u32]) -> Vec<Digest> {
        let runs = tokens.chunks(CHUNK_TOKENS);
        runs.map(|run| {
            parent = self.run(parent, run);
            parent
        })
        .collect()
    }
}

/// A short name of a salt, for counting what a tenant stores: 8 bytes of its digest, zero for none.
/// It cannot be used to look prefixes up.
pub fn salt_id(salt: &[u8]) -> u64 {
    if salt.is_empty() {
        return 0;
    }
    let mut hash = Sha256::new();
    hash.update(SALT_TAG);
    hash.update(salt);
    let digest: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_depend_on_everything_that_decides_the_values() {
        let tokens: Vec<u32> = (0..300).collect();
        let base = PrefixKey::new("model", b"salt").chain(&tokens);
        assert_eq!(base.len(), 2);
        for (model, salt) in [
            ("model", &b""[..]),
            ("model", b"sal"),
            ("models", b"alt"),
            ("modelsalt", b""),
            ("", b"modelsalt"),
        ] {
            assert_ne!(PrefixKey::new(model, salt).chain(&tokens)[0], base[0]);
        }
        let mut other = tokens.clone();
        other[0] = 1;
        assert_ne!(PrefixKey::new("model", b"salt").chain(&other)[1], base[1]);
        assert_eq!(
            PrefixKey::new("model", b"salt").chain(&tokens[..256])[0],
            base[0]
        );
    }

    #[test]
    fn no_salt_has_the_id_zero() {
        assert_eq!(salt_id(b""), 0);
        assert_ne!(salt_id(b"a"), salt_id(b"b"));
    }
}
