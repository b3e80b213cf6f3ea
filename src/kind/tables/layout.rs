//! The layout of cold tables: columns coded across columns.
//!
//! Each column that pays for it is split in two: a *hidden* column of integers, which its codec may
//! condition on the integers of other columns, and the shown column, *derived* from it without bytes
//! of its own. One more hidden column may hold a class of each row. All other columns are stored as
//! given.
//!
//! What is hidden, and what is a parent of what, is decided once from the first section; models
//! (dictionaries, exceptions, probabilities) are made anew for each section, whose integers are
//! relative to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::record_batch::RecordBatch;

use super::typing::{Typed, type_column, type_like};
use crate::encoding::context::{ChildEncoder, Role};
use crate::encoding::planner::Planner;
use crate::encoding::table::plan::{Choice, Input, LATENT, Options, Plan, plan};
use crate::encoding::table::restore;
use crate::encoding::{EncodeContext, Models, Profile, Registry};
use crate::error::Result;
use crate::file::layout::{ColumnData, ColumnRole, ColumnSpec, Layout};

/// Key of a hidden column's metadata that tells the bytes which each of its parents saves,
/// separated by commas, in order of the parents.
pub const SAVED: &str = "pilaster.saved";

/// Name of the hidden column of row classes.
const LATENT_NAME: &str = "$latent";

/// Bytes that a second column with its model and chunk directory costs a file.
const SPLIT_BYTES: f64 = 128.0;
/// Rows that are encoded to learn what the ordinary planner makes of a column.
const TRIAL_ROWS: usize = 65_536;

/// What was decided for one column of integers.
#[derive(Debug, Clone)]
pub struct HiddenReport {
    /// Name of the hidden column.
    pub name: String,
    /// How it is stored.
    pub choice: Choice,
    /// Its parents, and the bytes that each saves by estimate.
    pub parents: Vec<(String, f64)>,
    /// Its size by estimate, model included.
    pub bytes: f64,
}

/// What was decided for a table.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Hidden columns in order.
    pub hidden: Vec<HiddenReport>,
    /// Names of the columns that are derived from hidden ones.
    pub derived: Vec<String>,
    /// Names of the columns that are stored as given.
    pub given: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub struct ArchiveLayout {
    profile: Profile,
    options: Options,
    decided: Option<Decided>,
    report: Report,
}

/// What `columns` decided.
#[derive(Debug)]
struct Decided {
    plan: Plan,
    /// The user's column and the part of it that each input of the plan is.
    inputs: Vec<(usize, usize)>,
    /// Hidden columns in order: an input each, or the latent.
    hidden: Vec<usize>,
    /// The typing of each derived column; its integers are those of the first section until that is
    /// written, then empty.
    typed: Vec<Option<Typed>>,
    /// Whether a column is derived; others are given, though they may be inputs.
    derived: Vec<bool>,
    /// The first section's arrays, to know them again.
    first: Option<RecordBatch>,
}

impl Default for ArchiveLayout {
    fn default() -> Self {
        Self::new(Profile::Archive, Options::default())
    }
}

impl ArchiveLayout {
    /// A layout for one file.
    pub fn new(profile: Profile, options: Options) -> Self {
        Self {
            profile,
            options,
            decided: None,
            report: Report::default(),
        }
    }

    /// What was decided; empty until the columns are.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Size of a column as the ordinary planner stores it.
    fn given_bytes(&self, array: &ArrayRef) -> Result<f64> {
        let rows = array.len().min(TRIAL_ROWS);
        let sample = array.slice(0, rows);
        let mut models = Models::default();
        let planner = Planner::default();
        let registry = Registry::standard();
        let mut context = EncodeContext::new(&planner, registry, &mut models, &[], self.profile);
        let node = planner.encode_child(&sample, Role::Values, &mut context)?;
        let models: usize = models.iter().map(|m| m.bytes().len()).sum();
        let bytes = node.stored_bytes() + models as u64;
        Ok(bytes as f64 * array.len() as f64 / rows.max(1) as f64)
    }

