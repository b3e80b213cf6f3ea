//! How the table of a KV file is stored: zones of 256 rows, and layers by the exact float coder
//! unless a spec asks for something else.
//!
//! Layers under `klt(PROFILE)` become two columns each: a hidden one of integer codes, and the
//! visible one, derived from it (values also from the codes of their layer's keys).

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Int16Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, UInt32Type};
use arrow::record_batch::RecordBatch;

use super::cache::{Shape, Side};
use super::digest::CHUNK_TOKENS;
use super::profile::KvProfile;
use super::table::{self, KEYS, POSITION};
use crate::encoding::grid::GROUP_KEY;
use crate::encoding::kv::format::Format;
use crate::encoding::kv::klt::Quality;
use crate::encoding::kv::transform::{Parent, exact_rows, quantize};
use crate::encoding::kv::{coefficients, klt};
use crate::encoding::{Model, Spec};
use crate::error::{Error, Result};
use crate::file::write::glob;
use crate::file::{ColumnData, ColumnRole, ColumnSpec, Layout, PlainLayout};

/// How a layer's keys or values are stored.
#[derive(Debug, Clone)]
enum Storage {
    /// By the encoding that splits exponents from mantissas.
    Exact,
    /// As a spec says.
    Asked,
    /// By transform codes.
    Transform {
        profile: Arc<KvProfile>,
        step: f64,
        words: String,
        /// The file names the profile's parts and does not hold them.
        outside: bool,
    },
}

/// Columns of a KV file. All have the same chunks, and layers can see the positions of their rows, so
/// that the encodings know where sequences start.
#[derive(Debug)]
pub struct KvLayout {
    shape: Shape,
    /// Keys and values of each layer.
    storage: Vec<Storage>,
    started: bool,
}

/// The encoding of layers that no spec names.
const EXACT: &str = "pilaster.exponent.v1";
/// First positions of a sequence that transform codes leave exact.
const SINKS: u32 = 4;

/// A named profile, for specs that call it by that name rather than by its path.
pub type NamedProfile = (String, Arc<KvProfile>);

impl KvLayout {
    /// A layout for caches of this shape and model, written with these specs. Fails if a profile
    /// cannot be read or is not for such caches.
    pub fn new(
        specs: &[(String, String)],
        profiles: &[NamedProfile],
        model: &str,
        shape: &Shape,
    ) -> Result<Self> {
        let mut parsed = Vec::with_capacity(specs.len());
        let mut read: Vec<NamedProfile> = profiles.to_vec();
        for (pattern, words) in specs {
            parsed.push((pattern.as_str(), storage(words, &mut read, model, shape)?));
        }
        let mut storage = Vec::with_capacity(2 * shape.layers);
        for layer in 0..shape.layers {
            for side in Side::BOTH {
                let name = format!("{}{layer}", side.letter());
                // The first pattern that matches counts, as for the writer.
                let found = parsed.iter().find(|(pattern, _)| glob(pattern, &name));
                storage.push(found.map_or(Storage::Exact, |(_, s)| s.clone()));
            }
            let [.., keys, values] = storage.as_slice() else {
                continue;
            };
            let predicted = match values {
                Storage::Transform { profile, .. } => {
                    !profile.slice(layer, Side::V).predict.is_empty()
                }
                _ => false,
            };
            let same = match (keys, values) {
                (Storage::Transform { profile: a, .. }, Storage::Transform { profile: b, .. }) => {
                    Arc::ptr_eq(a, b)
                }
                _ => false,
            };
            if predicted && !same {
                return Err(Error::invalid(format!(
                    "v{layer} is coded given k{layer}: ask for the same profile for both, as in \
                     --encode 'k*=klt(PROFILE)' --encode 'v*=klt(PROFILE)'"
                )));
            }
        }
        Ok(Self {
            shape: *shape,
            storage,
            started: false,
        })
    }

    /// The profiles that layers are coded by.
    pub fn profiles(&self) -> Vec<Arc<KvProfile>> {
        let mut used: Vec<Arc<KvProfile>> = Vec::new();
        for storage in &self.storage {
            if let Storage::Transform { profile, .. } = storage
                && !used.iter().any(|p| Arc::ptr_eq(p, profile))
            {
                used.push(Arc::clone(profile));
            }
        }
        used
    }

