//! Floats that Arrow has no type for: bfloat16 and the 8-bit ones, words under an extension type.
//!
//! Whoever computes with them or prints them wants numbers. Every such value is a single, so a column of
//! words is shown as one of singles; the field's metadata keeps the name of the extension type, by which
//! a writer makes the words of the numbers again. Both ways are exact for every bit pattern: NaN keeps
//! its sign and payload.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayDataBuilder, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::encoding::physical::{BFLOAT16, FLOAT8_E4M3, FLOAT8_E5M2};
use crate::error::{Error, Result};

/// Metadata key of Arrow extension types.
const EXTENSION: &str = "ARROW:extension:name";
/// Metadata key of a field of singles that stand for values of an extension type.
const STANDS_FOR: &str = "pilaster.stands_for";

/// A float of 16 or 8 bits without an Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SmallFloat {
    Brain,
    E4M3,
    E5M2,
}

impl SmallFloat {
    const ALL: [Self; 3] = [Self::Brain, Self::E4M3, Self::E5M2];

    fn name(self) -> &'static str {
        match self {
            Self::Brain => BFLOAT16,
            Self::E4M3 => FLOAT8_E4M3,
            Self::E5M2 => FLOAT8_E5M2,
        }
    }

    fn words(self) -> DataType {
        match self {
            Self::Brain => DataType::UInt16,
            Self::E4M3 | Self::E5M2 => DataType::UInt8,
        }
    }

    fn told(field: &Field, key: &str, data_type: impl Fn(Self) -> DataType) -> Option<Self> {
        let name = field.metadata().get(key)?;
        let known = Self::ALL.into_iter().find(|f| f.name() == name);
        known.filter(|f| data_type(*f) == *field.data_type())
    }

    /// The floats that a field's words are.
    fn stored(field: &Field) -> Option<Self> {
        Self::told(field, EXTENSION, Self::words)
    }

    /// The floats that a field's singles stand for.
    fn shown(field: &Field) -> Option<Self> {
        Self::told(field, STANDS_FOR, |_| DataType::Float32)
    }

    /// The bits of the single that a word is.
    fn single(self, word: u16) -> u32 {
        let word = u32::from(word);
        let (exponent_bits, fraction_bits) = match self {
            Self::Brain => return word << 16,
            Self::E4M3 => (4, 3),
            Self::E5M2 => (5, 2),
        };
        let sign = (word & 0x80) << 24;
        let top = (1 << exponent_bits) - 1;
        let bias = top >> 1;
        let exponent = (word & 0x7f) >> fraction_bits;
        let fraction = word & ((1 << fraction_bits) - 1);
        let special = match self {
            Self::E4M3 => word & 0x7f == 0x7f,
            _ => exponent == top,
        };
        if special {
            return sign | 0x7f80_0000 | fraction << (23 - fraction_bits);
        }
        if exponent > 0 {
            return sign | (exponent + 127 - bias) << 23 | fraction << (23 - fraction_bits);
        }
        // A subnormal: some times the smallest, a power of two.
        let smallest = f32::from_bits((128 - bias - fraction_bits) << 23);
        sign | (fraction as f32 * smallest).to_bits()
    }

    /// The word of a single's bits, if the single is one of these floats.
    fn word(self, single: u32) -> Option<u16> {
        if self == Self::Brain {
            return (single & 0xffff == 0).then_some((single >> 16) as u16);
        }
        let sign = (single >> 24 & 0x80) as u16;
        let magnitude = single & 0x7fff_ffff;
        // Magnitudes of words ascend with the words.
        let (mut low, mut high) = (0u16, 0x80);
        while low < high {
            let middle = (low + high) / 2;
            match self.single(middle) < magnitude {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        (low < 0x80 && self.single(low) == magnitude).then_some(sign | low)
    }
}

/// The field with other children, type by type.
fn with_children(field: &FieldRef, change: &impl Fn(&FieldRef) -> FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(child) => DataType::List(change(child)),
        DataType::LargeList(child) => DataType::LargeList(change(child)),
        DataType::FixedSizeList(child, size) => DataType::FixedSizeList(change(child), *size),
        DataType::Map(child, sorted) => DataType::Map(change(child), *sorted),
        DataType::Struct(children) => DataType::Struct(children.iter().map(change).collect()),
        _ => return Arc::clone(field),
    };
    match data_type == *field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(field.as_ref().clone().with_data_type(data_type)),
    }
}

