//! Lists of distinct values, stored small: the dictionary and the exceptions of a model.
//!
//! Values of a fixed width (numbers as little-endian words, fixed-size binary) and of any width are
//! kept the same way in memory, end to end. In a file they are a prost message whose payload is
//! packed one of these ways, whichever is smallest, and then compressed with zstd if that helps:
//!
//! | packing | payload |
//! |---|---|
//! | `PLAIN` | the bytes; values of any width come after their lengths as varints |
//! | `FRONT` | for each value the bytes it shares with the one before, as varints; the lengths of the rest, as varints; the rest |
//! | `DELTA` | width 2, 4, 8: differences of ascending words, all first bytes, then all second bytes, ... |

use crate::encoding::DecodeContext;
use crate::error::{Error, Result};

/// Most bytes that a payload may grow to, as a multiple of what is stored.
const MAX_GROWTH: u64 = 4096;
/// Growth that is allowed to any payload.
const FREE_GROWTH: u64 = 1 << 16;
/// Most values and bytes of a list, unpacked: twice the rows of a section that lists are made from,
/// and more than its text. Models are read before anything is known of the memory that a chunk grants.
const MAX_VALUES: u64 = 1 << 21;
const MAX_BYTES: u64 = 256 << 20;
/// Decoding reads a model once, so the strongest practical level is worth its time.
const LEVEL: i32 = 19;

const PLAIN: u32 = 0;
const FRONT: u32 = 1;
const DELTA: u32 = 2;

/// The message as stored.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ValuesMessage {
    #[prost(uint64, tag = "1")]
    count: u64,
    /// Sum of the values' lengths.
    #[prost(uint64, tag = "2")]
    bytes: u64,
    /// Width of each value, or zero.
    #[prost(uint32, tag = "3")]
    width: u32,
    #[prost(uint32, tag = "4")]
    packing: u32,
    /// Length of the payload before zstd, or zero if it is not compressed.
    #[prost(uint64, tag = "5")]
    unpacked: u64,
    #[prost(bytes = "vec", tag = "6")]
    payload: Vec<u8>,
}

