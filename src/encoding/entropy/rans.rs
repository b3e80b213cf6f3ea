//! Static rANS: four interleaved 32-bit states, 14-bit frequencies, 16-bit renormalisation.
//!
//! Row `r` of a stream uses state `r mod 4`, and any table. A table of one symbol takes no bits and
//! leaves the state alone, so a value that its context determines costs nothing.
//!
//! Layout of a stream: 16-bit little-endian words; first the four states (high word, low word),
//! then the words that the decoder takes in whenever a state falls below 2^16. A decoder that has
//! read everything holds 2^16 in each state, or 16 bits more of a number that the stream carries.

use super::normalize;
use crate::error::{Error, Result};

/// Frequencies of a table add up to two to this.
pub const SCALE_BITS: u32 = 14;
/// Sum of a table's frequencies.
pub const SCALE: u32 = 1 << SCALE_BITS;
/// Smallest value of a state between symbols, and its first value.
const LOW: u32 = 1 << 16;
/// Interleaved states.
pub const LANES: usize = 4;

/// A symbol of a table: its slots are `start..start + frequency`.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u16,
    frequency: u16,
    symbol: u32,
}

/// Where a table lies and how its slots are searched.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// First entry; one past the last is a sentinel that starts at [`SCALE`].
    entries: u32,
    /// Number of symbols.
    count: u32,
    /// First element of the search table.
    search: u32,
    /// Slots per element of the search table, as a power of two.
    shift: u32,
}

/// Probability tables in one place, numbered from zero.
#[derive(Debug, Default)]
pub struct Tables {
    heads: Vec<Head>,
    entries: Vec<Entry>,
    search: Vec<u16>,
}

impl Tables {
    /// Adds a table from symbols, in ascending order, and how often each was counted.
    pub fn push(&mut self, symbols: &[u32], counts: &[u32]) -> Result<u32> {
        let n = symbols.len();
        let ascending = symbols.windows(2).all(|w| w[0] < w[1]);
        if n == 0 || n != counts.len() || n > SCALE as usize || !ascending || counts.contains(&0) {
            return Err(Error::corrupt("impossible probability table"));
        }
        let frequencies = normalize(counts, SCALE);
        let bits = match n {
            1 => 0,
            // Some elements a symbol, so that the search mostly ends where it starts.
            2..=16 => usize::BITS - (n - 1).leading_zeros() + 3,
            _ => (usize::BITS - (n - 1).leading_zeros() + 2).min(11),
        };
        let head = Head {
            entries: self.entries.len() as u32,
            count: n as u32,
            search: self.search.len() as u32,
            shift: SCALE_BITS - bits,
        };
        let mut start = 0;
        for (i, (&symbol, &frequency)) in symbols.iter().zip(&frequencies).enumerate() {
            self.entries.push(Entry {
                start: start as u16,
                frequency: frequency as u16,
                symbol,
            });
            // Elements of the search table whose first slot belongs to this symbol.
            let until = (start + frequency).div_ceil(1 << head.shift) + head.search;
            while (self.search.len() as u32) < until {
                self.search.push(i as u16);
            }
            start += frequency;
        }
        self.entries.push(Entry {
            start: SCALE as u16,
            frequency: 0,
            symbol: 0,
        });
        self.heads.push(head);
        Ok(self.heads.len() as u32 - 1)
    }

    /// Number of tables.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.heads.len() * size_of::<Head>()
            + self.entries.len() * size_of::<Entry>()
            + self.search.len() * 2
    }

    /// The symbol of a table that has only one.
    #[inline]
    pub fn certain(&self, table: u32) -> Option<u32> {
        let head = &self.heads[table as usize];
        (head.count == 1).then(|| self.entries[head.entries as usize].symbol)
    }

    /// The most frequent symbol of a table.
    pub fn likeliest(&self, table: u32) -> u32 {
        let head = &self.heads[table as usize];
        let entries = &self.entries[head.entries as usize..][..head.count as usize];
        let best = entries.iter().rev().max_by_key(|e| e.frequency);
        best.map_or(0, |e| e.symbol)
    }

    /// Where a symbol stands in a table, if it is there.
    pub fn find(&self, table: u32, symbol: u32) -> Option<Interval> {
        let head = &self.heads[table as usize];
        let entries = &self.entries[head.entries as usize..][..head.count as usize];
        let i = entries.binary_search_by_key(&symbol, |e| e.symbol).ok()?;
        Some(Interval {
            start: entries[i].start,
            frequency: entries[i].frequency,
        })
    }
}