/// The field with one name of the float's type in place of another.
fn renamed(field: &Field, data_type: DataType, from: &str, to: &str) -> FieldRef {
    let mut metadata = field.metadata().clone();
    if let Some(name) = metadata.remove(from) {
        metadata.insert(to.to_owned(), name);
    }
    let field = field.clone().with_data_type(data_type);
    Arc::new(field.with_metadata(metadata))
}

fn shown_field(field: &FieldRef) -> FieldRef {
    match SmallFloat::stored(field) {
        Some(_) => renamed(field, DataType::Float32, EXTENSION, STANDS_FOR),
        None => with_children(field, &shown_field),
    }
}

#[cfg(feature = "query")]
fn stored_field(field: &FieldRef) -> FieldRef {
    match SmallFloat::shown(field) {
        Some(float) => renamed(field, float.words(), STANDS_FOR, EXTENSION),
        None => with_children(field, &stored_field),
    }
}

fn changed(schema: &SchemaRef, change: impl Fn(&FieldRef) -> FieldRef) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(change).collect();
    match fields == *schema.fields() {
        true => Arc::clone(schema),
        false => Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
    }
}

/// The schema with singles in place of words.
pub(crate) fn shown(schema: &SchemaRef) -> SchemaRef {
    changed(schema, shown_field)
}

#[cfg(feature = "query")]
/// The schema with words in place of the singles that stand for them.
pub(crate) fn stored(schema: &SchemaRef) -> SchemaRef {
    changed(schema, stored_field)
}

#[cfg(feature = "query")]
/// Whether a field's values, or those of its items, are words or stand for words: bounds of words are no
/// bounds of numbers.
pub(crate) fn is_small(field: &Field) -> bool {
    let own = |f: &Field| SmallFloat::stored(f).or(SmallFloat::shown(f)).is_some();
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            own(item)
        }
        _ => own(field),
    }
}

#[cfg(feature = "query")]
/// The field without the mark that its numbers stand for words.
pub(crate) fn unmarked(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    match metadata.remove(STANDS_FOR) {
        Some(_) => field.with_metadata(metadata),
        None => field,
    }
}

/// A batch in the schema that [`shown`] or [`stored`] gave for its own. Fails if a number is none of
/// those that its field stands for.
pub(crate) fn converted(
    batch: &RecordBatch,
    from: &SchemaRef,
    to: &SchemaRef,
) -> Result<RecordBatch> {
    if Arc::ptr_eq(from, to) || from.fields() == to.fields() {
        return Ok(batch.clone());
    }
    let fields = from.fields().iter().zip(to.fields());
    let columns = batch.columns().iter().zip(fields);
    let columns: Vec<ArrayRef> = columns
        .map(
            |(array, (from, to))| match from.data_type() == to.data_type() {
                true => Ok(Arc::clone(array)),
                false => converted_array(&array.to_data(), from, to)
                    .map(make_array)
                    .map_err(|e| Error::invalid(format!("column '{}': {e}", from.name()))),
            },
        )
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    // Plans are loose about nullability: the fields are those of the arrays at hand.
    let fields = to.fields().iter().zip(&columns).map(|(field, array)| {
        let nullable = field.is_nullable() || array.null_count() > 0;
        let field = field
            .as_ref()
            .clone()
            .with_data_type(array.data_type().clone());
        field.with_nullable(nullable)
    });
    let schema = Schema::new_with_metadata(fields.collect::<Fields>(), to.metadata().clone());
    Ok(RecordBatch::try_new_with_options(
        Arc::new(schema),
        columns,
        &options,
    )?)
}

fn children(data_type: &DataType) -> Vec<&FieldRef> {
    match data_type {
        DataType::List(child)
        | DataType::LargeList(child)
        | DataType::FixedSizeList(child, _)
        | DataType::Map(child, _) => vec![child],
        DataType::Struct(children) => children.iter().collect(),
        _ => Vec::new(),
    }
}