/// Values end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// Width of each value, or `None` if lengths vary.
    width: Option<usize>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Values {
    /// An empty list of values of one width, or of any.
    pub fn new(width: Option<usize>) -> Self {
        Self {
            width,
            ends: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Adds a value; fails if it has the wrong width or the list would exceed 2 GiB.
    pub fn push(&mut self, value: &[u8]) -> Result<()> {
        let end = self.bytes.len() + value.len();
        if self.width.is_some_and(|w| w != value.len()) || end > i32::MAX as usize {
            return Err(Error::invalid("value does not fit its dictionary"));
        }
        self.bytes.extend_from_slice(value);
        self.ends.push(end as u32);
        Ok(())
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The width that all values have, if the list was made for one.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Value `i`; empty if there is no such value.
    pub fn get(&self, i: usize) -> &[u8] {
        let start = match i {
            0 => 0,
            _ => self.ends.get(i - 1).map_or(0, |&e| e as usize),
        };
        let end = self.ends.get(i).map_or(start, |&e| e as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Value `i` as a word, zero-extended; for widths up to eight.
    pub fn word(&self, i: usize) -> u64 {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(self.get(i)) {
            *to = *from;
        }
        u64::from_le_bytes(word)
    }

    /// Rough size in memory.
    pub fn memory_size(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len()
    }

    /// The smallest stored form.
    pub(super) fn pack(&self) -> ValuesMessage {
        let mut best = self.message(PLAIN, self.plain());
        if self.len() > 1 {
            let others = match self.width {
                Some(2 | 4 | 8) => self.delta().map(|p| (DELTA, p)),
                _ => Some((FRONT, self.front())),
            };
            if let Some((packing, payload)) = others {
                let other = self.message(packing, payload);
                if other.payload.len() < best.payload.len() {
                    best = other;
                }
            }
        }
        best
    }

    fn message(&self, packing: u32, raw: Vec<u8>) -> ValuesMessage {
        let unpacked = raw.len() as u64;
        let squeezed = zstd::bulk::compress(&raw, LEVEL)
            .ok()
            .filter(|z| z.len() + 3 < raw.len() && unpacked <= growth(z.len()));
        ValuesMessage {
            count: self.len() as u64,
            bytes: self.bytes.len() as u64,
            width: self.width.map_or(0, |w| w as u32),
            packing,
            unpacked: squeezed.as_ref().map_or(0, |_| unpacked),
            payload: squeezed.unwrap_or(raw),
        }
    }

    fn plain(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + self.len());
        if self.width.is_none() {
            for value in self.iter() {
                put_varint(&mut out, value.len() as u64);
            }
        }
        out.extend_from_slice(&self.bytes);
        out
    }

    fn front(&self) -> Vec<u8> {
        let (mut shared, mut rest, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        let mut last: &[u8] = &[];
        for value in self.iter() {
            let same = last.iter().zip(value).take_while(|(a, b)| a == b).count();
            put_varint(&mut shared, same as u64);
            put_varint(&mut rest, (value.len() - same) as u64);
            bytes.extend_from_slice(&value[same..]);
            last = value;
        }
        shared.append(&mut rest);
        shared.append(&mut bytes);
        shared
    }

    /// Differences of words that ascend; `None` if they do not.
    fn delta(&self) -> Option<Vec<u8>> {
        let words: Vec<u64> = (0..self.len()).map(|i| self.word(i)).collect();
        if words.windows(2).any(|w| w[0] > w[1]) {
            return None;
        }
        let width = self.width?;
        let mut out = vec![0; width * words.len()];
        let mut last = 0;
        for (i, &word) in words.iter().enumerate() {
            for (plane, byte) in (word - last).to_le_bytes().iter().take(width).enumerate() {
                out[plane * words.len() + i] = *byte;
            }
            last = word;
        }
        Some(out)
    }

    /// The list that a message stores.
    pub(super) fn unpack(message: &ValuesMessage) -> Result<Self> {
        let bad = |what: &str| Error::corrupt(format!("list of values: {what}"));
        if message.unpacked > growth(message.payload.len()).min(2 * MAX_BYTES) {
            return Err(bad("it grows out of proportion"));
        }
        let unpacked;
        let raw: &[u8] = match message.unpacked {
            0 => &message.payload,
            n => {
                unpacked = zstd::bulk::decompress(&message.payload, n as usize)
                    .map_err(|e| bad(&e.to_string()))?;
                &unpacked
            }
        };
        // Front coding repeats what it shares, so the total is bounded as well; empty values take a
        // byte or more of the payload each.
        if message.bytes > growth(raw.len()).min(MAX_BYTES) {
            return Err(bad("it grows out of proportion"));
        }
        if message.count > (raw.len() as u64).min(MAX_VALUES) {
            return Err(bad("more values than bytes"));
        }
        let (count, total) = (message.count as usize, message.bytes as usize);
        let width = (message.width > 0).then_some(message.width as usize);
        let mut values = Values {
            width,
            ends: Vec::with_capacity(count),
            bytes: Vec::with_capacity(total),
        };
        match (message.packing, width) {
            (PLAIN, Some(w)) => {
                if raw.len() != total {
                    return Err(bad("wrong length"));
                }
                values.bytes.extend_from_slice(raw);
                values
                    .ends
                    .extend((1..=count).map(|i| (i.saturating_mul(w)).min(total) as u32));
            }
            (PLAIN, None) => {
                let mut at = 0;
                let mut end = 0usize;
                for _ in 0..count {
                    let length = get_varint(raw, &mut at).ok_or_else(|| bad("cut short"))?;
                    end = end.saturating_add(length as usize);
                    values.ends.push(end.min(total) as u32);
                }
                if end != total || raw.len() - at != total {
                    return Err(bad("wrong length"));
                }
                values.bytes.extend_from_slice(&raw[at..]);
            }
            (FRONT, _) => values
                .unpack_front(raw, count, total)
                .ok_or_else(|| bad("cut short"))?,
            (DELTA, Some(w @ (2 | 4 | 8))) => {
                if raw.len() != total || count * w != total {
                    return Err(bad("wrong length"));
                }
                let mut word = 0u64;
                for i in 0..count {
                    let mut delta = [0; 8];
                    for (plane, byte) in delta.iter_mut().take(w).enumerate() {
                        *byte = raw[plane * count + i];
                    }
                    word = word.wrapping_add(u64::from_le_bytes(delta));
                    values.bytes.extend_from_slice(&word.to_le_bytes()[..w]);
                    values.ends.push(values.bytes.len() as u32);
                }
            }
            _ => return Err(bad("unknown packing")),
        }
        let uniform = width.is_none_or(|w| values.iter().all(|v| v.len() == w));
        match uniform && values.bytes.len() == total {
            true => Ok(values),
            false => Err(bad("wrong length")),
        }
    }

    fn unpack_front(&mut self, raw: &[u8], count: usize, total: usize) -> Option<()> {
        let mut at = 0;
        let shared: Vec<u64> = (0..count)
            .map(|_| get_varint(raw, &mut at))
            .collect::<Option<_>>()?;
        let rest: Vec<u64> = (0..count)
            .map(|_| get_varint(raw, &mut at))
            .collect::<Option<_>>()?;
        let mut last = 0..0;
        for (same, more) in shared.into_iter().zip(rest) {
            let (same, more) = (usize::try_from(same).ok()?, usize::try_from(more).ok()?);
            let suffix = raw.get(at..at.checked_add(more)?)?;
            at += more;
            let start = self.bytes.len();
            if same > last.len() || start + same + more > total {
                return None;
            }
            self.bytes.extend_from_within(last.start..last.start + same);
            self.bytes.extend_from_slice(suffix);
            self.ends.push(self.bytes.len() as u32);
            last = start..self.bytes.len();
        }
        (at == raw.len()).then_some(())
    }

    /// Charges what a decoder keeps beside the list: `per` bytes for each value.
    pub(super) fn charge(&self, context: &DecodeContext<'_>, per: usize) -> Result<()> {
        context.reserve_rows(self.len(), per)
    }
}

/// Most bytes that `stored` bytes may stand for.
fn growth(stored: usize) -> u64 {
    (stored as u64)
        .saturating_mul(MAX_GROWTH)
        .saturating_add(FREE_GROWTH)
}

fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

fn get_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut v = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        v |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(v);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(width: Option<usize>, values: &[&[u8]]) -> Values {
        let mut list = Values::new(width);
        for v in values {
            list.push(v).unwrap();
        }
        list
    }

    fn assert_comes_back(values: &Values) -> ValuesMessage {
        let message = values.pack();
        assert_eq!(&Values::unpack(&message).unwrap(), values);
        message
    }

    #[test]
    fn lists_come_back() {
        assert_comes_back(&list(None, &[]));
        assert_comes_back(&list(None, &[b""]));
        assert_comes_back(&list(
            None,
            &[b"", b"a", b"ab", b"abc\0\n", b"b", b"\xff\xfe"],
        ));
        assert_comes_back(&list(Some(8), &[]));
        let words: Vec<[u8; 8]> = (0..500u64).map(|i| (i * i * i).to_le_bytes()).collect();
        let words: Vec<&[u8]> = words.iter().map(|w| &w[..]).collect();
        assert_eq!(assert_comes_back(&list(Some(8), &words)).packing, DELTA);
        let falling: Vec<&[u8]> = words.iter().rev().copied().collect();
        assert_comes_back(&list(Some(8), &falling));
        assert_comes_back(&list(Some(3), &[b"abc", b"abd", b"zzz"]));
    }

    #[test]
    fn sorted_text_shares_its_prefixes() {
        let mut values = Values::new(None);
        for i in 0..2000 {
            values
                .push(format!("customer/{i:05}/name").as_bytes())
                .unwrap();
        }
        let message = assert_comes_back(&values);
        assert!(message.payload.len() < 1000, "{}", message.payload.len());
    }

    #[test]
    fn hostile_lists_are_errors() {
        let mut values = Values::new(None);
        for i in 0..300 {
            values.push(format!("name {i:05}").as_bytes()).unwrap();
        }
        let good = values.pack();
        for change in 0..6 {
            let mut bad = good.clone();
            match change {
                0 => bad.count = u64::MAX,
                1 => bad.bytes = 1 << 60,
                2 => bad.packing = 9,
                3 => bad.width = 3,
                4 => bad.unpacked = 1 << 50,
                _ => bad.payload.truncate(5),
            }
            assert!(Values::unpack(&bad).is_err(), "{change}");
        }
    }
}
