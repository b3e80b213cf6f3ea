//! Segments: where they are, their page checksums, and which bytes a ranged read needs.
//!
//! ```text
//! offset                         offset + length
//!   | page 0 | page 1 | ... | rest | crc 0 | crc 1 | ... |
//! ```

use std::ops::Range;

use arrow::buffer::Buffer;

use super::proto;
use crate::error::{Error, Result};

/// Segments start at multiples of this.
pub const SEGMENT_ALIGN: u64 = 64;
/// Pages where single values are fetched.
pub const FINE_PAGE_LOG2: u32 = 12;
/// Pages where some elements of some rows are fetched, such as a head of a KV cache: about as large
/// as what is fetched.
pub const GROUP_PAGE_LOG2: u32 = 10;
/// Pages elsewhere.
pub const COARSE_PAGE_LOG2: u32 = 15;
/// Payloads up to this size are stored in the column block.
pub const INLINE_MAX: usize = 1024;
/// Segments up to this size are read whole, whatever is wanted of them, unless single values are
/// fetched.
const READ_WHOLE: u64 = 64 << 10;

/// Checksum of plain bytes.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Checksum of a page, bound to its place.
fn page_checksum(bytes: &[u8], column: u32, segment: u32, page: u32) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    let mut place = [0; 12];
    place[0..4].copy_from_slice(&column.to_le_bytes());
    place[4..8].copy_from_slice(&segment.to_le_bytes());
    place[8..12].copy_from_slice(&page.to_le_bytes());
    digest.update(&place);
    digest.finalize() as u32
}

/// The checksums that follow a payload.
pub fn checksum_table(payload: &[u8], page_log2: u32, column: u32, segment: u32) -> Vec<u8> {
    payload
        .chunks(1 << page_log2)
        .enumerate()
        .flat_map(|(page, bytes)| page_checksum(bytes, column, segment, page as u32).to_le_bytes())
        .collect()
}

/// A stored segment of a column.
#[derive(Debug, Clone)]
pub struct Segment {
    column: u32,
    number: u32,
    offset: u64,
    length: u64,
    page_log2: u32,
    inline: Option<Buffer>,
}

impl Segment {
    /// Checks a message against the size of the file's segment area.
    pub fn parse(message: &proto::Segment, column: u32, number: u32, area: u64) -> Result<Self> {
        if let Some(bytes) = &message.inline {
            return Ok(Self {
                column,
                number,
                offset: 0,
                length: bytes.len() as u64,
                page_log2: COARSE_PAGE_LOG2,
                inline: Some(Buffer::from_slice_ref(bytes)),
            });
        }
        let bad = |what: &str| {
            Err(Error::corrupt(format!("segment {number} {what}"))
                .in_part(&format!("segment {number}"), message.offset))
        };
        if !(6..=24).contains(&message.page_log2) {
            return bad("has an impossible page size");
        }
        if !message.offset.is_multiple_of(SEGMENT_ALIGN) {
            return bad("does not start at a multiple of 64");
        }
        let segment = Self {
            column,
            number,
            offset: message.offset,
            length: message.length,
            page_log2: message.page_log2,
            inline: None,
        };
        match message.length.checked_add(message.offset) {
            Some(end) if end <= area && segment.table_end().is_some_and(|end| end <= area) => {
                Ok(segment)
            }
            _ => bad("reaches past the end of the file's data"),
        }
    }

    /// Length of the payload.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True if the payload has no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where it starts in the file; inline segments have no place of their own.
    pub fn offset(&self) -> Option<u64> {
        self.inline.is_none().then_some(self.offset)
    }

    /// Its bytes of the file, checksums included; nothing if it is inline.
    pub fn file_range(&self) -> Option<Range<u64>> {
        let start = self.offset()?;
        Some(start..start + self.stored_len())
    }

    /// Bytes in the file, checksums included.
    pub fn stored_len(&self) -> u64 {
        match self.inline {
            Some(_) => self.length,
            None => self.length + self.pages() * 4,
        }
    }

    fn pages(&self) -> u64 {
        self.length.div_ceil(1 << self.page_log2)
    }

    fn table_end(&self) -> Option<u64> {
        (self.offset.checked_add(self.length)?).checked_add(self.pages().checked_mul(4)?)
    }

