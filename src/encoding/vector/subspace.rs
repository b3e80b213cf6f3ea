//! `pilaster.subspace.v1`: vectors by their coefficients along a few directions, at a loss.
//!
//! `pca(M)` takes the M directions of largest variance, `project(M)` M random ones; `pca(P%)` and
//! `project(P%)` take a part of as many as vectors have values. Directions are trained on the first rows
//! of the column and stored once ([`basis`]). The coefficients are a child, encoded as the
//! rest of the spec says: `pca(50%)+lvq8`.
//!
//! # Distances
//!
//! With directions `B`, nearly orthonormal, the mean `m`, and coefficients `y`, a vector is `m + B^T y`.
//! For a query `q`, with `r = q - m` and `p = B r`:
//!
//! ```text
//! |q - m - B^T y|^2 = |r|^2 - |p|^2 + |p - y|^2 + y^T (B B^T - 1) y
//! <q, m + B^T y>    = <q, m> + <B q, y>
//! ```
//!
//! So the child's own bounds of the distance of `p` from `y`, and of the inner product, give those of the
//! vectors, without rebuilding any. Norms, for cosines, are distances from zero.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Float32Type};

use super::basis::{self, Basis, Method, dot};
use super::outliers::outliers;
use super::rows;
use crate::encoding::distance::{Distances, Metric, Query, Stage};
use crate::encoding::{
    Access, DecodeContext, EncodeContext, Encoding, Loss, Model, Node, Reads, Role, Selection,
};
use crate::error::{Error, Result};

/// See the module.
#[derive(Debug)]
pub struct Subspace;

const ID: &str = "pilaster.subspace.v1";
/// What sums in 64-bit floats may be off, in parts of the norms: far more than half a unit in the last
/// place for each of 65,536 terms.
const SUMS: f64 = 1e-10;
/// What rounding a decoded vector to 32 bits costs, in parts of its norm.
const ROUNDING: f64 = 1.0 / (1u32 << 23) as f64;
/// Largest norm, beyond which decoded values might not be finite.
const LARGEST: f64 = 1e38;

#[derive(Clone, PartialEq, prost::Message)]
struct Metadata {
    /// Values of a vector.
    #[prost(uint32, tag = "1")]
    dimension: u32,
    /// Coefficients of a vector.
    #[prost(uint32, tag = "2")]
    count: u32,
}

/// How many directions.
#[derive(Debug, Clone, Copy)]
enum Amount {
    Count(usize),
    Percent(f64),
}

impl Amount {
    fn of(self, dimension: usize) -> Result<usize> {
        match self {
            Amount::Count(count) if count > dimension => Err(Error::invalid(format!(
                "{count} directions wanted of vectors that have {dimension} values"
            ))),
            Amount::Count(count) => Ok(count),
            Amount::Percent(part) => {
                let count = (part / 100.0 * dimension as f64).round() as usize;
                Ok(count.clamp(1, dimension))
            }
        }
    }
}

/// The method and how many directions: half of them if that is not said.
fn parse(arguments: &[String]) -> Option<(Method, Amount)> {
    let (method, amount) = match arguments {
        [] => (Method::Variance, None),
        [method, amount @ ..] => {
            let method = match method.as_str() {
                "pca" => Method::Variance,
                "project" => Method::Random,
                _ => return None,
            };
            match amount {
                [] => (method, None),
                [amount] => (method, Some(amount)),
                _ => return None,
            }
        }
    };
    let amount = match amount {
        None => Amount::Percent(50.0),
        Some(text) => match text.strip_suffix('%') {
            Some(part) => {
                let part: f64 = part.trim().parse().ok()?;
                Amount::Percent(Some(part).filter(|p| *p > 0.0 && *p <= 100.0)?)
            }
            None => Amount::Count(text.parse().ok().filter(|n| *n > 0)?),
        },
    };
    Some((method, amount))
}

/// The type of the coefficients.
fn coefficients_type(count: usize) -> DataType {
    let item = Field::new("item", DataType::Float32, false);
    DataType::FixedSizeList(Arc::new(item), count as i32)
}