    fn at(&self, layer: usize, side: Side) -> &Storage {
        &self.storage[2 * layer + usize::from(side == Side::V)]
    }

    /// The codes of a layer's keys and values, as far as they are transformed.
    fn codes(&self, section: &RecordBatch, layer: usize) -> Result<[Option<Coded>; 2]> {
        let positions = section.column(POSITION);
        let positions = positions
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(|| Error::invalid("positions are 32-bit integers"))?
            .values();
        let mut keys: Option<Coded> = None;
        let mut coded = [None, None];
        for side in Side::BOTH {
            let Storage::Transform { profile, step, .. } = self.at(layer, side) else {
                continue;
            };
            let slice = profile.slice(layer, side);
            let array = section.column(table::column(layer, side));
            let values = Format::of_lists(array.data_type()).and_then(|f| f.floats(array));
            let Some((values, _)) = values else {
                return Err(Error::unsupported(format!(
                    "transform codes of {}",
                    array.data_type()
                )));
            };
            let predicted = !slice.predict.is_empty();
            let parent = keys.as_ref().filter(|_| predicted);
            let quality = Quality {
                step: slice.step(*step),
                parent_step: parent.map_or(0, |k| k.quality.step),
                sinks: SINKS,
            };
            let exact = exact_rows(slice, &values, positions, quality.sinks);
            let parent = parent.map(|k| Parent {
                codes: &k.levels,
                step: k.quality.step,
            });
            let levels = quantize(slice, quality.step, &values, positions, &exact, parent);
            let own = Coded { levels, quality };
            if side == Side::K {
                keys = Some(own.clone());
            }
            coded[usize::from(side == Side::V)] = Some(own);
        }
        Ok(coded)
    }
}

/// Codes of a column's rows.
#[derive(Debug, Clone)]
struct Coded {
    levels: Vec<i16>,
    quality: Quality,
}

/// Type of the codes of a column.
fn code_type(profile: &KvProfile, layer: usize, side: Side) -> DataType {
    let slice = profile.slice(layer, side);
    let metadata = [(GROUP_KEY.to_owned(), slice.group.to_string())].into();
    let item = Field::new("item", DataType::Int16, false).with_metadata(metadata);
    DataType::FixedSizeList(Arc::new(item), slice.width as i32)
}

fn lists(data_type: DataType, values: Vec<i16>) -> Result<ArrayRef> {
    let DataType::FixedSizeList(item, size) = data_type else {
        return Err(Error::invalid(format!("codes of type {data_type}")));
    };
    let values = Arc::new(Int16Array::from(values));
    Ok(Arc::new(FixedSizeListArray::try_new(
        item, size, values, None,
    )?))
}

/// What the words of a spec ask for.
fn storage(
    words: &str,
    profiles: &mut Vec<NamedProfile>,
    model: &str,
    shape: &Shape,
) -> Result<Storage> {
    let spec: Spec = words.parse()?;
    if spec.is_exact() {
        return Ok(Storage::Exact);
    }
    let [part] = spec.parts() else {
        return Ok(Storage::Asked);
    };
    if part.name != "klt" {
        return Ok(Storage::Asked);
    }
    let (arguments, outside) = match part.arguments.as_slice() {
        [arguments @ .., last] if last == "outside" => (arguments, true),
        all => (all, false),
    };
    let (name, step) = match arguments {
        [name] => (name, None),
        [name, step] => {
            let sound = step.parse::<f64>().ok().filter(|s| *s > 0.0 && *s < 100.0);
            let step = sound.ok_or_else(|| {
                Error::invalid(format!(
                    "'{step}' is no step; write klt(PROFILE,0.3) for a third of a standard deviation"
                ))
            })?;
            (name, Some(step))
        }
        _ => {
            return Err(Error::invalid(
                "klt takes a profile, as in klt(model.kvp), klt(model.kvp,0.3) or \
                 klt(model.kvp,0.3,outside)",
            ));
        }
    };
    let known = profiles.iter().find(|(known, _)| known == name);
    let profile = match known {
        Some((_, profile)) => Arc::clone(profile),
        None => {
            let profile = Arc::new(KvProfile::open(Path::new(name))?);
            profiles.push((name.clone(), Arc::clone(&profile)));
            profile
        }
    };
    profile.fits(model, shape)?;
    let step = step.unwrap_or(profile.step());
    Ok(Storage::Transform {
        profile,
        step,
        words: match outside {
            true => format!("klt({name},{step},outside)"),
            false => format!("klt({name},{step})"),
        },
        outside,
    })
}

