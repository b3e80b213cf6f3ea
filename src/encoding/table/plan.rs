//! Which columns help to code which, and in what form each column is stored.
//!
//! Pure functions over integer columns: the caller types a table's columns as integers (dictionary
//! codes in value order, scaled decimals, exceptions), asks for a [`Plan`] once, and then for the
//! models of each section's columns. Everything is sampled and deterministic.

use crate::encoding::Model;

/// Stands for the hidden row class among a column's parents.
pub const LATENT: usize = usize::MAX;

/// A column of a table as integers. Values from `i64::MIN` to `i64::MIN + 65535` are exceptions
/// (null and the like): symbols without order.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// One value a row; all inputs of a plan have the same length.
    pub values: &'a [i64],
    /// Whether order and differences of the values mean something.
    pub numeric: bool,
    /// Decimals: the number meant is `value * 10^-scale`.
    pub scale: u32,
}

/// What a plan may do.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Rows of a chunk; contexts of earlier rows end at its start.
    pub chunk_rows: usize,
    /// Whether other columns may be parents.
    pub parents: bool,
    /// Whether a hidden class of the rows is looked for.
    pub latent: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chunk_rows: 65_536,
            parents: true,
            latent: true,
        }
    }
}

/// How a column is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// `pilaster.context.v1`, with the model that [`Plan::train`] gives.
    Context,
    /// `pilaster.planes.v1`.
    Planes,
    /// Whatever the ordinary planner finds best.
    Alone,
}

/// The plan of one column.
#[derive(Debug, Clone)]
pub struct ColumnPlan {
    /// Columns whose values the decoder needs, as indexes into the inputs or [`LATENT`]. Their
    /// order is that of the encoder's and decoder's parents.
    pub parents: Vec<usize>,
    /// Bytes that each parent saves, estimated for all rows.
    pub saved: Vec<f64>,
    /// How the column is stored.
    pub choice: Choice,
    /// Estimated size of the column, model included.
    pub bytes: f64,
}

/// The hidden class of the rows.
#[derive(Debug, Clone)]
pub struct LatentPlan {
    /// Number of classes; the hidden column's values are `0..classes`.
    pub classes: usize,
}

/// The plan of a table.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All inputs, parents before their children.
    pub order: Vec<usize>,
    /// One plan an input.
    pub columns: Vec<ColumnPlan>,
    /// The hidden class, if one pays. It has no parents and comes before all columns.
    pub latent: Option<LatentPlan>,
}

/// Plans a table from (a sample of) its first section.
pub fn plan(inputs: &[Input<'_>], options: &Options) -> Plan {
    let _ = options;
    let alone = ColumnPlan {
        parents: Vec::new(),
        saved: Vec::new(),
        choice: Choice::Alone,
        bytes: 0.0,
    };
    Plan {
        order: (0..inputs.len()).collect(),
        columns: vec![alone; inputs.len()],
        latent: None,
    }
}

impl Plan {
    /// The hidden class of each row, if the plan has one.
    pub fn latent_values(&self, inputs: &[Input<'_>]) -> Option<Vec<i64>> {
        let rows = inputs.first().map_or(0, |i| i.values.len());
        self.latent.as_ref().map(|_| vec![0; rows])
    }

    /// The model of one column (or of the hidden one: [`LATENT`]) for all rows of a section;
    /// `None` if the column is not stored as [`Choice::Context`] or cannot be in this section.
    pub fn train(
        &self,
        column: usize,
        inputs: &[Input<'_>],
        latent: Option<&[i64]>,
    ) -> Option<Model> {
        let _ = (column, inputs, latent);
        None
    }
}
