//! The layout of cold tables: columns coded across columns.
//!
//! Each column that pays for it is coded as integers, conditioned on the integers of other columns.
//! If others are conditioned on it in turn, it is split in two: a *hidden* column of integers, and
//! the shown column, *derived* from it without bytes of its own; if not, it holds its integers
//! itself. One more hidden column may hold a class of each row. All other columns are stored as
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
use crate::encoding::table::plan::{Choice, ColumnPlan, Input, LATENT, Options, Plan, plan};
use crate::encoding::table::{context, planes, restore};
use crate::encoding::{EncodeContext, Model, ModelDigest, Models, Profile, Registry};
use crate::error::Result;
use crate::file::layout::{ColumnData, ColumnRole, ColumnSpec, Layout};
use crate::file::write::glob;

mod again;

use again::{Kept, Trained};

/// Name of the hidden column of row classes.
const LATENT_NAME: &str = "$latent";

/// Bytes that a second column with its model and chunk directory costs a file.
const SPLIT_BYTES: f64 = 128.0;
/// Bytes that two models in place of what the ordinary planner makes cost.
const IN_PLACE_BYTES: f64 = 32.0;
/// Rows that are encoded to learn what the ordinary planner makes of a column.
const TRIAL_ROWS: usize = 65_536;

/// How much larger a column may be for the sake of time. Coding under contexts takes some ten
/// nanoseconds a row more than bit packing and its like, so those are taken if they need at most this
/// share more of the column, or this share of a mean column of the table if that is more, but never
/// more than a mean column.
const TIME_SHARE: f64 = 0.3;
const TIME_SHARE_OF_MEAN: f64 = 0.3;
/// What a byte of a model costs beyond itself for the time of reading it.
const MODEL_TIME: f64 = 0.75;

/// Bytes that a column may be larger if it is not coded under contexts; `mean` are those of the
/// table's mean column. A hidden class pays by all its columns together, so it is not given up column
/// by column.
fn patience(column: &ColumnPlan, mean: f64) -> f64 {
    if column.choice == Choice::Alone || column.parents.contains(&LATENT) {
        return 0.0;
    }
    let share = (TIME_SHARE * column.bytes).max(TIME_SHARE_OF_MEAN * mean);
    share.min(mean) + MODEL_TIME * column.model_bytes
}

/// What was decided for one column of integers.
#[derive(Debug, Clone)]
pub struct CodedReport {
    /// Name of the column that holds it.
    pub name: String,
    /// Whether that is a hidden column.
    pub hidden: bool,
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
    /// Columns of integers, parents before their children.
    pub coded: Vec<CodedReport>,
    /// Names of the columns that are stored as given.
    pub given: Vec<String>,
}

/// How a column of the user is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As given.
    Given,
    /// As integers of its own.
    InPlace,
    /// As hidden columns of integers, from which it is derived.
    Split,
}

/// See the module.
#[derive(Debug)]
pub struct ArchiveLayout {
    profile: Profile,
    options: Options,
    /// Names or globs of columns that are stored as given.
    given: Vec<String>,
    decided: Option<Decided>,
    report: Report,
}

