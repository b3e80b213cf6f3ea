//! What the words of a cache's arrays mean.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use half::{bf16, f16};

use crate::encoding::grid;
use crate::encoding::physical::BFLOAT16;
use crate::encoding::words::Word;
use crate::error::{Error, Result};

/// Key of an item's metadata that says `k` or `v`.
pub const SIDE_KEY: &str = "pilaster.kv.side";

/// A float format of 16 or 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// IEEE half precision.
    Half,
    /// bfloat16.
    Brain,
    /// IEEE single precision.
    Single,
}

impl Format {
    /// The format of a list's item, if it is one of them.
    pub fn of(item: &Field) -> Option<Self> {
        let extension = item.metadata().get("ARROW:extension:name");
        match (item.data_type(), extension.map(String::as_str)) {
            (DataType::Float16, _) => Some(Self::Half),
            (DataType::Float32, _) => Some(Self::Single),
            (DataType::UInt16, Some(BFLOAT16)) => Some(Self::Brain),
            _ => None,
        }
    }

    /// The format of the items of fixed-size lists.
    pub fn of_lists(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::FixedSizeList(item, size) if *size > 0 => Self::of(item),
            _ => None,
        }
    }

    /// The format of a number in a node's metadata: 0 half, 1 bfloat16, 2 single.
    pub fn numbered(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Self::Half),
            1 => Ok(Self::Brain),
            2 => Ok(Self::Single),
            _ => Err(Error::corrupt("an unknown float format")),
        }
    }

    /// A word's value.
    #[inline]
    pub fn read(self, word: u64) -> f32 {
        match self {
            Self::Half => f16::from_bits(word as u16).to_f32(),
            Self::Brain => bf16::from_bits(word as u16).to_f32(),
            Self::Single => f32::from_bits(word as u32),
        }
    }

    /// The word of a value, rounded to nearest, ties to even.
    #[inline]
    pub fn write(self, value: f32) -> u64 {
        match self {
            Self::Half => u64::from(f16::from_f32(value).to_bits()),
            Self::Brain => u64::from(bf16::from_f32(value).to_bits()),
            Self::Single => u64::from(value.to_bits()),
        }
    }

    /// The word of a decoded value: sums of rounded parts may leave the format, which the value that
    /// they stand for did not.
    #[inline]
    pub fn write_within(self, value: f32) -> u64 {
        let most = match self {
            Self::Half => f16::MAX.to_f32(),
            Self::Brain => bf16::MAX.to_f32(),
            Self::Single => f32::MAX,
        };
        self.write(value.clamp(-most, most))
    }

    /// The values of lists without nulls as singles, and how many a list has.
    pub fn floats(self, array: &ArrayRef) -> Option<(Vec<f32>, usize)> {
        fn of<W: Word>(array: &ArrayRef, format: Format) -> Option<(Vec<f32>, usize)> {
            let (words, width) = grid::numbers::<W>(array)?;
            let values = words.iter().map(|w| format.read(w.widen()));
            Some((values.collect(), width))
        }
        match self {
            Self::Single => of::<u32>(array, self),
            _ => of::<u16>(array, self),
        }
    }
}

/// Whether lists hold keys.
pub fn holds_keys(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(item, _) => {
            item.metadata().get(SIDE_KEY).map(String::as_str) == Some("k")
        }
        _ => false,
    }
}
