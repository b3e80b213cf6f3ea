//! Models of earlier sections, used again where the integers still mean the same.

use std::sync::Arc;

use super::Decided;
use crate::encoding::table::chunk;
use crate::encoding::table::model::ContextModel;
use crate::encoding::table::plan::{Input, LATENT};
use crate::encoding::{Model, ModelDigest};
use crate::error::Result;

/// A model that later sections may use again, as long as the integers mean the same.
#[derive(Debug)]
pub(super) struct Kept {
    model: ContextModel,
    /// The rules of the column and of its parents, which the model knows integers by.
    rules: Vec<Option<ModelDigest>>,
}

/// Models of a section: a new one, or the column's last one again.
#[derive(Debug)]
pub(super) enum Trained {
    New(Model),
    Again,
}

impl Trained {
    /// The model, if it has to be stored.
    pub fn into_new(self) -> Option<Arc<Model>> {
        match self {
            Trained::New(model) => Some(Arc::new(model)),
            Trained::Again => None,
        }
    }
}

impl Decided {
    /// Takes a new model of an input (or of [`LATENT`]), or the last one, whichever makes this
    /// section smaller.
    pub(super) fn settle(
        &mut self,
        input: usize,
        model: Model,
        rules: &[Option<ModelDigest>],
        views: &[Input<'_>],
        latent: Option<&[i64]>,
        chunk_rows: usize,
    ) -> Result<Trained> {
        let rule = |i: usize| match i {
            LATENT => None,
            _ => rules[self.inputs[i].0],
        };
        let parents: &[usize] = match input {
            LATENT => &[],
            _ => &self.plan.columns[input].parents,
        };
        let rules: Vec<_> = std::iter::once(&input)
            .chain(parents)
            .map(|&i| rule(i))
            .collect();
        let values = |i: usize| match i {
            LATENT => latent.unwrap_or_default(),
            _ => views[i].values,
        };
        let bytes = |model: &ContextModel| -> Option<usize> {
            let own = values(input).chunks(chunk_rows);
            own.enumerate()
                .map(|(n, own)| {
                    let rows = n * chunk_rows..n * chunk_rows + own.len();
                    let parents: Vec<&[i64]> =
                        parents.iter().map(|&p| &values(p)[rows.clone()]).collect();
                    let chunk = chunk::encode(model, own, &parents)?;
                    Some(chunk.symbols.len() + chunk.raw.len() + chunk.patches.len())
                })
                .sum()
        };
        let new = ContextModel::parse(model.bytes())?;
        let slot = if input == LATENT { views.len() } else { input };
        if let Some(kept) = self.kept[slot].as_ref().filter(|k| k.rules == rules)
            && let Some(again) = bytes(&kept.model)
            && bytes(&new).is_none_or(|fresh| again <= fresh + model.bytes().len())
        {
            return Ok(Trained::Again);
        }
        self.kept[slot] = Some(Kept { model: new, rules });
        Ok(Trained::New(model))
    }
}
