//! The laws that every encoding keeps, run on every registered one unasked.
//!
//! Each encoding is given every generated array of each type that it accepts; declining one is fine,
//! declining all is not. What was encoded is kept for the process, and each law is a test over it.

use std::sync::{Arc, OnceLock};

use arrow::array::*;
use arrow::datatypes::DataType;
use pilaster::encoding::planner::Planner;
use pilaster::encoding::{
    DecodeContext, EncodeContext, Encoding, Loss, Model, Models, Node, Profile, Registry, physical,
};

use crate::generate::{self, Sample, logical};
use crate::guard::guarded;

mod laws;
mod logical_types;
pub mod prepare;
mod random;
mod statistics;

/// The encoding that takes arrays only if they have nulls.
pub const NULLABLE: &str = "pilaster.nullable.v1";
/// The encoding that takes arrays with nulls too; all others get arrays without.
pub const RESTORE: &str = "pilaster.restore.v1";

/// An array as one encoding stored it.
pub struct Encoded {
    pub encoding: &'static Arc<dyn Encoding>,
    pub name: String,
    /// What was given.
    pub given: ArrayRef,
    /// What must come back: the same, unless the encoding is lossy.
    pub array: ArrayRef,
    pub node: Node,
    pub models: Models,
    pub parents: Vec<ArrayRef>,
}

impl Encoded {
    /// Runs code with a context for decoding, models parsed afresh from their bytes.
    pub fn with_context<T>(&self, code: impl FnOnce(&DecodeContext<'_>) -> T) -> T {
        let models = fresh(&self.models);
        let budget = budget(&self.array);
        let parents: &[ArrayRef] = &self.parents;
        code(&DecodeContext::new(
            Registry::standard(),
            &models,
            &parents,
            budget,
        ))
    }

    pub fn data_type(&self) -> &DataType {
        self.array.data_type()
    }
}

/// The same models as a reader would have them.
pub fn fresh(models: &Models) -> Models {
    let mut fresh = Models::default();
    for model in models.iter() {
        fresh.push(Arc::new(Model::new(model.kind(), model.bytes().clone())));
    }
    fresh
}

/// What decoding an array may allocate: in proportion to the array.
pub fn budget(array: &ArrayRef) -> u64 {
    32 * array.get_array_memory_size() as u64 + (1 << 20)
}

/// Encodes with one encoding at the root; `None` if it declines.
pub fn encode(
    encoding: &'static Arc<dyn Encoding>,
    name: &str,
    array: &ArrayRef,
    profile: Profile,
) -> Result<Option<Encoded>, String> {
    let prepared = prepare::prepare(encoding.as_ref(), array)?;
    let Some(prepare::Prepared {
        mut models,
        parents,
    }) = prepared
    else {
        return Ok(None);
    };
    let planner = Planner::default();
    let mut context = EncodeContext::new(
        &planner,
        Registry::standard(),
        &mut models,
        &parents,
        profile,
    );
    let node = encoding
        .encode(array, &mut context)
        .map_err(|e| e.to_string())?;
    Ok(node.map(|node| Encoded {
        encoding,
        name: name.to_owned(),
        given: Arc::clone(array),
        array: Arc::clone(array),
        node,
        models,
        parents,
    }))
}

/// The arrays that an encoding is tried on.
pub fn samples_for(encoding: &dyn Encoding) -> Vec<Sample> {
    let mut samples = Vec::new();
    for data_type in generate::leaf_types() {
        if encoding.accepts(&data_type) {
            samples.extend(generate::leaves(&data_type));
        }
    }
    for data_type in logical::nested_types().into_iter().chain([DataType::Null]) {
        if encoding.accepts(&data_type) {
            samples.extend(logical::samples(&data_type, 300).into_iter().map(bare));
            samples.extend(logical::whole_vectors(&data_type, 300));
        }
    }
    let with_nulls = |(i, s): (usize, &Sample)| Sample {
        array: generate::with_nulls(&s.array, [0.02, 0.5, 1.0][i % 3], i as u64),
        name: format!("{} with nulls", s.name),
    };
    match encoding.id() {
        NULLABLE => samples.iter().enumerate().map(with_nulls).collect(),
        RESTORE => {
            let nulls: Vec<Sample> = samples.iter().enumerate().map(with_nulls).collect();
            samples.extend(nulls);
            samples
        }
        _ => samples,
    }
}

/// The sample without the nulls of its own level.
fn bare(sample: Sample) -> Sample {
    Sample {
        name: sample.name,
        array: without_nulls(&sample.array),
    }
}

/// An array without the nulls of its own level; what lay under them is now data.
pub fn without_nulls(array: &ArrayRef) -> ArrayRef {
    let data = array.to_data().into_builder().nulls(None);
    make_array(data.build().unwrap())
}

/// Everything that every encoding made of every array, and what went wrong.
pub struct Corpus {
    pub encoded: Vec<Encoded>,
    pub failures: Vec<(&'static str, String)>,
}

/// The corpus of this process.
pub fn corpus() -> &'static Corpus {
    static CORPUS: OnceLock<Corpus> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let mut corpus = Corpus {
            encoded: Vec::new(),
            failures: Vec::new(),
        };
        for encoding in Registry::standard().iter() {
            for sample in samples_for(encoding.as_ref()) {
                let outcome =
                    guarded(|| encode(encoding, &sample.name, &sample.array, Profile::Balanced));
                let outcome = outcome.result.and_then(|r| r);
                match outcome.and_then(|e| e.map(as_stored).transpose()) {
                    Ok(Some(encoded)) => corpus.encoded.push(encoded),
                    Ok(None) => {}
                    Err(e) => corpus
                        .failures
                        .push((encoding.id(), format!("{}: {e}", sample.name))),
                }
            }
        }
        corpus
    })
}