impl Layout for KvLayout {
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        let mut plain = PlainLayout.columns(first)?.into_iter();
        let mut specs: Vec<ColumnSpec> = plain.by_ref().take(KEYS).collect();
        let mut keys = None;
        for (i, mut spec) in plain.enumerate() {
            let (layer, side) = (i / 2, Side::BOTH[i % 2]);
            match self.at(layer, side) {
                Storage::Exact => {}
                Storage::Asked => spec.parents = vec![POSITION],
                Storage::Transform { profile, words, .. } => {
                    let codes = specs.len();
                    let data_type = code_type(profile, layer, side);
                    let name = format!("${}.q", spec.field.name());
                    specs.push(ColumnSpec {
                        field: Arc::new(Field::new(name, data_type, false)),
                        role: ColumnRole::Hidden,
                        parents: Vec::new(),
                        group: None,
                        words: None,
                    });
                    spec.role = ColumnRole::Derived;
                    spec.words = Some(words.clone());
                    spec.parents = vec![codes];
                    let predicted = !profile.slice(layer, side).predict.is_empty();
                    spec.parents.extend(keys.filter(|_| predicted));
                    spec.parents.push(POSITION);
                    keys = (side == Side::K).then_some(codes);
                }
            }
            specs.push(spec);
        }
        specs.iter_mut().for_each(|spec| spec.group = Some(0));
        Ok(specs)
    }

    fn section(&mut self, section: &RecordBatch) -> Result<Vec<ColumnData>> {
        let mut plain = PlainLayout.section(section)?.into_iter();
        let mut data: Vec<ColumnData> = plain.by_ref().take(KEYS).collect();
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let layers: Vec<usize> = (0..self.shape.layers).collect();
        let mut coded = Vec::with_capacity(self.shape.layers);
        std::thread::scope(|scope| {
            let this = &*self;
            let share = layers.len().div_ceil(threads).max(1);
            let work = |layers: &[usize]| -> Vec<Result<[Option<Coded>; 2]>> {
                layers.iter().map(|&l| this.codes(section, l)).collect()
            };
            let parts: Vec<_> = layers
                .chunks(share)
                .map(|layers| scope.spawn(move || work(layers)))
                .collect();
            for part in parts {
                coded.extend(part.join().unwrap_or_default());
            }
        });
        if coded.len() != self.shape.layers {
            return Err(Error::invalid("transforming a layer failed unexpectedly"));
        }
        let mut coded = coded.into_iter();
        let mut layer_codes = [None, None];
        for (i, mut column) in plain.enumerate() {
            let (layer, side) = (i / 2, Side::BOTH[i % 2]);
            if side == Side::K {
                layer_codes = coded.next().transpose()?.unwrap_or_default();
            }
            match self.at(layer, side) {
                Storage::Exact => column.encoding = Some(EXACT),
                Storage::Asked => {}
                Storage::Transform {
                    profile, outside, ..
                } => {
                    let Some(own) = layer_codes[i % 2].take() else {
                        return Err(Error::invalid("a layer without its codes"));
                    };
                    let slice = profile.slice(layer, side);
                    let models = |models: Vec<Model>| match self.started {
                        true => Vec::new(),
                        false => models.into_iter().map(Arc::new).collect(),
                    };
                    let classes = slice.classes(own.quality.step);
                    let classes = Model::new(coefficients::KIND, Buffer::from_vec(classes));
                    data.push(ColumnData {
                        array: lists(code_type(profile, layer, side), own.levels)?,
                        models: models(vec![classes]),
                        encoding: Some(coefficients::ID),
                        known: None,
                    });
                    let model = match outside {
                        true => slice.to_model().outside(),
                        false => slice.to_model(),
                    };
                    column.models = models(vec![model, own.quality.to_model()]);
                    column.encoding = Some(klt::ID);
                }
            }
            data.push(column);
        }
        self.started = true;
        Ok(data)
    }

    fn zone_rows(&self) -> Option<usize> {
        Some(CHUNK_TOKENS)
    }
}
