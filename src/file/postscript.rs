//! The last 64 bytes: version, feature flags, where the footer is and whether it is compressed.
//!
//! ```text
//!  0      2     4         8                 16           24       32       40      44    48       56    64
//!  | vers | 0   | own crc | must-understand | may-ignore | footer | length | crc   | raw | file   | magic |
//! ```

use std::borrow::Cow;

use super::segment::checksum;
use crate::error::{Error, Result};

/// First bytes of a file.
pub const START_MAGIC: [u8; 8] = *b"PIL\x1a1\r\n\0";
/// Last bytes of a file.
pub const END_MAGIC: [u8; 8] = *b"\0\n\r1\x1aLIP";
/// Length of the postscript.
pub const POSTSCRIPT_LEN: u64 = 64;
/// The version that is written, and the newest that is read.
pub const VERSION: u16 = 1;
/// Most bytes that a byte of a compressed footer may stand for.
const FOOTER_GROWTH: usize = 1024;
/// Must-understand features that this version knows.
const KNOWN_FEATURES: u64 = 0;

/// A postscript that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postscript {
    /// Where the footer starts.
    pub footer_offset: u64,
    /// Its length.
    pub footer_len: u64,
    /// Its checksum.
    pub footer_checksum: u32,
    /// Its length before it was compressed with zstd; zero if it was not.
    pub footer_unpacked: u32,
    /// Length of the file.
    pub file_len: u64,
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes.get(at + i).copied().unwrap_or_default())
}

/// The stored form of a footer, and its length before if it was compressed.
pub fn pack_footer(footer: Vec<u8>) -> (Vec<u8>, u32) {
    let packed = zstd::bulk::compress(&footer, 19)
        .ok()
        .filter(|p| p.len() < footer.len() && footer.len() / FOOTER_GROWTH <= p.len());
    match (packed, u32::try_from(footer.len())) {
        (Some(packed), Ok(unpacked)) => (packed, unpacked),
        _ => (footer, 0),
    }
}

impl Postscript {
    /// The footer's message, from its stored bytes.
    pub fn unpack_footer<'a>(&self, stored: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        let unpacked = self.footer_unpacked as usize;
        if unpacked == 0 {
            return Ok(Cow::Borrowed(stored));
        }
        if unpacked / FOOTER_GROWTH > stored.len() {
            return Err(Error::corrupt("the footer grows out of proportion"));
        }
        match zstd::bulk::decompress(stored, unpacked) {
            Ok(footer) if footer.len() == unpacked => Ok(Cow::Owned(footer)),
            _ => Err(Error::corrupt("the footer cannot be decompressed")),
        }
    }

    /// The stored form.
    pub fn to_bytes(self) -> [u8; POSTSCRIPT_LEN as usize] {
        let mut bytes = [0; POSTSCRIPT_LEN as usize];
        bytes[0..2].copy_from_slice(&VERSION.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.footer_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.footer_len.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.footer_checksum.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.footer_unpacked.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.file_len.to_le_bytes());
        bytes[56..64].copy_from_slice(&END_MAGIC);
        let own = checksum(&bytes);
        bytes[4..8].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// Checks the last 64 bytes of a file of `size` bytes.
    pub fn parse(bytes: &[u8; POSTSCRIPT_LEN as usize], size: u64) -> Result<Self> {
        let at = size.saturating_sub(POSTSCRIPT_LEN);
        let place = |e: Error| e.in_part("postscript", at);
        if bytes[56..64] != END_MAGIC {
            return Err(place(Error::corrupt(
                "not a .pil file, or its end is missing (the end magic is not there)",
            )));
        }
        let version = u16::from_le_bytes(word(bytes, 0));
        if version > VERSION {
            return Err(place(Error::unsupported(format!(
                "format version {version} is newer than {VERSION}, the newest that this program \
                 reads; use a newer pilaster"
            ))));
        }
        let mut zeroed = *bytes;
        zeroed[4..8].fill(0);
        if u32::from_le_bytes(word(bytes, 4)) != checksum(&zeroed) || version == 0 {
            return Err(place(Error::corrupt("the postscript is damaged")));
        }
        let unknown = u64::from_le_bytes(word(bytes, 8)) & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(place(Error::unsupported(format!(
                "the file needs features {unknown:#x} that this program does not have; use a newer \
                 pilaster"
            ))));
        }
        let postscript = Self {
            footer_offset: u64::from_le_bytes(word(bytes, 24)),
            footer_len: u64::from_le_bytes(word(bytes, 32)),
            footer_checksum: u32::from_le_bytes(word(bytes, 40)),
            footer_unpacked: u32::from_le_bytes(word(bytes, 44)),
            file_len: u64::from_le_bytes(word(bytes, 48)),
        };
        if postscript.file_len != size {
            return Err(place(Error::corrupt(format!(
                "the file has {size} bytes, but {} were written",
                postscript.file_len
            ))));
        }
        match postscript.footer_offset.checked_add(postscript.footer_len) {
            Some(end) if end == at && postscript.footer_offset >= START_MAGIC.len() as u64 => {
                Ok(postscript)
            }
            _ => Err(place(Error::corrupt("the footer's place is impossible"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Postscript = Postscript {
        footer_offset: 100,
        footer_len: 36,
        footer_checksum: 7,
        footer_unpacked: 90,
        file_len: 200,
    };

    #[test]
    fn a_postscript_survives() {
        assert_eq!(Postscript::parse(&SOUND.to_bytes(), 200).unwrap(), SOUND);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for bit in 0..512 {
            let mut bytes = SOUND.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Postscript::parse(&bytes, 200).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = SOUND.to_bytes();
        bytes[0] = 2;
        let error = Postscript::parse(&bytes, 200).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
    }
}
