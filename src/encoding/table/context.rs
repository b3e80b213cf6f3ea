//! `pilaster.context.v1`: a column coded with probabilities that its parents select.
//!
//! Symbols stand for values, for residuals of a prediction, or for the top bits of values; a tree
//! over up to three variables (parents' values, the column's own earlier symbols) picks the static
//! table by which each symbol is rANS-coded. Form, variables, alphabet, tree and tables are the
//! column's [model](super::model); a chunk holds nothing but coded symbols.
//!
//! The one buffer is three parts, their lengths in the metadata:
//!
//! | part | content |
//! |---|---|
//! | symbols | a stream of [rANS](crate::encoding::entropy::rans) |
//! | raw | the bits that symbols leave open, least significant first, row after row |
//! | patches | rows whose value the model cannot express, with that value |
//!
//! A patched row is coded as its table's most frequent symbol with raw bits of zero, and later rows
//! see that symbol and its value: patches are put in when everything else is decoded.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::chunk::{decode, encode, row_memory};
use super::model::{ContextModel, KIND};
use crate::encoding::{Access, DecodeContext, EncodeContext, Encoding, Node, Selection};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Context;

/// Id of the encoding.
pub const ID: &str = "pilaster.context.v1";

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Bytes of the symbols.
    #[prost(uint64, tag = "1")]
    symbols: u64,
    /// Bytes of the raw bits.
    #[prost(uint64, tag = "2")]
    raw: u64,
    /// Number of patches.
    #[prost(uint64, tag = "3")]
    patches: u64,
}

impl Encoding for Context {
    fn id(&self) -> &'static str {
        ID
    }

    fn access(&self) -> Access {
        Access::Opaque
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        *data_type == DataType::Int64
    }

    /// Layouts name this encoding and bring its model, also for columns that have no parents.
    fn parents_needed(&self) -> usize {
        1
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let Some((index, model)) = context.models.latest(KIND) else {
            return Ok(None);
        };
        let Some(values) = array.as_primitive_opt::<Int64Type>() else {
            return Ok(None);
        };
        if values.null_count() > 0 {
            return Ok(None);
        }
        let model = model.parsed(KIND, |bytes| ContextModel::parse(bytes))?;
        let mut parents: Vec<&[i64]> = Vec::new();
        for parent in context.parents.iter().take(model.parents) {
            match parent.as_primitive_opt::<Int64Type>() {
                Some(p) if p.null_count() == 0 && p.len() == values.len() => {
                    parents.push(p.values());
                }
                _ => return Ok(None),
            }
        }
        if parents.len() < model.parents {
            return Ok(None);
        }
        let Some(chunk) = encode(&model, values.values(), &parents) else {
            return Ok(None);
        };
        let metadata = Metadata {
            symbols: chunk.symbols.len() as u64,
            raw: chunk.raw.len() as u64,
            patches: chunk.patched as u64,
        };
        let mut bytes = chunk.symbols;
        bytes.extend_from_slice(&chunk.raw);
        bytes.extend_from_slice(&chunk.patches);
        let mut node = Node::new(ID, values.len())
            .with_metadata(&metadata)
            .with_buffer(bytes);
        node.model = Some(index);
        node.parents = (0..model.parents as u32).collect();
        Ok(Some(node))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        node.expect(1, 0)?;
        if !self.accepts(data_type) {
            return Err(Error::corrupt(format!("{ID} cannot hold {data_type}")));
        }
        let metadata: Metadata = node.parse_metadata()?;
        let bytes = node.buffer(0)?.bytes()?;
        let parts = |bytes: &[u8], at: u64| match at <= bytes.len() as u64 {
            true => Ok(at as usize),
            false => Err(Error::corrupt(format!("{ID} is shorter than it says"))),
        };
        let (stream, rest) = bytes.split_at(parts(&bytes, metadata.symbols)?);
        let (raw, patches) = rest.split_at(parts(rest, metadata.raw)?);

        let model = context
            .model(node)?
            .parsed(KIND, |bytes| ContextModel::parse(bytes))?;
        context.reserve_rows(node.rows, row_memory(&model))?;
        let mut arrays = Vec::with_capacity(model.parents);
        for i in 0..model.parents {
            let parent = context.parent(node, i, &Selection::all())?;
            match parent.data_type() {
                DataType::Int64 if parent.null_count() == 0 => arrays.push(parent),
                _ => return Err(Error::corrupt("a parent is not a column of codes")),
            }
        }
        let parents: Vec<&[i64]> = arrays
            .iter()
            .map(|a| a.as_primitive::<Int64Type>().values().as_ref())
            .collect();
        let patches = (patches, metadata.patches);
        let values = decode(&model, node.rows, &parents, stream, raw, patches)?;
        Ok(Arc::new(Int64Array::new(values.into(), None)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Input, LATENT, Options, plan};
    use super::*;
    use crate::encoding::testing::PlainChildren;
    use crate::encoding::{Models, Profile, Registry};

    fn columns() -> Vec<Vec<i64>> {
        let a: Vec<i64> = (0..3000).map(|i| i * 7919 % 104_729 % 17).collect();
        let b = a
            .iter()
            .map(|v| if v % 5 == 0 { i64::MIN } else { v * 100 });
        let c = a.iter().enumerate().map(|(i, v)| v * 1000 + i as i64 % 7);
        vec![a.clone(), b.collect(), c.collect()]
    }

    #[test]
    fn planned_columns_come_back_through_the_encoding() {
        let columns = columns();
        let inputs: Vec<Input<'_>> = columns
            .iter()
            .map(|values| Input {
                values,
                numeric: true,
                scale: 0,
            })
            .collect();
        let options = Options {
            latent: false,
            ..Options::default()
        };
        let plan = plan(&inputs, &options);
        let mut conditioned = 0;
        for (i, column) in plan.columns.iter().enumerate() {
            let Some(model) = plan.train(i, &inputs, None) else {
                continue;
            };
            assert!(!column.parents.contains(&LATENT));
            let array = |p: usize| Arc::new(Int64Array::from(columns[p].clone())) as ArrayRef;
            let parents: Vec<ArrayRef> = column.parents.iter().map(|&p| array(p)).collect();
            let mut models = Models::default();
            models.push(Arc::new(model));
            let registry = Registry::standard();
            let mut context = EncodeContext::new(
                &PlainChildren,
                registry,
                &mut models,
                &parents,
                Profile::Archive,
            );
            let node = Context.encode(&array(i), &mut context).unwrap().unwrap();
            let parents = parents.as_slice();
            let budget = 64 * 3000 + (1 << 20);
            let context = DecodeContext::new(registry, &models, &parents, budget);
            let back = context.decode_all(&node, &DataType::Int64).unwrap();
            assert_eq!(&back, &array(i));
            let some = Selection::indices(vec![0, 5, 2999]).unwrap();
            let taken = context.decode(&node, &DataType::Int64, &some).unwrap();
            assert_eq!(&taken, &some.take(&array(i)).unwrap());
            let none = DecodeContext::new(registry, &models, &crate::encoding::NoParents, budget);
            assert_eq!(
                none.decode_all(&node, &DataType::Int64).is_ok(),
                parents.is_empty()
            );
            conditioned += usize::from(!parents.is_empty());
        }
        assert!(conditioned > 0);
    }

    #[test]
    fn without_a_model_it_declines() {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let node = crate::encoding::testing::encode(&Context, &array, Profile::Archive);
        assert!(node.is_none());
    }
}