/// What `columns` decided.
#[derive(Debug)]
struct Decided {
    plan: Plan,
    /// The user's column and the part of it that each input of the plan is.
    inputs: Vec<(usize, usize)>,
    /// Hidden columns in order: an input each, or [`LATENT`].
    hidden: Vec<usize>,
    /// The typing of each derived column; its integers are those of the first section until that is
    /// written, then empty.
    typed: Vec<Option<Typed>>,
    /// How each column is stored; given ones may be inputs, but are nobody's parents.
    forms: Vec<Form>,
    /// The first section's arrays, to know them again.
    first: Option<RecordBatch>,
    /// The rule that each column had when its last one was stored.
    rules: Vec<Option<ModelDigest>>,
    /// The model that each input, and last the hidden class, was last coded with.
    kept: Vec<Option<Kept>>,
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
            given: Vec::new(),
            decided: None,
            report: Report::default(),
        }
    }

    /// The same, with columns of these names (or globs) stored as given: those that a user wants
    /// encoded in a certain way.
    pub fn with_given(self, given: Vec<String>) -> Self {
        Self { given, ..self }
    }

    /// What was decided; empty until the columns are.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Size of a column as the ordinary planner stores it.
    fn planned_bytes(&self, array: &ArrayRef) -> Result<f64> {
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

    /// How each column of the user is stored. Integers that the ordinary planner stores about as
    /// small are left to it, and a column that nobody is conditioned on is stored as given, if that is
    /// about as small. Then its parents have a child less, so children are asked first.
    fn choose(
        &self,
        batch: &RecordBatch,
        plan: &mut Plan,
        inputs: &[(usize, usize)],
        typed: &[Option<Typed>],
    ) -> Result<Vec<Form>> {
        let mut forms: Vec<Form> = typed
            .iter()
            .map(|t| {
                if t.is_some() {
                    Form::Split
                } else {
                    Form::Given
                }
            })
            .collect();
        let mut children = vec![0usize; inputs.len()];
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); typed.len()];
        for (i, column) in plan.columns.iter().enumerate() {
            parts[inputs[i].0].push(i);
            for &parent in column.parents.iter().filter(|&&p| p != LATENT) {
                children[parent] += 1;
            }
        }
        let total: f64 = plan.columns.iter().map(|c| c.bytes).sum();
        let mean = total / plan.columns.len().max(1) as f64;
        let mut asked = vec![0usize; typed.len()];
        for input in plan.order.clone().into_iter().rev() {
            let (column, part) = inputs[input];
            let Some(typing) = typed[column].as_ref() else {
                continue;
            };
            let mut patient = patience(&plan.columns[input], mean);
            if plan.columns[input].choice != Choice::Alone {
                let integers: ArrayRef = Arc::new(typing.integers[part].values.clone());
                let packed = self.planned_bytes(&integers)?;
                if packed <= plan.columns[input].bytes + patient {
                    let parents = plan.columns[input].parents.iter();
                    parents
                        .filter(|&&p| p != LATENT)
                        .for_each(|&p| children[p] -= 1);
                    plan.columns[input].leave_alone(packed);
                    patient = 0.0;
                }
            }
            let of = &parts[column];
            asked[column] += 1;
            if asked[column] < of.len() || of.iter().any(|&i| children[i] > 0) {
                continue;
            }
            let alone = of.len() == 1 && plan.columns[input].choice == Choice::Context;
            forms[column] = if alone { Form::InPlace } else { Form::Split };
            let estimate: f64 = of.iter().map(|&i| plan.columns[i].bytes).sum();
            let rule = typing.rule.to_model().bytes().len() as f64;
            let more = match forms[column] {
                Form::Split => SPLIT_BYTES * of.len() as f64,
                _ => IN_PLACE_BYTES,
            };
            if self.planned_bytes(batch.column(column))? <= estimate + rule + more + patient {
                forms[column] = Form::Given;
                let parents = of.iter().flat_map(|&i| &plan.columns[i].parents);
                for &parent in parents.filter(|&&p| p != LATENT) {
                    children[parent] -= 1;
                }
            }
        }
        Ok(forms)
    }
}

