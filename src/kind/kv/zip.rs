//! As much of ZIP as `.npz` archives take: members stored or deflated, sizes of 64 bits.

use std::io::Read;

use crate::error::{Error, Result};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const END64_PLACE: u32 = 0x0706_4b50;
/// Times that a member may grow when it is unpacked.
const MAX_EXPANSION: u64 = 1032;

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes) as u32
}

/// Reads numbers out of an archive.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn number(&self, at: u64, width: usize) -> Result<u64> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = at.checked_add(width).and_then(|end| self.0.get(at..end));
        let bytes = bytes.ok_or_else(|| Error::invalid("a ZIP archive that ends early"))?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn slice(&self, at: u64, length: u64) -> Result<&[u8]> {
        let end = at.checked_add(length);
        let range = end.and_then(|end| Some(usize::try_from(at).ok()?..usize::try_from(end).ok()?));
        range
            .and_then(|r| self.0.get(r))
            .ok_or_else(|| Error::invalid("a ZIP archive that ends early"))
    }
}

/// The members of an archive: names and bytes.
pub fn read(archive: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
    let bytes = Bytes(archive);
    let bad = |what: &str| Error::invalid(format!("a ZIP archive {what}"));
    // The end record is 22 bytes and a comment of up to 64 KiB.
    let earliest = archive.len().saturating_sub(22 + (1 << 16));
    let end = (earliest..=archive.len().saturating_sub(22))
        .rev()
        .find(|&at| archive[at..].starts_with(&END.to_le_bytes()))
        .ok_or_else(|| bad("without its directory: this is no .npz file"))? as u64;
    let (mut count, mut at) = (bytes.number(end + 10, 2)?, bytes.number(end + 16, 4)?);
    if let Some(place) = end.checked_sub(20)
        && bytes.number(place, 4)? == u64::from(END64_PLACE)
    {
        let end64 = bytes.number(place + 8, 8)?;
        if bytes.number(end64, 4)? != u64::from(END64) {
            return Err(bad("with a broken directory"));
        }
        (count, at) = (
            bytes.number(end64.saturating_add(32), 8)?,
            bytes.number(end64.saturating_add(48), 8)?,
        );
    }
    let mut members = Vec::new();
    for _ in 0..count {
        if bytes.number(at, 4)? != u64::from(CENTRAL) {
            return Err(bad("with a broken directory"));
        }
        let method = bytes.number(at + 10, 2)?;
        let sum = bytes.number(at + 16, 4)?;
        let sizes = [
            bytes.number(at + 24, 4)?,
            bytes.number(at + 20, 4)?,
            bytes.number(at + 42, 4)?,
        ];
        let lengths = [28, 30, 32].map(|o| bytes.number(at + o, 2));
        let [name, extra, comment] = lengths;
        let (name, extra, comment) = (name?, extra?, comment?);
        let text = String::from_utf8_lossy(bytes.slice(at + 46, name)?).into_owned();
        let [size, packed, local] = wide(sizes, bytes.slice(at + 46 + name, extra)?);
        if bytes.number(local, 4)? != u64::from(LOCAL) {
            return Err(bad("with a broken member"));
        }
        let skipped = bytes.number(local + 26, 2)? + bytes.number(local + 28, 2)?;
        let stored = bytes.slice(local.saturating_add(30 + skipped), packed)?;
        let content = match method {
            0 => stored.to_vec(),
            8 if size <= packed.saturating_mul(MAX_EXPANSION).saturating_add(1 << 10) => {
                let mut content = Vec::new();
                let unpacked = flate2::read::DeflateDecoder::new(stored).take(size);
                let mut unpacked = unpacked;
                unpacked
                    .read_to_end(&mut content)
                    .map_err(|e| Error::io(format!("unpacking '{text}'"), e))?;
                content
            }
            _ => {
                return Err(bad(&format!(
                    "whose member '{text}' is packed in an unknown way"
                )));
            }
        };
        if content.len() as u64 != size || u64::from(crc(&content)) != sum {
            return Err(bad(&format!("whose member '{text}' is damaged")));
        }
        members.push((text, content));
        at = at.saturating_add(46 + name + extra + comment);
    }
    Ok(members)
}

/// Sizes and place that do not fit 32 bits stand in an extra field, in this order.
fn wide(mut values: [u64; 3], mut extra: &[u8]) -> [u64; 3] {
    while let Some((head, rest)) = extra.split_first_chunk::<4>() {
        let id = u16::from_le_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_le_bytes([head[2], head[3]])).min(rest.len());
        let (mut field, after) = rest.split_at(length);
        if id == 1 {
            for value in values.iter_mut().filter(|v| **v == 0xffff_ffff) {
                if let Some((word, rest)) = field.split_first_chunk::<8>() {
                    *value = u64::from_le_bytes(*word);
                    field = rest;
                }
            }
        }
        extra = after;
    }
    values
}

/// An archive of stored members; fails if it is 4 GiB or larger.
pub fn write(files: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        let size = u32::try_from(content.len());
        let (Ok(size), Ok(place)) = (size, u32::try_from(archive.len())) else {
            return Err(Error::unsupported(
                "an .npz archive of 4 GiB or more; export .safetensors instead",
            ));
        };
        // Version 2.0, no flags, stored, the first of January 1980.
        let mut shared = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        shared.extend_from_slice(&crc(content).to_le_bytes());
        shared.extend_from_slice(&size.to_le_bytes());
        shared.extend_from_slice(&size.to_le_bytes());
        shared.extend_from_slice(&(name.len() as u16).to_le_bytes());
        shared.extend_from_slice(&[0, 0]);
        archive.extend_from_slice(&LOCAL.to_le_bytes());
        archive.extend_from_slice(&shared);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(content);
        directory.extend_from_slice(&CENTRAL.to_le_bytes());
        directory.extend_from_slice(&[20, 0]);
        directory.extend_from_slice(&shared);
        // No comment, disk 0, no attributes.
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&place.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (Ok(place), Ok(length)) = (u32::try_from(archive.len()), u32::try_from(directory.len()))
    else {
        return Err(Error::unsupported("an .npz archive of 4 GiB or more"));
    };
    let count = (files.len() as u16).to_le_bytes();
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(&END.to_le_bytes());
    archive.extend_from_slice(&[0; 4]);
    archive.extend_from_slice(&count);
    archive.extend_from_slice(&count);
    archive.extend_from_slice(&length.to_le_bytes());
    archive.extend_from_slice(&place.to_le_bytes());
    archive.extend_from_slice(&[0; 2]);
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_come_back_and_damage_is_noticed() {
        let files = [("a.npy", vec![1, 2, 3]), ("b.npy", vec![9; 1000])];
        let archive = write(&files).unwrap();
        let back = read(&archive).unwrap();
        for ((name, content), (again, bytes)) in files.iter().zip(&back) {
            assert_eq!((*name, content), (again.as_str(), bytes));
        }
        for at in 0..archive.len() {
            // Whatever happens, nothing panics; contents are never silently others.
            let mut damaged = archive.clone();
            damaged[at] ^= 0x41;
            if let Ok(members) = read(&damaged) {
                assert!(
                    members
                        .iter()
                        .all(|(_, b)| files.iter().any(|(_, c)| c == b))
                );
            }
            let _ = read(&archive[..at]);
        }
    }
}
