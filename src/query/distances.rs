//! The distance functions of SQL: null where there is no distance.
//!
//! `array_distance`, `cosine_distance` and `inner_product` are DataFusion's, with one difference: where
//! they compute NaN (of vectors that hold NaN, or infinity where it cancels) they give null. So the rule of
//! [`known`] holds in SQL by itself: such rows meet no comparison with a distance, `ORDER BY d LIMIT k`
//! puts them after all others, aggregates pass them over, and they stand where null vectors stand. As with
//! those, descending order puts them first unless it says `NULLS LAST`, as `vector_search` does for
//! inner products.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::encoding::distance::known;

/// The functions, by the names that DataFusion knows them by.
const FUNCTIONS: [&str; 3] = ["array_distance", "cosine_distance", "inner_product"];

/// Puts functions that give null for NaN in the place of those that a session has.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    for name in FUNCTIONS {
        if let Some(of) = state.scalar_functions().get(name).cloned() {
            state.register_udf(Arc::new(ScalarUDF::new_from_impl(KnownDistance { of })))?;
        }
    }
    Ok(())
}

/// A distance function, null where that gives NaN.
#[derive(Debug, PartialEq, Eq, Hash)]
struct KnownDistance {
    of: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for KnownDistance {
    fn name(&self) -> &str {
        self.of.name()
    }

    fn aliases(&self) -> &[String] {
        self.of.aliases()
    }

    fn signature(&self) -> &Signature {
        self.of.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.of.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.of.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match self.of.invoke_with_args(args)? {
            ColumnarValue::Array(distances) => ColumnarValue::Array(nulled(distances)),
            ColumnarValue::Scalar(ScalarValue::Float64(distance)) => {
                ColumnarValue::Scalar(ScalarValue::Float64(distance.and_then(known)))
            }
            other => other,
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.of.documentation()
    }
}

fn nulled(distances: ArrayRef) -> ArrayRef {
    let Some(numbers) = distances.as_primitive_opt::<Float64Type>() else {
        return distances;
    };
    match numbers.values().iter().any(|d| known(*d).is_none()) {
        true => Arc::new(
            numbers
                .iter()
                .map(|d| d.and_then(known))
                .collect::<Float64Array>(),
        ),
        false => distances,
    }
}