impl Layout for ArchiveLayout {
    fn columns(&mut self, first: &RecordBatch) -> Result<Vec<ColumnSpec>> {
        let schema = first.schema();
        let asked = |name: &str| self.given.iter().any(|pattern| glob(pattern, name));
        let mut typed = vec![None; first.num_columns()];
        for (column, field) in schema.fields().iter().enumerate() {
            if first.num_rows() > 0 && !asked(field.name()) {
                typed[column] = type_column(first.column(column))?;
            }
        }
        let inputs: Vec<(usize, usize)> = (0..typed.len())
            .flat_map(|c| {
                let parts = typed[c].as_ref().map_or(0, |t| t.integers.len());
                (0..parts).map(move |p| (c, p))
            })
            .collect();
        let mut plan = plan(&views(&typed, &inputs), &self.options);
        let forms = self.choose(first, &mut plan, &inputs, &typed)?;
        let form = |i: usize| forms[inputs[i].0];
        let wants_latent =
            |i: usize| form(i) != Form::Given && plan.columns[i].parents.contains(&LATENT);
        let mut hidden: Vec<usize> = Vec::new();
        if plan.latent.is_some() && (0..inputs.len()).any(wants_latent) {
            hidden.push(LATENT);
        }
        hidden.extend(
            plan.order
                .iter()
                .copied()
                .filter(|&i| form(i) == Form::Split),
        );

        let mut specs = Specs::default();
        let mut names: HashSet<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        for &input in &hidden {
            let (name, column) = match input {
                LATENT => {
                    let latent = plan.latent.as_ref().map(|l| &l.column);
                    (LATENT_NAME.to_owned(), latent)
                }
                _ => {
                    let (column, part) = inputs[input];
                    let name = schema.field(column).name();
                    let parts = typed[column].as_ref().map_or(1, |t| t.integers.len());
                    let name = match parts {
                        1 => format!("${name}"),
                        _ => format!("${name}.{part}"),
                    };
                    (name, Some(&plan.columns[input]))
                }
            };
            let field = Field::new(fresh(name, &mut names), DataType::Int64, false);
            specs.place.insert(input, specs.list.len());
            specs.coded(Arc::new(field), ColumnRole::Hidden, column);
        }
        for (column, field) in schema.fields().iter().enumerate() {
            let field = Arc::clone(field);
            let mut of = (0..inputs.len()).filter(|&i| inputs[i].0 == column);
            match (forms[column], of.next()) {
                (Form::InPlace, Some(input)) => {
                    let column = &plan.columns[input];
                    let role = match column.parents.is_empty() {
                        true => ColumnRole::Visible,
                        false => ColumnRole::Derived,
                    };
                    specs.coded(field, role, Some(column));
                }
                (Form::Split, Some(first)) => {
                    let parents = std::iter::once(first).chain(of);
                    let parents = parents.filter_map(|i| specs.place.get(&i).copied());
                    specs.list.push(ColumnSpec {
                        field,
                        role: ColumnRole::Derived,
                        parents: parents.collect(),
                        group: Some(0),
                        words: None,
                    });
                }
                _ => {
                    specs.report.given.push(field.name().clone());
                    specs.list.push(ColumnSpec {
                        field,
                        role: ColumnRole::Visible,
                        parents: Vec::new(),
                        group: None,
                        words: None,
                    });
                }
            }
        }
        self.report = specs.report;
        let kept = inputs.len();
        self.decided = Some(Decided {
            plan,
            inputs,
            hidden,
            typed,
            forms,
            first: Some(first.clone()),
            rules: vec![None; first.num_columns()],
            kept: (0..=kept).map(|_| None).collect(),
        });
        Ok(specs.list)
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
        let latent = match decided.hidden.first() {
            Some(&LATENT) => decided.plan.latent_values(&views),
            _ => None,
        };
        let rules: Vec<Option<Model>> = typed
            .iter()
            .map(|t| t.as_ref().map(|t| t.rule.to_model()))
            .collect();
        let digests: Vec<Option<ModelDigest>> = rules
            .iter()
            .map(|r| r.as_ref().map(Model::digest))
            .collect();
        let (models, latent_model) = decided.plan.train_all(&views, latent.as_deref());
        let chunk_rows = self.options.chunk_rows.max(1);
        let mut settle = |input: usize, model: Option<Model>| {
            let latent = latent.as_deref();
            model
                .map(|model| decided.settle(input, model, &digests, &views, latent, chunk_rows))
                .transpose()
        };
        let mut latent_model = settle(LATENT, latent_model)?;
        let mut models = models
            .into_iter()
            .enumerate()
            .map(|(input, model)| settle(input, model))
            .collect::<Result<Vec<_>>>()?;
        let plan = &decided.plan;
        let mut data = Vec::with_capacity(decided.hidden.len() + section.num_columns());
        for &input in &decided.hidden {
            let (array, choice, model): (ArrayRef, Choice, Option<Trained>) = match input {
                LATENT => {
                    let values = latent.clone().unwrap_or_else(|| vec![0; rows]);
                    let array = Arc::new(Int64Array::from(values));
                    (array, Choice::Context, latent_model.take())
                }
                _ => {
                    let array = Arc::new(columns[input].0.clone());
                    let choice = plan.columns[input].choice;
                    let model = models[input].take().filter(|_| choice == Choice::Context);
                    (array, choice, model)
                }
            };
            let encoding = match (choice, &model) {
                (Choice::Context, Some(_)) => Some(context::ID),
                (Choice::Planes, _) => Some(planes::ID),
                _ => None,
            };
            data.push(ColumnData {
                array,
                models: model.and_then(Trained::into_new).into_iter().collect(),
                encoding,
                known: None,
            });
        }
        for ((column, array), rule) in section.columns().iter().enumerate().zip(rules) {
            let input = || decided.inputs.iter().position(|i| i.0 == column);
            let conditioned = match decided.forms[column] {
                Form::InPlace => input().and_then(|i| models[i].take()),
                _ => None,
            };
            let restored = match decided.forms[column] {
                Form::Given => false,
                Form::InPlace => conditioned.is_some(),
                Form::Split => true,
            };
            data.push(match rule.filter(|_| restored) {
                Some(rule) => {
                    let known = decided.rules[column] == digests[column];
                    decided.rules[column] = digests[column];
                    let rule = (!known).then(|| Arc::new(rule));
                    let own = rule.into_iter();
                    ColumnData {
                        array: Arc::clone(array),
                        models: own.chain(conditioned.and_then(Trained::into_new)).collect(),
                        encoding: Some(restore::ID),
                        known: None,
                    }
                }
                None => given(array),
            });
        }
        Ok(data)
    }
}

