//! What a conditioned column's model says: its form, and the variables that select its tables.

use crate::encoding::entropy::adaptive::{Coder, Number};
use crate::error::{Error, Result};

/// The largest exception: values from `i64::MIN` up to this are symbols without order.
pub const LAST_EXCEPTION: i64 = i64::MIN + 65_535;
/// Largest alphabet that is coded; 14-bit frequencies carry no more.
pub const MAX_SYMBOLS: usize = 12_000;
/// Most context variables of a column.
pub const MAX_VARIABLES: usize = 3;
/// Most parents of a column.
pub const MAX_PARENTS: usize = 8;
/// Buckets of residuals.
pub const BUCKETS: usize = 252;
/// Buckets of a coarse variable.
pub const COARSE: usize = 24;

/// Whether a value is an exception.
#[inline]
pub fn is_exception(value: i64) -> bool {
    value <= LAST_EXCEPTION
}

/// Something known about a row before its own value; selects a probability table. Numbers are
/// parents: indexes into the inputs while planning, slots of the column's parent list in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The parent's value.
    Exact(usize),
    /// The parent's quantile bucket.
    Coarse(usize),
    /// The column's own symbol in the row before.
    Previous,
    /// The column's own symbol in the last row of the chunk that had the same parent value.
    Last(usize),
    /// Whether the parent differs from the row before.
    Changed(usize),
}

impl Variable {
    /// The parent it looks at.
    pub fn parent(&self) -> Option<usize> {
        match *self {
            Self::Exact(p) | Self::Coarse(p) | Self::Last(p) | Self::Changed(p) => Some(p),
            Self::Previous => None,
        }
    }
}

/// A numeric parent, brought to the column's decimal scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaled {
    /// The parent.
    pub parent: usize,
    /// Power of ten by which its values are multiplied.
    pub exponent: i8,
}

impl Scaled {
    /// The parent's value at the column's scale; `None` for exceptions and on overflow.
    #[inline]
    pub fn of(&self, value: i64) -> Option<i64> {
        if is_exception(value) {
            return None;
        }
        let power = 10i64.checked_pow(u32::from(self.exponent.unsigned_abs()))?;
        match self.exponent {
            0 => Some(value),
            1.. => value.checked_mul(power),
            _ => Some(value / power),
        }
    }
}

/// What a value is expected to be; the residual form codes the difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prediction {
    /// The value before.
    Previous,
    /// The two values before, continued in a straight line.
    Linear,
    /// The value of the last row that had the same parent value.
    Last(usize),
    /// A parent's value.
    Column(Scaled),
    /// The value before, plus what the parent has changed by.
    Step(Scaled),
    /// The sum of two parents, or (if true) their difference.
    Sum(Scaled, Scaled, bool),
    /// A parent's value times a constant, rounded.
    Ratio(usize, f64),
}

impl Prediction {
    /// The parents it looks at.
    pub fn parents(&self) -> Vec<usize> {
        match *self {
            Self::Previous | Self::Linear => Vec::new(),
            Self::Last(p) | Self::Ratio(p, _) => vec![p],
            Self::Column(s) | Self::Step(s) => vec![s.parent],
            Self::Sum(a, b, _) => vec![a.parent, b.parent],
        }
    }
}

/// How values become symbols.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// A symbol for each distinct value.
    Symbol,
    /// The difference to a prediction, in multiples of `step`, folded and cut into buckets; what the
    /// bucket leaves open follows as raw bits.
    Residual {
        /// What is subtracted.
        prediction: Prediction,
        /// Divides all differences.
        step: u64,
        /// Stands for the value before the first.
        start: i64,
    },
    /// `(value - base) / step` without its lowest `shift` bits, which follow as raw bits.
    Top {
        /// Least value.
        base: i64,
        /// Divides all values minus base.
        step: u64,
        /// Number of raw bits.
        shift: u32,
    },
}

/// Form and variables of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// How values become symbols.
    pub form: Form,
    /// What selects the table, coarsest split first.
    pub variables: Vec<Variable>,
}

impl Spec {
    /// The parents in order of their first use.
    pub fn parents(&self) -> Vec<usize> {
        let mut parents = Vec::new();
        let predicted = match self.form {
            Form::Residual { prediction, .. } => prediction.parents(),
            _ => Vec::new(),
        };
        for p in self
            .variables
            .iter()
            .filter_map(Variable::parent)
            .chain(predicted)
        {
            if !parents.contains(&p) {
                parents.push(p);
            }
        }
        parents
    }