    /// Which columns of the user are better stored as given. Only columns that nobody is
    /// conditioned on can be, so children are asked before their parents.
    fn choose(
        &self,
        batch: &RecordBatch,
        plan: &Plan,
        inputs: &[(usize, usize)],
        typed: &[Option<Typed>],
    ) -> Result<Vec<bool>> {
        let mut derived: Vec<bool> = typed.iter().map(Option::is_some).collect();
        let mut children = vec![0usize; inputs.len()];
        for column in &plan.columns {
            for &parent in column.parents.iter().filter(|&&p| p != LATENT) {
                children[parent] += 1;
            }
        }
        let of = |column: usize| (0..inputs.len()).filter(move |&i| inputs[i].0 == column);
        for &input in plan.order.iter().rev() {
            let column = inputs[input].0;
            let needed = of(column).any(|i| children[i] > 0);
            let Some(typing) = typed[column]
                .as_ref()
                .filter(|_| derived[column] && !needed)
            else {
                continue;
            };
            let estimate: f64 = of(column).map(|i| plan.columns[i].bytes).sum();
            let rule = typing.rule.to_model().bytes().len();
            let split = estimate + rule as f64 + SPLIT_BYTES * typing.integers.len() as f64;
            if self.given_bytes(batch.column(column))? <= split {
                derived[column] = false;
                for i in of(column) {
                    for &parent in plan.columns[i].parents.iter().filter(|&&p| p != LATENT) {
                        children[parent] -= 1;
                    }
                }
            }
        }
        Ok(derived)
    }
}

impl Layout for ArchiveLayout {
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        let typed: Vec<Option<Typed>> = match first.num_rows() {
            0 => vec![None; first.num_columns()],
            _ => first
                .columns()
                .iter()
                .map(type_column)
                .collect::<Result<_>>()?,
        };
        let inputs: Vec<(usize, usize)> = (0..typed.len())
            .flat_map(|c| {
                let parts = typed[c].as_ref().map_or(0, |t| t.integers.len());
                (0..parts).map(move |p| (c, p))
            })
            .collect();
        let plan = plan(&views(&typed, &inputs), &self.options);
        let derived = self.choose(first, &plan, &inputs, &typed)?;
        let mut hidden: Vec<usize> = Vec::new();
        let kept = |i: usize| derived[inputs[i].0];
        let wants_latent = |i: usize| kept(i) && plan.columns[i].parents.contains(&LATENT);
        if plan.latent.is_some() && (0..inputs.len()).any(wants_latent) {
            hidden.push(LATENT);
        }
        hidden.extend(plan.order.iter().copied().filter(|&i| kept(i)));