/// The slots of a symbol.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    start: u16,
    frequency: u16,
}

impl Interval {
    /// Slots of the symbol, of [`SCALE`] in all.
    pub fn frequency(&self) -> u32 {
        u32::from(self.frequency)
    }

    /// Bits that coding the symbol takes.
    pub fn bits(&self) -> f64 {
        f64::from(SCALE_BITS) - f64::from(self.frequency).log2()
    }
}

/// Bits that a stream can carry beside its symbols.
pub const CARRIED: u32 = 16 * LANES as u32;

/// Whether no symbol takes any bits: each is alone in its table.
pub fn silent(intervals: &[Interval]) -> bool {
    intervals.iter().all(|i| i.frequency() == SCALE)
}

/// Encodes a chunk's symbols; empty if none of them takes any bits.
pub fn encode(intervals: &[Interval]) -> Vec<u8> {
    match silent(intervals) {
        true => Vec::new(),
        false => encode_carrying(intervals, 0),
    }
}

/// Encodes symbols and, in the bits that the states start with, a number: the decoder finds it when it
/// has all symbols. The stream is about as long as without it, and never empty.
pub fn encode_carrying(intervals: &[Interval], carried: u64) -> Vec<u8> {
    let mut states: [u32; LANES] =
        std::array::from_fn(|i| LOW + (carried >> (16 * i) & 0xffff) as u32);
    let mut words: Vec<u16> = Vec::new();
    for (row, i) in intervals.iter().enumerate().rev() {
        let state = &mut states[row % LANES];
        let frequency = u32::from(i.frequency);
        if u64::from(*state) >= u64::from(frequency) << (32 - SCALE_BITS) {
            words.push(*state as u16);
            *state >>= 16;
        }
        *state = ((*state / frequency) << SCALE_BITS) + *state % frequency + u32::from(i.start);
    }
    for state in states.iter().rev() {
        words.push(*state as u16);
        words.push((*state >> 16) as u16);
    }
    words.iter().rev().flat_map(|w| w.to_le_bytes()).collect()
}

/// Decodes a stream symbol by symbol.
#[derive(Debug)]
pub struct Decoder<'a> {
    states: [u32; LANES],
    words: &'a [[u8; 2]],
    /// Words taken in; beyond the last there are zeros.
    taken: usize,
}