/// What a lossy encoding stored is its declared distance from what it was given; from then on the
/// decoded values are what all laws are about.
pub fn as_stored(mut encoded: Encoded) -> Result<Encoded, String> {
    let loss = encoded.encoding.loss(&[]);
    if loss.is_exact() {
        return Ok(encoded);
    }
    let data_type = encoded.data_type().clone();
    let decoded = encoded
        .with_context(|c| c.decode_all(&encoded.node, &data_type))
        .map_err(|e| e.to_string())?;
    for (given, stored) in floats(&encoded.array).into_iter().zip(floats(&decoded)) {
        let off = (given - stored).abs();
        let within = match loss {
            Loss::AbsoluteError(bound) => off <= bound,
            Loss::RelativeError(bound) => off <= bound * given.abs(),
            _ => stored.is_finite(),
        };
        if given.to_bits() != stored.to_bits() && !within {
            return Err(format!("{given} is stored as {stored}, declared {loss:?}"));
        }
    }
    encoded.array = decoded;
    Ok(encoded)
}

/// All numbers below an array.
fn floats(array: &ArrayRef) -> Vec<f64> {
    let leaf = match array.as_fixed_size_list_opt() {
        Some(list) => return floats(list.values()),
        None => arrow::compute::cast(array, &DataType::Float64).unwrap(),
    };
    leaf.as_primitive::<arrow::datatypes::Float64Type>()
        .iter()
        .map(|v| v.unwrap_or(0.0))
        .collect()
}

/// Runs a law on the whole corpus and fails with what broke it, some cases for each encoding.
pub fn law(code: impl Fn(&Encoded) -> Result<(), String>) {
    let mut failures = Vec::new();
    for encoded in &corpus().encoded {
        let outcome = guarded(|| code(encoded));
        if let Err(e) = outcome.result.and_then(|r| r) {
            failures.push((encoded.encoding.id(), format!("{}: {e}", encoded.name)));
        }
    }
    report(&failures);
}

/// Fails if there are failures, naming a few for each encoding.
pub fn report(failures: &[(&'static str, String)]) {
    let mut text = String::new();
    let mut ids: Vec<_> = failures.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let of: Vec<_> = failures.iter().filter(|(i, _)| *i == id).collect();
        text.push_str(&format!("\n{id}: {} failures", of.len()));
        for (_, what) in of.iter().take(4) {
            let cut = what.char_indices().nth(400).map_or(what.len(), |(i, _)| i);
            text.push_str(&format!("\n    {}", &what[..cut]));
        }
    }
    assert!(failures.is_empty(), "{text}\n");
}

/// Whether an array can be compared with a value.
pub fn is_comparable(data_type: &DataType) -> bool {
    physical::is_leaf(data_type)
}