fn converted_array(data: &ArrayData, from: &Field, to: &Field) -> Result<ArrayData> {
    if from.data_type() == to.data_type() {
        return Ok(data.clone());
    }
    if let Some(float) = SmallFloat::stored(from) {
        let singles: Vec<u32> = match float {
            SmallFloat::Brain => values::<u16>(data)
                .iter()
                .map(|w| float.single(*w))
                .collect(),
            _ => values::<u8>(data)
                .iter()
                .map(|w| float.single((*w).into()))
                .collect(),
        };
        return flat(data, DataType::Float32, Buffer::from_vec(singles));
    }
    if let Some(float) = SmallFloat::shown(from) {
        let singles = values::<u32>(data);
        let word = |(i, &single): (usize, &u32)| match float.word(single) {
            Some(word) => Ok(word),
            // What lies under a null is nobody's value.
            None if data.is_null(i) => Ok(0),
            None => Err(Error::invalid(format!(
                "{} is no {}, which this column's type is; store it as a computed number, as in \
                 'x * CAST(1 AS FLOAT) AS x'",
                f32::from_bits(single),
                float.name().trim_start_matches("pilaster.")
            ))),
        };
        let words = singles
            .iter()
            .enumerate()
            .map(word)
            .collect::<Result<Vec<u16>>>()?;
        let words = match float {
            SmallFloat::Brain => Buffer::from_vec(words),
            _ => Buffer::from_vec(words.into_iter().map(|w| w as u8).collect::<Vec<u8>>()),
        };
        return flat(data, float.words(), words);
    }
    let (own, wanted) = (children(from.data_type()), children(to.data_type()));
    let parts = data.child_data().iter().zip(own.into_iter().zip(wanted));
    let parts = parts.map(|(data, (from, to))| converted_array(data, from, to));
    let builder = data
        .clone()
        .into_builder()
        .data_type(to.data_type().clone());
    Ok(builder.child_data(parts.collect::<Result<_>>()?).build()?)
}

fn values<T: arrow::datatypes::ArrowNativeType>(data: &ArrayData) -> &[T] {
    &data.buffer::<T>(0)[..data.len()]
}

fn flat(data: &ArrayData, data_type: DataType, values: Buffer) -> Result<ArrayData> {
    let builder: ArrayDataBuilder = ArrayData::builder(data_type).len(data.len());
    Ok(builder
        .nulls(data.nulls().cloned())
        .add_buffer(values)
        .build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_one_single_and_comes_back() {
        for (float, words) in [
            (SmallFloat::Brain, 1u32 << 16),
            (SmallFloat::E4M3, 256),
            (SmallFloat::E5M2, 256),
        ] {
            for word in (0..words).map(|w| w as u16) {
                assert_eq!(
                    float.word(float.single(word)),
                    Some(word),
                    "{float:?} {word}"
                );
            }
        }
    }

    #[test]
    fn words_are_the_numbers_of_their_formats() {
        let value = |float: SmallFloat, word| f32::from_bits(float.single(word));
        assert_eq!(value(SmallFloat::Brain, 0x3fc0), 1.5);
        assert_eq!(value(SmallFloat::E4M3, 0x7e), 448.0);
        assert_eq!(value(SmallFloat::E4M3, 0x01), 2f32.powi(-9));
        assert_eq!(value(SmallFloat::E4M3, 0xb8), -1.0);
        assert_eq!(value(SmallFloat::E5M2, 0x7b), 57344.0);
        assert_eq!(value(SmallFloat::E5M2, 0x03), 3.0 * 2f32.powi(-16));
        assert_eq!(value(SmallFloat::E5M2, 0xfc), f32::NEG_INFINITY);
        assert!(value(SmallFloat::E4M3, 0xff).is_nan());
        assert!(value(SmallFloat::E5M2, 0x7d).is_nan());
        assert_eq!(SmallFloat::E4M3.word(0.3f32.to_bits()), None);
        assert_eq!(SmallFloat::Brain.word(0.3f32.to_bits()), None);
        assert_eq!(SmallFloat::E4M3.word(1e9f32.to_bits()), None);
    }
}