/// Rows on which a basis is trained, evenly spread over those that are valid and finite.
fn sample(array: &ArrayRef, dimension: usize) -> Vec<f32> {
    let list = array.as_fixed_size_list();
    let Some(values) = list.values().as_primitive_opt::<Float32Type>() else {
        return Vec::new();
    };
    let row = |i: usize| &values.values()[list.value_offset(i) as usize..][..dimension];
    let sound = |i: &usize| list.is_valid(*i) && row(*i).iter().all(|v| v.is_finite());
    let rows: Vec<usize> = (0..list.len()).filter(sound).collect();
    let step = rows.len().div_ceil(Basis::sample_rows(dimension)).max(1);
    let rows = rows.into_iter().step_by(step);
    let mut sample: Vec<f32> = rows.flat_map(|i| row(i).iter().copied()).collect();
    let far = outliers(&sample, dimension, None);
    if !far.is_empty() {
        let near = |i: usize| far.binary_search(&(i as u32)).is_err();
        let rows = sample.chunks_exact(dimension).enumerate();
        sample = rows
            .filter(|(i, _)| near(*i))
            .flat_map(|(_, row)| row.to_vec())
            .collect();
    }
    sample
}

/// The basis of a node, for vectors and coefficients of the sizes that the node states.
fn basis_of(node: &Node, context: &DecodeContext<'_>) -> Result<Arc<Basis>> {
    node.expect(0, 1)?;
    let metadata: Metadata = node.parse_metadata()?;
    let basis = context.model(node)?.parsed(basis::KIND, Basis::parse)?;
    let stated = (metadata.dimension as usize, metadata.count as usize);
    match stated == (basis.dimension(), basis.count()) {
        true => Ok(basis),
        false => Err(Error::corrupt("a basis of other vectors")),
    }
}

/// Bounds of a number.
#[derive(Debug, Clone, Copy)]
struct Between {
    low: f64,
    high: f64,
}

/// The child of a node, asked for bounds.
struct Coefficients<'a> {
    node: &'a Node,
    stage: Stage,
    selection: &'a Selection,
    context: &'a DecodeContext<'a>,
}

impl Coefficients<'_> {
    /// Bounds of the distances of the coefficients from a vector among them, and whether there are
    /// finer ones. Nothing is known of any if the vector has values beyond 32-bit floats.
    fn distances(&self, metric: Metric, from: &[f64]) -> Result<(Vec<Between>, bool)> {
        let count = self.selection.count(self.node.rows);
        let Ok(query) = Query::of_doubles(metric, from) else {
            self.context.reserve_rows(count, size_of::<Between>())?;
            let unknown = Between {
                low: f64::NAN,
                high: f64::NAN,
            };
            return Ok((vec![unknown; count], false));
        };
        let data_type = coefficients_type(from.len());
        let found =
            self.context
                .distances(self.node, &data_type, &query, self.stage, self.selection)?;
        if found.nulls.is_some() || found.upper.len() != count {
            return Err(Error::corrupt("coefficients that are null"));
        }
        let pairs = found.lower.iter().zip(&found.upper);
        let between = |(low, high): (&f32, &f32)| Between {
            low: f64::from(*low),
            high: f64::from(*high),
        };
        Ok((pairs.map(between).collect(), found.finer))
    }

    /// Bounds of the exact Euclidean distances of the decoded vectors from a query that differs from the
    /// mean by something of a squared norm, and so much along the directions.
    fn euclidean(&self, basis: &Basis, along: &[f64], square: f64) -> Result<(Vec<Between>, bool)> {
        let own = dot(along, along);
        let (own_norm, slip) = (own.sqrt(), SUMS * (square.sqrt() + own.sqrt()));
        let (mut found, finer) = self.distances(Metric::L2, along)?;
        for bounds in &mut found {
            let (low, high) = (bounds.low - slip, bounds.high + slip);
            let low = if low < 0.0 { 0.0 } else { low };
            // At least the norm of the coefficients.
            let reach = own_norm + high;
            let slack = basis.slack() * reach * reach + SUMS * (square + own);
            let rounding = ROUNDING * (basis.square().sqrt() + (1.0 + basis.slack()) * reach);
            let squares = (square - own + low * low - slack).max(0.0);
            *bounds = Between {
                // NaN where the child knows nothing.
                low: squares.sqrt() - rounding + 0.0 * high,
                high: (square - own + high * high + slack).max(0.0).sqrt() + rounding,
            };
        }
        Ok((found, finer))
    }
}