    /// The same with other numbers for the parents.
    pub fn renumbered(&self, number: impl Fn(usize) -> usize) -> Self {
        let scaled = |s: Scaled| Scaled {
            parent: number(s.parent),
            ..s
        };
        let variables = self.variables.iter().map(|v| match *v {
            Variable::Exact(p) => Variable::Exact(number(p)),
            Variable::Coarse(p) => Variable::Coarse(number(p)),
            Variable::Last(p) => Variable::Last(number(p)),
            Variable::Changed(p) => Variable::Changed(number(p)),
            Variable::Previous => Variable::Previous,
        });
        let form = match self.form {
            Form::Residual {
                prediction,
                step,
                start,
            } => Form::Residual {
                prediction: match prediction {
                    Prediction::Last(p) => Prediction::Last(number(p)),
                    Prediction::Column(s) => Prediction::Column(scaled(s)),
                    Prediction::Step(s) => Prediction::Step(scaled(s)),
                    Prediction::Sum(a, b, minus) => Prediction::Sum(scaled(a), scaled(b), minus),
                    Prediction::Ratio(p, c) => Prediction::Ratio(number(p), c),
                    own => own,
                },
                step,
                start,
            },
            other => other,
        };
        Self {
            form,
            variables: variables.collect(),
        }
    }

    /// Codes the spec in either direction. Checks everything that the decoder relies on, except
    /// that the parents exist.
    pub fn code(&self, coder: &mut impl Coder) -> Result<Self> {
        let mut models = Models::default();
        let form = models.form(coder, &self.form)?;
        let count = models.small(coder, self.variables.len())?;
        if count > MAX_VARIABLES {
            return Err(Error::corrupt("too many context variables"));
        }
        let mut variables: Vec<Variable> = Vec::with_capacity(count);
        for i in 0..count {
            let given = self.variables.get(i).copied();
            let (kind, parent) = match given.unwrap_or(Variable::Previous) {
                Variable::Exact(p) => (0, p),
                Variable::Coarse(p) => (1, p),
                Variable::Previous => (2, 0),
                Variable::Last(p) => (3, p),
                Variable::Changed(p) => (4, p),
            };
            let kind = models.small(coder, kind)?;
            let parent = match kind {
                2 => 0,
                _ => models.parent(coder, parent)?,
            };
            let variable = match kind {
                0 => Variable::Exact(parent),
                1 => Variable::Coarse(parent),
                2 => Variable::Previous,
                3 => Variable::Last(parent),
                4 => Variable::Changed(parent),
                _ => return Err(Error::corrupt("unknown context variable")),
            };
            let own = |v: &Variable| (*v == Variable::Previous, matches!(v, Variable::Last(_)));
            if variables
                .iter()
                .any(|v| *v == variable || (own(v).1 && own(&variable).1))
            {
                return Err(Error::corrupt("a context variable occurs twice"));
            }
            variables.push(variable);
        }
        coder.check()?;
        Ok(Self { form, variables })
    }
}

#[derive(Default)]
struct Models {
    small: Number,
    large: Number,
    bits: Number,
}

impl Models {
    fn small(&mut self, coder: &mut impl Coder, value: usize) -> Result<usize> {
        let value = self.small.code(coder, value as u64);
        match value < 256 {
            true => Ok(value as usize),
            false => Err(Error::corrupt("a number in a context model is too large")),
        }
    }

    fn parent(&mut self, coder: &mut impl Coder, parent: usize) -> Result<usize> {
        let parent = self.small(coder, parent)?;
        match parent < MAX_PARENTS {
            true => Ok(parent),
            false => Err(Error::corrupt("a context model wants too many parents")),
        }
    }

    fn scaled(&mut self, coder: &mut impl Coder, given: Option<Scaled>) -> Result<Scaled> {
        let given = given.unwrap_or(Scaled {
            parent: 0,
            exponent: 0,
        });
        let parent = self.parent(coder, given.parent)?;
        let exponent = self.small.code_signed(coder, i64::from(given.exponent));
        match exponent.abs() <= 18 {
            true => Ok(Scaled {
                parent,
                exponent: exponent as i8,
            }),
            false => Err(Error::corrupt("impossible decimal scale")),
        }
    }

    fn step(&mut self, coder: &mut impl Coder, step: u64) -> u64 {
        self.large.code(coder, step.max(1) - 1) + 1
    }

    fn form(&mut self, coder: &mut impl Coder, form: &Form) -> Result<Form> {
        let kind = match form {
            Form::Symbol => 0,
            Form::Residual { .. } => 1,
            Form::Top { .. } => 2,
        };
        match self.small(coder, kind)? {
            0 => Ok(Form::Symbol),
            1 => {
                let (given, step, start) = match *form {
                    Form::Residual {
                        prediction,
                        step,
                        start,
                    } => (prediction, step, start),
                    _ => (Prediction::Previous, 1, 0),
                };
                let prediction = self.prediction(coder, given)?;
                let step = self.step(coder, step);
                let start = self.large.code_signed(coder, start.max(i64::MIN + 1));
                Ok(Form::Residual {
                    prediction,
                    step,
                    start,
                })
            }
            2 => {
                let (base, step, shift) = match *form {
                    Form::Top { base, step, shift } => (base, step, shift),
                    _ => (0, 1, 0),
                };
                let base = self.large.code_signed(coder, base.max(i64::MIN + 1));
                let step = self.step(coder, step);
                let shift = self.small(coder, shift as usize)? as u32;
                if shift > 56 {
                    return Err(Error::corrupt("too many raw bits"));
                }
                Ok(Form::Top { base, step, shift })
            }
            _ => Err(Error::corrupt("unknown form of a conditioned column")),
        }
    }