        let schema = first.schema();
        let mut names: HashSet<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let mut specs: Vec<ColumnSpec> = Vec::new();
        let mut place: HashMap<usize, usize> = HashMap::new();
        self.report = Report::default();
        for &input in &hidden {
            let (name, parents, saved, choice, bytes) = match input {
                LATENT => (
                    LATENT_NAME.to_owned(),
                    &[][..],
                    &[][..],
                    Choice::Context,
                    0.0,
                ),
                _ => {
                    let (column, part) = inputs[input];
                    let parts = typed[column].as_ref().map_or(1, |t| t.integers.len());
                    let name = schema.field(column).name();
                    let name = match parts {
                        1 => format!("${name}"),
                        _ => format!("${name}.{part}"),
                    };
                    let p = &plan.columns[input];
                    (name, &p.parents[..], &p.saved[..], p.choice, p.bytes)
                }
            };
            let name = fresh(name, &mut names);
            let parents: Vec<usize> = parents
                .iter()
                .filter_map(|p| place.get(p).copied())
                .collect();
            let named = parents.iter().map(|&p| specs[p].field.name().clone());
            self.report.hidden.push(HiddenReport {
                name: name.clone(),
                choice,
                parents: named.zip(saved.iter().copied()).collect(),
                bytes,
            });
            let mut field = Field::new(name, DataType::Int64, false);
            if saved.iter().any(|s| *s >= 1.0) {
                let saved: Vec<String> = saved.iter().map(|s| format!("{s:.0}")).collect();
                field.set_metadata(HashMap::from([(SAVED.to_owned(), saved.join(","))]));
            }
            let words = match choice {
                Choice::Context => Some("context".to_owned()),
                Choice::Planes => Some("planes".to_owned()),
                Choice::Alone => None,
            };
            place.insert(input, specs.len());
            specs.push(ColumnSpec {
                field: Arc::new(field),
                role: ColumnRole::Hidden,
                parents,
                group: Some(0),
                words,
            });
        }
        for (column, field) in schema.fields().iter().enumerate() {
            let from = |i: &usize| inputs[*i].0 == column && derived[column];
            let parents: Vec<usize> = (0..inputs.len())
                .filter(from)
                .filter_map(|i| place.get(&i).copied())
                .collect();
            let list = match derived[column] {
                true => &mut self.report.derived,
                false => &mut self.report.given,
            };
            list.push(field.name().clone());
            specs.push(shown(field, parents, derived[column]));
        }
        self.decided = Some(Decided {
            plan,
            inputs,
            hidden,
            typed,
            derived,
            first: Some(first.clone()),
        });
        Ok(specs)
    }

    fn section(&mut self, section: &RecordBatch) -> Result<Vec<ColumnData>> {
        let Some(decided) = &mut self.decided else {
            return Ok(section.columns().iter().map(given).collect());
        };
        let again = decided
            .first
            .take()
            .is_some_and(|first| is_same(&first, section));
        let mut typed: Vec<Option<Typed>> = Vec::with_capacity(decided.typed.len());
        for (column, typing) in decided.typed.iter_mut().enumerate() {
            typed.push(match typing {
                Some(typing) if again => Some(typing.clone()),
                // Given columns may be inputs of the plan, but nobody's parents.
                Some(typing) => type_like(section.column(column), typing)?,
                None => None,
            });
            if let Some(typing) = typing {
                for integers in &mut typing.integers {
                    integers.values = integers.values.slice(0, 0);
                }
            }
        }
        let rows = section.num_rows();
        let counts: Vec<usize> = decided
            .typed
            .iter()
            .map(|t| t.as_ref().map_or(0, |t| t.integers.len()))
            .collect();
        let idle = Int64Array::from(vec![0; rows]);
        let columns: Vec<(&Int64Array, bool, u32)> = decided
            .inputs
            .iter()
            .map(|&(c, p)| match (&typed[c], &decided.typed[c]) {
                (Some(t), _) if p < counts[c] => {
                    let i = &t.integers[p];
                    (&i.values, i.numeric, i.scale)
                }
                (_, Some(t)) => (&idle, t.integers[p].numeric, t.integers[p].scale),
                _ => (&idle, false, 0),
            })
            .collect();
        let views: Vec<Input<'_>> = columns
            .iter()
            .map(|&(values, numeric, scale)| Input {
                values: values.values(),
                numeric,
                scale,
            })
            .collect();
        let plan = &decided.plan;
        let latent = match decided.hidden.first() {
            Some(&LATENT) => plan.latent_values(&views),
            _ => None,
        };
        let mut data = Vec::with_capacity(decided.hidden.len() + section.num_columns());
        for &input in &decided.hidden {
            let (array, choice): (ArrayRef, Choice) = match input {
                LATENT => {
                    let values = latent.clone().unwrap_or_else(|| vec![0; rows]);
                    (Arc::new(Int64Array::from(values)), Choice::Context)
                }
                _ => {
                    let (values, _, _) = columns[input];
                    (Arc::new(values.clone()), plan.columns[input].choice)
                }
            };
            let model = match choice {
                Choice::Context => plan.train(input, &views, latent.as_deref()),
                _ => None,
            };
            let encoding = match (choice, &model) {
                (Choice::Context, Some(_)) => Some("pilaster.context.v1"),
                (Choice::Planes, _) => Some("pilaster.planes.v1"),
                _ => None,
            };
            data.push(ColumnData {
                array,
                models: model.into_iter().map(Arc::new).collect(),
                encoding,
            });
        }
        for (column, array) in section.columns().iter().enumerate() {
            data.push(match &typed[column] {
                Some(typing) if decided.derived[column] => ColumnData {
                    array: Arc::clone(array),
                    models: vec![Arc::new(typing.rule.to_model())],
                    encoding: Some(restore::ID),
                },
                _ => given(array),
            });
        }
        Ok(data)
    }
}

/// The inputs of a plan.
fn views<'a>(typed: &'a [Option<Typed>], inputs: &[(usize, usize)]) -> Vec<Input<'a>> {
    inputs
        .iter()
        .filter_map(|&(column, part)| {
            let integers = typed[column].as_ref()?.integers.get(part)?;
            Some(Input {
                values: integers.values.values(),
                numeric: integers.numeric,
                scale: integers.scale,
            })
        })
        .collect()
}

fn given(array: &ArrayRef) -> ColumnData {
    ColumnData {
        array: Arc::clone(array),
        models: Vec::new(),
        encoding: None,
    }
}

fn shown(field: &FieldRef, parents: Vec<usize>, derived: bool) -> ColumnSpec {
    ColumnSpec {
        field: Arc::clone(field),
        role: match derived {
            true => ColumnRole::Derived,
            false => ColumnRole::Visible,
        },
        parents,
        group: derived.then_some(0),
        words: derived.then(|| "restore".to_owned()),
    }
}

/// A name that no other column has.
fn fresh(mut name: String, taken: &mut HashSet<String>) -> String {
    while !taken.insert(name.clone()) {
        name.insert(0, '$');
    }
    name
}

/// Whether two batches hold the very same arrays.
fn is_same(a: &RecordBatch, b: &RecordBatch) -> bool {
    let pairs = a.columns().iter().zip(b.columns());
    a.num_columns() == b.num_columns() && pairs.clone().all(|(a, b)| Arc::ptr_eq(a, b))
}