impl Encoding for Subspace {
    fn id(&self) -> &'static str {
        ID
    }

    fn called(&self, word: &str) -> Option<Vec<String>> {
        match word {
            "pca" | "project" => Some(vec![word.to_owned()]),
            _ => (word == self.name()).then(Vec::new),
        }
    }

    fn loss(&self, _: &[String]) -> Loss {
        // How many bits a value takes is decided by the child.
        Loss::Quantized {
            bits: 0,
            metric: "l2",
        }
    }

    fn shares(&self) -> bool {
        true
    }

    fn access(&self) -> Access {
        Access::PerValue
    }

    fn accepts(&self, data_type: &DataType) -> bool {
        rows::is_vector(data_type)
    }

    fn encode(&self, array: &ArrayRef, context: &mut EncodeContext<'_>) -> Result<Option<Node>> {
        let (method, amount) = parse(&context.arguments).ok_or_else(|| {
            Error::invalid(format!(
                "({}) is no number of directions; write pca(64), pca(50%), project(64) or project(50%)",
                context.arguments.get(1..).unwrap_or_default().join(",")
            ))
        })?;
        let Some((values, dimension)) = rows::finite(array) else {
            return Ok(None);
        };
        let count = amount.of(dimension)?;
        let fits = |basis: &Basis| {
            (basis.method(), basis.dimension(), basis.count()) == (method, dimension, count)
        };
        let known = context.models.iter().enumerate().find_map(|(i, model)| {
            let basis = model.parsed(basis::KIND, Basis::parse).ok()?;
            fits(&basis).then_some((i as u32, basis))
        });
        let (number, basis) = match known {
            Some(known) => known,
            None => {
                let all = context.training.as_ref();
                let all = all.filter(|all| all.data_type() == array.data_type());
                let sample = sample(all.unwrap_or(array), dimension);
                if sample.is_empty() {
                    return Ok(None);
                }
                let basis = Basis::fit(method, &sample, dimension, count)?;
                let model = Arc::new(Model::new(basis::KIND, basis.to_bytes()));
                (context.models.push(model), Arc::new(basis))
            }
        };
        let coefficients = basis.coefficients(values.values());
        let largest = coefficients.chunks_exact(count).fold(0f64, |largest, row| {
            let square: f64 = row.iter().map(|y| f64::from(*y) * f64::from(*y)).sum();
            largest.max(square)
        });
        let reach = basis.square().sqrt() + largest.sqrt() * (1.0 + basis.slack());
        if reach.is_nan() || reach > LARGEST {
            return Ok(None);
        }
        let DataType::FixedSizeList(item, size) = coefficients_type(count) else {
            return Ok(None);
        };
        let coefficients = Arc::new(Float32Array::from(coefficients));
        let list = FixedSizeListArray::try_new(item, size, coefficients, None)?;
        let list: ArrayRef = Arc::new(list);
        let child = context.child(ID, &list, Role::Values)?;
        let mut node = Node::new(ID, array.len())
            .with_metadata(&Metadata {
                dimension: dimension as u32,
                count: count as u32,
            })
            .with_child(child);
        node.model = Some(number);
        Ok(Some(node))
    }

    fn decode(
        &self,
        node: &Node,
        data_type: &DataType,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        self.decode_selection(node, data_type, &Selection::all(), context)
    }

    fn decode_selection(
        &self,
        node: &Node,
        data_type: &DataType,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<ArrayRef> {
        let basis = basis_of(node, context)?;
        let elements = rows::elements(selection, basis.dimension(), data_type)?;
        let child = node.child_of(0, node.rows)?;
        if elements.is_empty() {
            let nothing = |_, _: &mut Vec<f32>| Ok(());
            return rows::decode(node, data_type, selection, &elements, context, nothing);
        }
        let count = basis.count();
        let rows_only = Selection::from(selection.rows.clone());
        let coefficients = context.decode(child, &coefficients_type(count), &rows_only)?;
        let Some((values, _)) = rows::numbers(&coefficients).filter(|(_, size)| *size == count)
        else {
            return Err(Error::corrupt("coefficients that are none"));
        };
        let mut left = values.values().chunks_exact(count);
        context.reserve_rows(count + elements.len(), size_of::<f64>())?;
        let mut sums = Vec::with_capacity(count + elements.len());
        rows::decode(node, data_type, selection, &elements, context, |_, out| {
            let row = left
                .next()
                .ok_or_else(|| Error::corrupt("coefficients of fewer rows"))?;
            basis.restore(row, &elements, &mut sums, out);
            Ok(())
        })
    }

    fn distances(
        &self,
        node: &Node,
        _: &DataType,
        query: &Query,
        stage: Stage,
        selection: &Selection,
        context: &DecodeContext<'_>,
    ) -> Result<Option<Distances>> {
        let basis = basis_of(node, context)?;
        rows::check_query(query, basis.dimension(), selection)?;
        let child = Coefficients {
            node: node.child_of(0, node.rows)?,
            stage,
            selection,
            context,
        };
        let values: Vec<f64> = query.values().iter().map(|v| f64::from(*v)).collect();
        if query.metric() == Metric::L2 {
            let pairs = values.iter().zip(basis.mean());
            let off: Vec<f64> = pairs.map(|(q, m)| q - m).collect();
            let (found, finer) = child.euclidean(&basis, &basis.along(&off), dot(&off, &off))?;
            let bounds = found.into_iter().map(|b| (b.low, b.high));
            return Ok(Some(Distances {
                finer,
                ..query.of_distances(bounds)
            }));
        }
        let centre: Vec<f64> = basis.centre().iter().map(|c| -c).collect();
        let (lengths, _) = child.euclidean(&basis, &centre, basis.square())?;
        let along = basis.along(&values);
        let (found, finer) = child.distances(Metric::InnerProduct, &along)?;
        let base = dot(&values, basis.mean());
        let norm = dot(&values, &values).sqrt();
        let count = found.len();
        let (mut products, mut slack) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut norms = Vec::with_capacity(count);
        for (product, length) in found.into_iter().zip(lengths) {
            // The child's distance is the negative product.
            let middle = base - 0.5 * (product.low + product.high);
            let reach = length.high + basis.square().sqrt();
            let off = 0.5 * (product.high - product.low)
                + (ROUNDING + SUMS) * norm * (reach + length.high)
                + ROUNDING * (middle.abs() + base.abs());
            // A cosine is found with the middle of the norm's bounds; what that may be off is added to
            // what the product may be.
            let (own, off) = match query.metric() {
                Metric::Cosine => {
                    let own = 0.5 * (length.low.max(0.0) + length.high);
                    let half = length.high - own;
                    let off = (off + middle.abs() * half / own) * own / (own - half);
                    // Where the norm may be zero nothing is known, which a norm of zero says.
                    (if own > half { own } else { 0.0 }, off)
                }
                _ => (length.high, off),
            };
            products.push(middle as f32);
            slack.push((off * (1.0 + ROUNDING)) as f32);
            norms.push(own as f32);
        }
        Ok(Some(Distances {
            finer,
            ..query.of_products(&products, &slack, &norms)
        }))
    }

    fn reads(&self, _: &Node, selection: &Selection) -> Reads {
        let nothing = selection.elements.as_ref().is_some_and(|e| e.is_empty());
        let rows = (!nothing).then(|| Selection::from(selection.rows.clone()));
        Reads::Parts {
            buffers: Vec::new(),
            children: vec![rows],
        }
    }
}
