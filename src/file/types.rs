//! Arrow fields and types to and from their messages.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};

use super::proto;
use crate::error::{Error, Result};

/// Metadata as pairs, sorted by key so that equal input gives equal bytes.
pub fn pairs(metadata: &HashMap<String, String>) -> Vec<proto::Pair> {
    let mut pairs: Vec<_> = metadata
        .iter()
        .map(|(key, value)| proto::Pair {
            key: key.clone(),
            value: value.clone(),
        })
        .collect();
    pairs.sort_by(|a, b| a.key.cmp(&b.key));
    pairs
}

/// Pairs as metadata.
pub fn metadata(pairs: &[proto::Pair]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|p| (p.key.clone(), p.value.clone()))
        .collect()
}

/// The message of a field.
pub fn field_to_proto(field: &Field) -> Result<proto::Field> {
    let message = type_to_proto(field.data_type())?;
    Ok(proto::Field {
        name: field.name().clone(),
        data_type: Some(proto::Type {
            // Of dictionaries it says that their order means something; maps carry it themselves.
            flag: field.dict_is_ordered().unwrap_or(message.flag),
            ..message
        }),
        nullable: field.is_nullable(),
        metadata: pairs(field.metadata()),
    })
}

/// The field of a message.
pub fn field_from_proto(field: &proto::Field) -> Result<FieldRef> {
    let message = field
        .data_type
        .as_ref()
        .ok_or_else(|| Error::corrupt(format!("field '{}' has no type", field.name)))?;
    let data_type = type_from_proto(message)?;
    let ordered = matches!(data_type, DataType::Dictionary(..)) && message.flag;
    Ok(Arc::new(
        Field::new(&field.name, data_type, field.nullable)
            .with_metadata(metadata(&field.metadata))
            .with_dict_is_ordered(ordered),
    ))
}

/// Types without parameters and their ids.
const SIMPLE: [(u32, DataType); 19] = [
    (1, DataType::Null),
    (2, DataType::Boolean),
    (3, DataType::Int8),
    (4, DataType::Int16),
    (5, DataType::Int32),
    (6, DataType::Int64),
    (8, DataType::UInt8),
    (9, DataType::UInt16),
    (10, DataType::UInt32),
    (11, DataType::UInt64),
    (12, DataType::Float16),
    (13, DataType::Float32),
    (14, DataType::Float64),
    (23, DataType::Utf8),
    (24, DataType::LargeUtf8),
    (25, DataType::Utf8View),
    (26, DataType::Binary),
    (37, DataType::Date32),
    (38, DataType::Date64),
];

fn unit_to_proto(unit: &TimeUnit) -> u32 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    }
}

fn unit_from_proto(unit: u32) -> Result<TimeUnit> {
    match unit {
        0 => Ok(TimeUnit::Second),
        1 => Ok(TimeUnit::Millisecond),
        2 => Ok(TimeUnit::Microsecond),
        3 => Ok(TimeUnit::Nanosecond),
        _ => Err(Error::corrupt(format!("time unit {unit}"))),
    }
}

fn type_to_proto(data_type: &DataType) -> Result<proto::Type> {
    let with = |id: u32| proto::Type {
        id,
        ..Default::default()
    };
    let decimal = |id: u32, precision: u8, scale: i8| proto::Type {
        precision: u32::from(precision),
        scale: i32::from(scale),
        ..with(id)
    };
    let timed = |id: u32, unit: &TimeUnit| proto::Type {
        unit: unit_to_proto(unit),
        ..with(id)
    };
    let nested = |id: u32, field: &Field| -> Result<proto::Type> {
        Ok(proto::Type {
            children: vec![field_to_proto(field)?],
            ..with(id)
        })
    };
    if let Some((id, _)) = SIMPLE.iter().find(|(_, t)| t == data_type) {
        return Ok(with(*id));
    }
    Ok(match data_type {
        DataType::LargeBinary => with(27),
        DataType::BinaryView => with(28),
        DataType::FixedSizeBinary(size) => proto::Type {
            size: *size,
            ..with(29)
        },
        DataType::Decimal32(p, s) => decimal(15, *p, *s),
        DataType::Decimal64(p, s) => decimal(16, *p, *s),
        DataType::Decimal128(p, s) => decimal(17, *p, *s),
        DataType::Decimal256(p, s) => decimal(18, *p, *s),
        DataType::Time32(unit) => timed(19, unit),
        DataType::Time64(unit) => timed(20, unit),
        DataType::Duration(unit) => timed(21, unit),
        DataType::Timestamp(unit, zone) => proto::Type {
            zone: zone.as_ref().map(|z| z.to_string()),
            ..timed(39, unit)
        },
        DataType::Interval(unit) => proto::Type {
            unit: match unit {
                IntervalUnit::YearMonth => 0,
                IntervalUnit::DayTime => 1,
                IntervalUnit::MonthDayNano => 2,
            },
            ..with(22)
        },
        DataType::List(field) => nested(31, field)?,
        DataType::LargeList(field) => nested(32, field)?,
        DataType::FixedSizeList(field, size) => proto::Type {
            size: *size,
            ..nested(33, field)?
        },
        DataType::Struct(fields) => proto::Type {
            children: fields
                .iter()
                .map(|f| field_to_proto(f))
                .collect::<Result<_>>()?,
            ..with(34)
        },
        DataType::Map(field, sorted) => proto::Type {
            flag: *sorted,
            ..nested(35, field)?
        },
        DataType::Dictionary(key, value) => proto::Type {
            key: Some(Box::new(type_to_proto(key)?)),
            value: Some(Box::new(type_to_proto(value)?)),
            ..with(36)
        },
        other => return Err(Error::invalid(format!("type {other} cannot be stored"))),
    })
}

