//! Coding symbols under several contexts at once, for columns of some thousand rows.
//!
//! Each context predicts; a mixer weighs the predictions in the logistic domain and learns from each
//! bit which to trust; an arithmetic coder spends what the mixed probability says (Mahoney, *Adaptive
//! Weighing of Context Models*, 2005). Nothing is stored but the coded bits: columns are too short to
//! pay for tables.
//!
//! A symbol is coded in two steps. Each context remembers the symbol that came last; the context that
//! was right most often in a row makes a *guess*, and one bit tells whether it is right. Only if not,
//! the symbol's bits follow, the highest first. Most symbols of a log are guessed, so most cost one
//! decision, and decode fast.
//!
//! All arithmetic is on integers: every machine decodes the same.

/// Most contexts.
pub const MAX_CONTEXTS: usize = 8;
/// Inputs of the mixer: the contexts and a constant.
const INPUTS: usize = MAX_CONTEXTS + 1;
/// Weight sets for bits of symbols; those of guesses follow.
const BIT_SETS: usize = 24;
/// One in the fixed point of weights.
const ONE: i32 = 1 << 16;
/// Speed at which weights learn, for guesses and for bits.
const LEARNING_SHIFT: i32 = 14;
/// Bits seen after which a slot's rate no longer falls.
const LIMIT: u32 = 255;

/// Logistic function at -8, -7.5, ..., 8 in 1/65536.
const SIGMOID: [i32; 33] = [
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768,
    40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438,
    65476, 65500, 65514,
];

/// Codes bits of given probabilities (of a one, in 1/65536).
pub trait BitCoder {
    /// Codes one bit: an encoder takes `bit`, a decoder ignores it; both give the coded one.
    fn bit(&mut self, one: u32, bit: bool) -> bool;

    /// Codes so many bits as likely one as zero.
    fn raw(&mut self, value: u64, count: u32) -> u64 {
        let mut result = 0;
        for i in (0..count).rev() {
            result = result << 1 | u64::from(self.bit(1 << 15, value >> i & 1 == 1));
        }
        result
    }
}

fn split(low: u32, high: u32, one: u32) -> u32 {
    let range = u64::from(high - low);
    low + ((range * u64::from(one)) >> 16) as u32
}

/// Writes.
#[derive(Debug)]
pub struct Encoder {
    low: u32,
    high: u32,
    bytes: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            low: 0,
            high: u32::MAX,
            bytes: Vec::new(),
        }
    }
}

impl Encoder {
    /// The coded bytes; none if nothing was coded.
    pub fn finish(mut self) -> Vec<u8> {
        if (self.low, self.high) != (0, u32::MAX) || !self.bytes.is_empty() {
            // The bounds differ in their first byte: the upper one's, followed by zeros, lies
            // between them, and the decoder reads zeros beyond the end.
            self.bytes.push((self.high >> 24) as u8);
        }
        self.bytes
    }
}

impl BitCoder for Encoder {
    fn bit(&mut self, one: u32, bit: bool) -> bool {
        let middle = split(self.low, self.high, one);
        match bit {
            true => self.high = middle,
            false => self.low = middle + 1,
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.bytes.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 255;
        }
        bit
    }
}

/// Reads what [`Encoder`] wrote; zeros beyond the end.
#[derive(Debug)]
pub struct Decoder<'a> {
    low: u32,
    high: u32,
    code: u32,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            low: 0,
            high: u32::MAX,
            code: 0,
            bytes,
            at: 0,
        };
        for _ in 0..4 {
            decoder.shift();
        }
        decoder
    }

    fn shift(&mut self) {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.code = self.code << 8 | u32::from(byte);
        self.at += 1;
    }
}

impl BitCoder for Decoder<'_> {
    #[inline]
    fn bit(&mut self, one: u32, _: bool) -> bool {
        let middle = split(self.low, self.high, one);
        let bit = self.code <= middle;
        match bit {
            true => self.high = middle,
            false => self.low = middle + 1,
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 255;
            self.shift();
        }
        bit
    }
}

/// Adds up what coding would cost, in 1/65536 bits.
#[derive(Debug, Default)]
pub struct Meter {
    cost: u64,
}