/// The columns of a file as they are found.
#[derive(Default)]
struct Specs {
    list: Vec<ColumnSpec>,
    report: Report,
    /// Where the hidden column of each input is.
    place: HashMap<usize, usize>,
}

impl Specs {
    /// Adds a column of integers.
    fn coded(&mut self, field: FieldRef, role: ColumnRole, plan: Option<&ColumnPlan>) {
        let choice = plan.map_or(Choice::Alone, |p| p.choice);
        let parents: Vec<usize> = plan
            .iter()
            .flat_map(|p| &p.parents)
            .filter_map(|p| self.place.get(p).copied())
            .collect();
        let saved = plan.map_or(&[][..], |p| &p.saved);
        let named = parents.iter().map(|&p| self.list[p].field.name().clone());
        self.report.coded.push(CodedReport {
            name: field.name().clone(),
            hidden: role == ColumnRole::Hidden,
            choice,
            parents: named.zip(saved.iter().copied()).collect(),
            bytes: plan.map_or(0.0, |p| p.bytes),
        });
        self.list.push(ColumnSpec {
            field,
            role,
            parents,
            group: Some(0),
            words: words(choice, saved),
        });
    }
}

/// How a column of integers is stored, with the bytes that each parent saves: `context(1200,35)`.
fn words(choice: Choice, saved: &[f64]) -> Option<String> {
    let name = match choice {
        Choice::Context => "context",
        Choice::Planes => "planes",
        Choice::Alone => return None,
    };
    let saved: Vec<String> = saved.iter().map(|s| format!("{:.0}", s.max(0.0))).collect();
    Some(match saved.is_empty() {
        true => name.to_owned(),
        false => format!("{name}({})", saved.join(",")),
    })
}

/// The layout of a profile's tables; `None` stores each column as given.
pub fn layout_for(profile: Profile) -> Option<Box<dyn Layout>> {
    match profile {
        Profile::Archive => Some(Box::new(ArchiveLayout::default())),
        _ => None,
    }
}

/// The bytes that each parent saves, out of a hidden column's [`ColumnSpec::words`], in the order of
/// its parents.
pub fn saved(words: &str) -> Vec<f64> {
    let Some((_, rest)) = words.split_once('(') else {
        return Vec::new();
    };
    rest.trim_end_matches(')')
        .split(',')
        .filter_map(|bytes| bytes.trim().parse().ok())
        .collect()
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
        known: None,
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

#[cfg(test)]
mod tests;