    fn prediction(&mut self, coder: &mut impl Coder, given: Prediction) -> Result<Prediction> {
        let (kind, a, b, ratio) = match given {
            Prediction::Previous => (0, None, None, 0.0),
            Prediction::Linear => (1, None, None, 0.0),
            Prediction::Last(parent) => (
                2,
                Some(Scaled {
                    parent,
                    exponent: 0,
                }),
                None,
                0.0,
            ),
            Prediction::Column(a) => (3, Some(a), None, 0.0),
            Prediction::Step(a) => (4, Some(a), None, 0.0),
            Prediction::Sum(a, b, minus) => (5 + usize::from(minus), Some(a), Some(b), 0.0),
            Prediction::Ratio(parent, c) => (
                7,
                Some(Scaled {
                    parent,
                    exponent: 0,
                }),
                None,
                c,
            ),
        };
        let kind = self.small(coder, kind)?;
        Ok(match kind {
            0 => Prediction::Previous,
            1 => Prediction::Linear,
            2 => Prediction::Last(self.scaled(coder, a)?.parent),
            3 => Prediction::Column(self.scaled(coder, a)?),
            4 => Prediction::Step(self.scaled(coder, a)?),
            5 | 6 => {
                let a = self.scaled(coder, a)?;
                Prediction::Sum(a, self.scaled(coder, b)?, kind == 6)
            }
            7 => {
                let parent = self.scaled(coder, a)?.parent;
                let bits = ratio.to_bits();
                let high = self.bits.code(coder, bits >> 32);
                let low = self.bits.code(coder, bits & 0xffff_ffff);
                Prediction::Ratio(parent, f64::from_bits(high << 32 | low & 0xffff_ffff))
            }
            _ => return Err(Error::corrupt("unknown prediction")),
        })
    }
}

/// Cuts a difference into bucket, raw bits and their number.
#[inline]
pub fn bucket(difference: i64) -> (u32, u64, u32) {
    let z = ((difference << 1) ^ (difference >> 63)) as u64;
    if z < 8 {
        return (z as u32, 0, 0);
    }
    let length = 64 - z.leading_zeros();
    let raw = length - 3;
    let bucket = 8 + (length - 4) * 4 + ((z >> raw) & 3) as u32;
    (bucket, z & ((1 << raw) - 1), raw)
}

/// Number of raw bits of a bucket below [`BUCKETS`].
#[inline]
pub fn bucket_bits(bucket: u32) -> u32 {
    match bucket {
        0..8 => 0,
        _ => (bucket - 8) / 4 + 1,
    }
}

/// The difference of a bucket below [`BUCKETS`] and its raw bits.
#[inline]
pub fn unbucket(bucket: u32, raw: u64) -> i64 {
    let z = match bucket {
        0..8 => u64::from(bucket),
        _ => (4 | u64::from(bucket - 8) & 3) << bucket_bits(bucket) | raw,
    };
    (z >> 1) as i64 ^ -((z & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::entropy::adaptive::{Decoder, Encoder};

    #[test]
    fn buckets_come_back() {
        for d in (-70..70).chain([i64::MIN, i64::MAX, 1 << 40, -(1 << 61) - 5]) {
            let (b, raw, bits) = bucket(d);
            assert!((b as usize) < BUCKETS && bits == bucket_bits(b));
            assert_eq!(unbucket(b, raw), d);
        }
    }

    #[test]
    fn specs_come_back() {
        let scaled = |parent, exponent| Scaled { parent, exponent };
        let predictions = [
            Prediction::Previous,
            Prediction::Linear,
            Prediction::Last(1),
            Prediction::Column(scaled(2, -3)),
            Prediction::Step(scaled(0, 4)),
            Prediction::Sum(scaled(0, 0), scaled(1, 1), true),
            Prediction::Ratio(0, 1.0 / 365.25),
        ];
        let mut forms = vec![
            Form::Symbol,
            Form::Top {
                base: -5,
                step: 10,
                shift: 20,
            },
        ];
        forms.extend(predictions.map(|prediction| Form::Residual {
            prediction,
            step: 3,
            start: -77,
        }));
        for form in forms {
            let spec = Spec {
                form,
                variables: vec![Variable::Last(1), Variable::Previous, Variable::Coarse(0)],
            };
            let mut encoder = Encoder::default();
            spec.code(&mut encoder).unwrap();
            let bytes = encoder.finish();
            let empty = Spec {
                form: Form::Symbol,
                variables: Vec::new(),
            };
            assert_eq!(empty.code(&mut Decoder::new(&bytes)).unwrap(), spec);
        }
    }
}