impl Meter {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        self.cost >> 19
    }
}

impl BitCoder for Meter {
    fn bit(&mut self, one: u32, bit: bool) -> bool {
        let p = if bit { one } else { 65_536 - one };
        // -log2 to a few per cent: the exponent, and the mantissa taken as straight.
        let log = p.max(1).ilog2();
        let mantissa = (u64::from(p.max(1)) << 16 >> log) - 65_536;
        let curve = mantissa + ((mantissa * (65_536 - mantissa)) >> 16) * 22_713 / 65_536;
        self.cost += (u64::from(16 - log) << 16) - curve.min(u64::from(16 - log) << 16);
        bit
    }

    fn raw(&mut self, value: u64, count: u32) -> u64 {
        self.cost += u64::from(count) << 16;
        value
    }
}

/// Logits and their inverse.
#[derive(Debug)]
struct Curves {
    /// Logit in 1/256 of each probability in 1/4096.
    logits: [i16; 4096],
    /// Probability in 1/65536 of each logit in 1/256 from -2048 on.
    squash: [u16; 4096],
}

impl Curves {
    fn new() -> Self {
        let squash: [u16; 4096] = std::array::from_fn(|x| {
            let (i, rest) = (x >> 7, (x & 127) as i32);
            let (a, b) = (SIGMOID[i], SIGMOID[i + 1]);
            ((a * (128 - rest) + b * rest + 64) >> 7) as u16
        });
        let mut logits = [2047i16; 4096];
        let mut from = 0usize;
        for (x, &p) in squash.iter().enumerate() {
            let to = usize::from(p >> 4);
            while from <= to && from < 4096 {
                logits[from] = x as i16 - 2048;
                from += 1;
            }
        }
        Self { logits, squash }
    }
}

/// What contexts know of a bit: probability of a one in the upper 22 bits, bits seen in the lower.
type Slot = u32;
const FRESH: Slot = 1 << 31;

/// The last symbol in a context (its lower 24 bits), and how often it was right in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Memory(u32);

impl Memory {
    fn new(symbol: u32, run: u32) -> Self {
        Self(symbol << 8 | run.min(255))
    }

    fn symbol(self) -> u32 {
        self.0 >> 8
    }

    fn run(self) -> u32 {
        self.0 & 255
    }
}

/// What is learned across columns: how far to trust which kind of context.
#[derive(Debug, Clone)]
pub struct Weights {
    sets: Vec<[i32; INPUTS]>,
}

impl Default for Weights {
    fn default() -> Self {
        let sets = BIT_SETS + (MAX_CONTEXTS << 4);
        Self {
            sets: vec![[ONE / 3; INPUTS]; sets],
        }
    }
}

/// Codes the symbols of one column, below a fixed number.
#[derive(Debug)]
pub struct Symbols {
    curves: std::sync::Arc<Curves>,
    rates: [u32; LIMIT as usize + 1],
    bits: u32,
    contexts: usize,
    slots: Vec<Slot>,
    memories: Vec<Memory>,
    mask: usize,
}

fn curves() -> std::sync::Arc<Curves> {
    static CURVES: std::sync::OnceLock<std::sync::Arc<Curves>> = std::sync::OnceLock::new();
    std::sync::Arc::clone(CURVES.get_or_init(|| std::sync::Arc::new(Curves::new())))
}

/// Bytes that [`Symbols::new`] takes.
pub fn memory(rows: usize, contexts: usize) -> u64 {
    (size(rows) * contexts * (size_of::<Slot>() + size_of::<Memory>())) as u64 + 2048
}

fn size(rows: usize) -> usize {
    (rows * 4).next_power_of_two().clamp(1 << 8, 1 << 17)
}