    /// What to read for the wanted ranges of the payload.
    pub fn plan(&self, wanted: &[Range<u64>]) -> SegmentRead {
        let mut pages: Vec<Range<u64>> = Vec::new();
        let total: u64 = wanted.iter().map(|r| r.end - r.start).sum();
        if self.inline.is_some() || total == 0 {
            return SegmentRead { pages };
        }
        let whole = 0..self.pages();
        let fine = self.page_log2 <= FINE_PAGE_LOG2;
        // One range is one request and need not be more.
        let one = fine && wanted.iter().filter(|r| r.start < r.end).count() == 1;
        let most = if one { self.length } else { self.length / 2 };
        if (self.length <= READ_WHOLE && !fine) || total > most {
            return SegmentRead { pages: vec![whole] };
        }
        let mut sorted: Vec<_> = wanted
            .iter()
            .filter(|r| r.start < r.end)
            .map(|r| (r.start >> self.page_log2)..((r.end - 1) >> self.page_log2) + 1)
            .collect();
        sorted.sort_by_key(|r| r.start);
        for range in sorted {
            match pages.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => pages.push(range),
            }
        }
        SegmentRead { pages }
    }

    fn page_bytes(&self, pages: &Range<u64>) -> Range<u64> {
        (pages.start << self.page_log2)..(pages.end << self.page_log2).min(self.length)
    }

    /// Ranges of the *file* that a planned read needs: pages and their checksums.
    pub fn file_ranges(&self, read: &SegmentRead) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        for pages in &read.pages {
            let bytes = self.page_bytes(pages);
            let table = self.offset + self.length;
            let data = self.offset + bytes.start..self.offset + bytes.end;
            let sums = table + pages.start * 4..table + pages.end * 4;
            match data.end == sums.start {
                true => ranges.push(data.start..sums.end),
                false => ranges.extend([data, sums]),
            }
        }
        ranges
    }

    /// The verified bytes of a planned read, with their offsets in the payload. `fetch` gives the
    /// bytes of a range of the file.
    pub fn verified(
        &self,
        read: &SegmentRead,
        fetch: &dyn Fn(Range<u64>) -> Result<Buffer>,
    ) -> Result<Vec<(u64, Buffer)>> {
        if let Some(bytes) = &self.inline {
            return Ok(vec![(0, bytes.clone())]);
        }
        let mut parts = Vec::with_capacity(read.pages.len());
        for pages in &read.pages {
            let bytes = self.page_bytes(pages);
            let table = self.offset + self.length;
            let data = fetch(self.offset + bytes.start..self.offset + bytes.end)?;
            let sums = fetch(table + pages.start * 4..table + pages.end * 4)?;
            let stored = sums.chunks_exact(4).map(|b| {
                u32::from_le_bytes(std::array::from_fn(|i| {
                    b.get(i).copied().unwrap_or_default()
                }))
            });
            for (i, (page, stored)) in data.chunks(1 << self.page_log2).zip(stored).enumerate() {
                let number = pages.start + i as u64;
                let found = page_checksum(page, self.column, self.number, number as u32);
                if found != stored {
                    return Err(Error::corrupt(format!(
                        "page {number} is damaged: its checksum is {found:08x}, {stored:08x} was \
                         stored; restore the file from a copy"
                    ))
                    .in_part(
                        &format!("segment {}", self.number),
                        self.offset + (number << self.page_log2),
                    ));
                }
            }
            parts.push((bytes.start, data));
        }
        Ok(parts)
    }

    /// Adds the place of this segment to an error.
    pub fn locate(&self, error: Error) -> Error {
        error.in_part(&format!("segment {}", self.number), self.offset)
    }
}

/// Pages of a segment to read.
#[derive(Debug, Clone, Default)]
pub struct SegmentRead {
    pages: Vec<Range<u64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(payload: &[u8]) -> (Segment, Vec<u8>) {
        let mut file = vec![0; 64];
        file.extend_from_slice(payload);
        file.extend(checksum_table(payload, FINE_PAGE_LOG2, 3, 5));
        let message = proto::Segment {
            offset: 64,
            length: payload.len() as u64,
            page_log2: FINE_PAGE_LOG2,
            inline: None,
        };
        let segment = Segment::parse(&message, 3, 5, file.len() as u64).unwrap();
        (segment, file)
    }

    fn read(segment: &Segment, file: &[u8], wanted: &[Range<u64>]) -> Result<Vec<(u64, Buffer)>> {
        segment.verified(&segment.plan(wanted), &|r| {
            Ok(Buffer::from(&file[r.start as usize..r.end as usize]))
        })
    }

    #[test]
    fn a_ranged_read_touches_only_its_pages() {
        let payload: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let (segment, mut file) = stored(&payload);
        file[64 + 100_000] ^= 1;
        let parts = read(&segment, &file, &[5000..5010]).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].0, parts[0].1.len()), (4096, 4096));
    }

    #[test]
    fn a_flipped_bit_is_found_and_located() {
        let payload = vec![7; 100_000];
        let (segment, mut file) = stored(&payload);
        file[64 + 50_000] ^= 1;
        let error = read(&segment, &file, &[0..100_000])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("segment 5") && error.contains("page 12"),
            "{error}"
        );
    }

    #[test]
    fn a_segment_past_the_end_is_refused() {
        let message = proto::Segment {
            offset: 64,
            length: u64::MAX - 10,
            page_log2: 12,
            inline: None,
        };
        assert!(Segment::parse(&message, 0, 0, 1 << 20).is_err());
    }
}