impl<'a> Decoder<'a> {
    /// Starts on a stream.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let (words, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(Error::corrupt("odd number of bytes in a rANS stream"));
        }
        let mut states = [LOW; LANES];
        let mut words = words;
        if !words.is_empty() {
            let Some((head, tail)) = words.split_at_checked(2 * LANES) else {
                return Err(Error::corrupt("a rANS stream is too short"));
            };
            for (state, pair) in states.iter_mut().zip(head.chunks_exact(2)) {
                let word = |i: usize| u32::from(u16::from_le_bytes(pair[i]));
                *state = word(0) << 16 | word(1);
            }
            words = tail;
        }
        if states.iter().any(|&s| s < LOW) {
            return Err(Error::corrupt("impossible rANS state"));
        }
        Ok(Self {
            states,
            words,
            taken: 0,
        })
    }

    /// Whether the stream says nothing: every symbol then is the only one of its table.
    pub fn is_silent(&self) -> bool {
        self.words.is_empty() && self.states == [LOW; LANES]
    }

    /// The next symbol of a lane, coded with a table of `tables`.
    #[inline(always)]
    pub fn symbol(&mut self, lane: usize, tables: &Tables, table: u32) -> u32 {
        let state = self.states[lane % LANES];
        let slot = state & (SCALE - 1);
        let head = &tables.heads[table as usize];
        let first = tables.search[(head.search + (slot >> head.shift)) as usize];
        let mut i = (head.entries + u32::from(first)) as usize;
        while u32::from(tables.entries[i + 1].start) <= slot {
            i += 1;
        }
        let entry = tables.entries[i];
        let mut state =
            u32::from(entry.frequency) * (state >> SCALE_BITS) + slot - u32::from(entry.start);
        // Without a branch: whether a word is taken in is as good as random.
        let word = self
            .words
            .get(self.taken)
            .map_or(0, |&w| u16::from_le_bytes(w));
        let low = state < LOW;
        let renewed = state << 16 | u32::from(word);
        state = if low { renewed } else { state };
        self.taken += usize::from(low);
        self.states[lane % LANES] = state;
        entry.symbol
    }

    /// Fails unless exactly the whole stream was used.
    pub fn finish(self) -> Result<()> {
        match self.finish_carrying()? {
            0 => Ok(()),
            _ => Err(Error::corrupt("a rANS stream does not fit its tables")),
        }
    }

    /// The number that [`encode_carrying`] was given. Fails unless exactly the whole stream was used.
    pub fn finish_carrying(self) -> Result<u64> {
        let last = |state: &u32| (LOW..2 * LOW).contains(state);
        if self.taken != self.words.len() || !self.states.iter().all(last) {
            return Err(Error::corrupt("a rANS stream does not fit its tables"));
        }
        let states = self.states.iter().rev();
        Ok(states.fold(0, |bits, state| bits << 16 | u64::from(state - LOW)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Tables {
        let mut tables = Tables::default();
        tables.push(&[3], &[9]).unwrap();
        tables.push(&[0, 5, 9], &[1, 100, 7]).unwrap();
        let many: Vec<u32> = (0..5000).collect();
        let counts: Vec<u32> = many.iter().map(|i| 1 + i % 17 * (i % 3)).collect();
        tables.push(&many, &counts).unwrap();
        tables.push(&many[..300], &counts[..300]).unwrap();
        tables
    }

    fn sample() -> Vec<(u32, u32)> {
        (0..4001u32)
            .map(|i| match i % 4 {
                0 => (0, 3),
                1 => (1, [0, 5, 9][(i / 4 % 3) as usize]),
                2 => (2, i * 7919 % 5000),
                _ => (3, i * 31 % 300),
            })
            .collect()
    }

    fn intervals(tables: &Tables, sample: &[(u32, u32)]) -> Vec<Interval> {
        let found = |&(table, symbol): &(u32, u32)| tables.find(table, symbol).unwrap();
        sample.iter().map(found).collect()
    }

    fn check_symbols(decoder: &mut Decoder<'_>, tables: &Tables, sample: &[(u32, u32)]) {
        for (row, &(table, symbol)) in sample.iter().enumerate() {
            assert_eq!(decoder.symbol(row, tables, table), symbol);
        }
    }

    #[test]
    fn symbols_come_back() {
        let tables = tables();
        let sample = sample();
        let intervals = intervals(&tables, &sample);
        let bytes = encode(&intervals);
        let mut decoder = Decoder::new(&bytes).unwrap();
        check_symbols(&mut decoder, &tables, &sample);
        decoder.finish().unwrap();
        let bits: f64 = intervals.iter().map(Interval::bits).sum();
        assert!((bytes.len() as f64) < bits / 8.0 + 24.0);
    }

    #[test]
    fn a_stream_carries_a_number_nearly_for_nothing() {
        let tables = tables();
        let sample = sample();
        let intervals = intervals(&tables, &sample);
        for number in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let bytes = encode_carrying(&intervals, number);
            assert!(bytes.len() <= encode(&intervals).len() + 2 * LANES);
            let mut decoder = Decoder::new(&bytes).unwrap();
            check_symbols(&mut decoder, &tables, &sample);
            assert_eq!(decoder.finish_carrying().unwrap(), number);
        }
    }

    #[test]
    fn certain_symbols_cost_nothing() {
        let tables = tables();
        let bytes = encode(&[tables.find(0, 3).unwrap(); 1000]);
        assert!(bytes.is_empty());
        let mut decoder = Decoder::new(&bytes).unwrap();
        assert!(decoder.is_silent());
        assert_eq!(tables.certain(0), Some(3));
        assert_eq!(tables.certain(1), None);
        assert!((0..1000).all(|row| decoder.symbol(row, &tables, 0) == 3));
        decoder.finish().unwrap();
    }

    #[test]
    fn damage_is_noticed_or_harmless() {
        let tables = tables();
        let sample = sample();
        let intervals = intervals(&tables, &sample);
        let bytes = encode(&intervals);
        for cut in [0, 1, 2, 15, 16, 100, bytes.len() - 2] {
            let Ok(mut decoder) = Decoder::new(&bytes[..cut]) else {
                continue;
            };
            for (row, &(t, _)) in sample.iter().enumerate() {
                decoder.symbol(row, &tables, t);
            }
            assert!(decoder.finish().is_err());
        }
    }

    #[test]
    fn impossible_tables_are_refused() {
        let mut tables = Tables::default();
        assert!(tables.push(&[], &[]).is_err());
        assert!(tables.push(&[1, 1], &[1, 1]).is_err());
        assert!(tables.push(&[1, 2], &[1, 0]).is_err());
        assert!(tables.push(&[1], &[1, 1]).is_err());
    }
}