/// Mixes a context's number and value to a hash.
#[inline]
pub fn hashed(value: u64) -> u32 {
    let mixed = (value ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

impl Symbols {
    /// A coder for so many rows of symbols below `below`, under `contexts` contexts.
    pub fn new(rows: usize, below: u32, contexts: usize) -> Self {
        let contexts = contexts.min(MAX_CONTEXTS);
        let size = size(rows);
        Self {
            curves: curves(),
            rates: std::array::from_fn(|n| 655_360 / (10 * n as u32 + 15)),
            bits: u32::BITS - below.saturating_sub(1).leading_zeros(),
            contexts,
            slots: vec![FRESH; size * contexts],
            memories: vec![Memory::default(); size * contexts],
            mask: size - 1,
        }
    }

    /// One decision: `at` is the slot of each context.
    #[inline]
    fn decide(
        &mut self,
        coder: &mut impl BitCoder,
        weights: &mut [i32; INPUTS],
        at: &[usize; MAX_CONTEXTS],
        bit: bool,
    ) -> bool {
        let mut inputs = [0i32; INPUTS];
        inputs[MAX_CONTEXTS] = 256;
        let at = &at[..self.contexts];
        for (input, &at) in inputs.iter_mut().zip(at) {
            let slot = self.slots[at];
            let logit = i32::from(self.curves.logits[(slot >> 20) as usize]);
            // A slot that saw nothing says nothing.
            *input = if slot & 0x3ff != 0 { logit } else { 0 };
        }
        let terms = inputs.iter().zip(weights.iter());
        let sum: i64 = terms.map(|(&x, &w)| i64::from(x) * i64::from(w)).sum();
        let logit = (sum >> 16).clamp(-2047, 2047) as i32;
        let one = u32::from(self.curves.squash[(logit + 2048) as usize]);
        let bit = coder.bit(one, bit);
        let error = (i32::from(bit) << 16) - one as i32;
        for (weight, &x) in weights.iter_mut().zip(&inputs) {
            let step = (x * (error >> 2) + (1 << (LEARNING_SHIFT - 1))) >> LEARNING_SHIFT;
            *weight = (*weight + step).clamp(-16 * ONE, 16 * ONE);
        }
        for &at in at {
            let slot = self.slots[at];
            let (p, seen) = (slot >> 10, slot & 0x3ff);
            let target = if bit { (1 << 22) - 1 } else { 0 };
            let moved = i64::from(target) - i64::from(p);
            let p = i64::from(p) + ((moved * i64::from(self.rates[seen as usize])) >> 16);
            self.slots[at] = (p as u32) << 10 | (seen + 1).min(LIMIT);
        }
        bit
    }

    /// Codes a symbol: an encoder takes it, a decoder ignores it; both give the coded one.
    #[inline]
    pub fn code(
        &mut self,
        coder: &mut impl BitCoder,
        weights: &mut Weights,
        hashes: &[u32; MAX_CONTEXTS],
        symbol: u32,
    ) -> u32 {
        let symbol = match self.guess(coder, weights, hashes, symbol) {
            Some(guessed) => guessed,
            None => self.bits(coder, weights, hashes, symbol),
        };
        self.learn(hashes, symbol);
        symbol
    }

    /// Codes whether the contexts' guess is the symbol; the symbol if so.
    #[inline]
    pub fn guess(
        &mut self,
        coder: &mut impl BitCoder,
        weights: &mut Weights,
        hashes: &[u32; MAX_CONTEXTS],
        symbol: u32,
    ) -> Option<u32> {
        let mut memories = [Memory::default(); MAX_CONTEXTS];
        let mut best = (0, 0);
        for i in 0..self.contexts {
            memories[i] = self.memories[self.place(i, hashes[i])];
            if memories[i].run() >= best.1 {
                best = (i, memories[i].run());
            }
        }
        if best.1 == 0 {
            return None;
        }
        let guess = memories[best.0].symbol();
        let mut at = [0; MAX_CONTEXTS];
        let mut agree = 0;
        for i in 0..self.contexts {
            // Whether this context's own memory is the guess belongs to what it knows.
            let same = memories[i].symbol() == guess && memories[i].run() > 0;
            agree += usize::from(same);
            let hash = hashes[i].wrapping_add(0x9e37_79b9u32.wrapping_mul(1 + u32::from(same)));
            at[i] = self.place(i, hash ^ hash >> 15);
        }
        let run = best.1.ilog2().min(7) as usize;
        let set = BIT_SETS + (best.0 << 4) + run * 2 + usize::from(agree * 2 > self.contexts);
        let weights = &mut weights.sets[set];
        self.decide(coder, weights, &at, symbol == guess)
            .then_some(guess)
    }

    /// Codes a symbol bit by bit.
    #[inline]
    pub fn bits(
        &mut self,
        coder: &mut impl BitCoder,
        weights: &mut Weights,
        hashes: &[u32; MAX_CONTEXTS],
        symbol: u32,
    ) -> u32 {
        let mut node = 1u32;
        for shift in (0..self.bits).rev() {
            let mut at = [0; MAX_CONTEXTS];
            for i in 0..self.contexts {
                let hash = hashes[i] ^ node.wrapping_mul(0x85eb_ca6b);
                let hash = hash.wrapping_mul(0x9e37_79b1);
                at[i] = self.place(i, hash ^ hash >> 16);
            }
            let set = (self.bits - 1 - shift).min(BIT_SETS as u32 - 1) as usize;
            let bit = symbol >> shift & 1 == 1;
            let bit = self.decide(coder, &mut weights.sets[set], &at, bit);
            node = node << 1 | u32::from(bit);
        }
        node ^ 1 << self.bits
    }

    /// Takes note of the symbol that came in these contexts.
    #[inline]
    pub fn learn(&mut self, hashes: &[u32; MAX_CONTEXTS], symbol: u32) {
        for (i, &hash) in hashes.iter().enumerate().take(self.contexts) {
            let place = self.place(i, hash);
            let memory = &mut self.memories[place];
            let again = memory.run() > 0 && memory.symbol() == symbol & 0xff_ffff;
            *memory = Memory::new(symbol, if again { memory.run() + 1 } else { 1 });
        }
    }

    #[inline]
    fn place(&self, context: usize, hash: u32) -> usize {
        context * (self.mask + 1) + (hash as usize & self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: u32) -> (u32, [u32; MAX_CONTEXTS]) {
        let key = i * 7 % 13;
        let symbol = match i % 10 {
            9 => i.wrapping_mul(2_654_435_761) >> 24,
            _ => key * 3,
        };
        let mut hashes = [0; MAX_CONTEXTS];
        hashes[1] = hashed(u64::from(key));
        (symbol, hashes)
    }

    #[test]
    fn symbols_come_back_and_contexts_pay() {
        let mut sizes = Vec::new();
        for contexts in [1, 2] {
            let mut encoder = Encoder::default();
            let mut weights = Weights::default();
            let mut symbols = Symbols::new(5000, 256, contexts);
            for i in 0..5000 {
                let (symbol, hashes) = row(i);
                symbols.code(&mut encoder, &mut weights, &hashes, symbol);
            }
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            let mut weights = Weights::default();
            let mut symbols = Symbols::new(5000, 256, contexts);
            for i in 0..5000 {
                let (symbol, hashes) = row(i);
                assert_eq!(symbols.code(&mut decoder, &mut weights, &hashes, 0), symbol);
            }
            sizes.push(bytes.len());
        }
        assert!(sizes[1] * 2 < sizes[0], "{sizes:?}");
    }

    #[test]
    fn a_meter_tells_about_what_an_encoder_writes() {
        let (mut encoder, mut meter) = (Encoder::default(), Meter::default());
        let mut state = 1u32;
        for i in 0..100_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let one = [300, 9_000, 40_000, 65_000][i as usize % 4];
            let bit = state >> 16 < one;
            encoder.bit(one, bit);
            meter.bit(one, bit);
        }
        let (real, told) = (encoder.finish().len() as f64, meter.bytes() as f64);
        assert!((real / told - 1.0).abs() < 0.03, "{real} {told}");
    }

    #[test]
    fn one_symbol_takes_hardly_anything() {
        let mut encoder = Encoder::default();
        let mut weights = Weights::default();
        let mut symbols = Symbols::new(60_000, 300, 3);
        for _ in 0..60_000 {
            symbols.code(&mut encoder, &mut weights, &[5; MAX_CONTEXTS], 77);
        }
        assert!(encoder.finish().len() < 60);
    }
}