fn type_from_proto(message: &proto::Type) -> Result<DataType> {
    if let Some((_, simple)) = SIMPLE.iter().find(|(id, _)| *id == message.id) {
        return Ok(simple.clone());
    }
    let precision =
        u8::try_from(message.precision).map_err(|_| Error::corrupt("decimal precision"));
    let scale = i8::try_from(message.scale).map_err(|_| Error::corrupt("decimal scale"));
    let decimal = |most: u8| match (&precision, &scale) {
        (Ok(p), Ok(s)) if (1..=most).contains(p) && s.unsigned_abs() <= most => Ok((*p, *s)),
        _ => Err(Error::corrupt(format!(
            "decimal of precision {} and scale {}",
            message.precision, message.scale
        ))),
    };
    let child = || match message.children.as_slice() {
        [one] => field_from_proto(one),
        _ => Err(Error::corrupt("a nested type needs exactly one child")),
    };
    let size = || match message.size {
        n if n >= 0 => Ok(n),
        n => Err(Error::corrupt(format!("fixed size {n}"))),
    };
    let inner = |t: &Option<Box<proto::Type>>| match t {
        Some(t) => type_from_proto(t),
        None => Err(Error::corrupt("a dictionary needs a key and a value type")),
    };
    Ok(match message.id {
        15 => decimal(9).map(|(p, s)| DataType::Decimal32(p, s))?,
        16 => decimal(18).map(|(p, s)| DataType::Decimal64(p, s))?,
        17 => decimal(38).map(|(p, s)| DataType::Decimal128(p, s))?,
        18 => decimal(76).map(|(p, s)| DataType::Decimal256(p, s))?,
        19 => match unit_from_proto(message.unit)? {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(unit),
            _ => return Err(Error::corrupt("32-bit time of a fine unit")),
        },
        20 => match unit_from_proto(message.unit)? {
            unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond) => DataType::Time64(unit),
            _ => return Err(Error::corrupt("64-bit time of a coarse unit")),
        },
        21 => DataType::Duration(unit_from_proto(message.unit)?),
        22 => DataType::Interval(match message.unit {
            0 => IntervalUnit::YearMonth,
            1 => IntervalUnit::DayTime,
            2 => IntervalUnit::MonthDayNano,
            other => return Err(Error::corrupt(format!("interval unit {other}"))),
        }),
        27 => DataType::LargeBinary,
        28 => DataType::BinaryView,
        29 => DataType::FixedSizeBinary(size()?),
        31 => DataType::List(child()?),
        32 => DataType::LargeList(child()?),
        33 => DataType::FixedSizeList(child()?, size()?),
        34 => DataType::Struct(
            message
                .children
                .iter()
                .map(field_from_proto)
                .collect::<Result<Fields>>()?,
        ),
        35 => {
            let entries = child()?;
            match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {}
                _ => return Err(Error::corrupt("a map's entries must be a pair")),
            }
            DataType::Map(entries, message.flag)
        }
        36 => {
            let key = inner(&message.key)?;
            if !key.is_dictionary_key_type() {
                return Err(Error::corrupt(format!("dictionary keys of {key}")));
            }
            DataType::Dictionary(Box::new(key), Box::new(inner(&message.value)?))
        }
        39 => DataType::Timestamp(
            unit_from_proto(message.unit)?,
            message.zone.as_deref().map(Arc::from),
        ),
        other => {
            return Err(Error::unsupported(format!(
                "Arrow type {other} is not known to this version"
            )));
        }
    })
}
