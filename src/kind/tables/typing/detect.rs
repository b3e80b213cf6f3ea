//! Which canonical form the distinct values of a text column have.

use std::collections::BTreeMap;

use super::distinct::Distinct;
use super::few_exceptions;
use crate::encoding::table::restore::model::Part;
use crate::encoding::table::restore::parts;
use crate::encoding::table::restore::text::{Moment, Piece, TextForm};

/// Values that a form is tried on before all are.
const SAMPLE: usize = 512;
/// Values whose shape suggests forms of dates and times.
const EXAMPLES: usize = 5;
/// Share of distinct values above which several numbers in a text are told apart: fewer are
/// symbols.
const SEVERAL: f64 = 0.3;
/// Share of the values that decide decimals and width.
const MOST: f64 = 0.92;

/// Parts that nearly all distinct values are made of, if there are such.
pub(super) fn parts(distinct: &Distinct<'_>, rows: usize) -> Option<Vec<Part>> {
    let step = distinct.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<&[u8]> = distinct.values().step_by(step).collect();
    let step = sample.len().div_ceil(EXAMPLES).max(1);
    let examples: Vec<&[u8]> = sample.iter().step_by(step).copied().collect();
    let mut forms = Vec::new();
    forms.extend(number_form(&sample));
    for example in &examples {
        moments(example, &mut forms);
    }
    let mut candidates: Vec<Vec<Part>> = forms
        .into_iter()
        .map(|form| vec![Part::Formatted(form)])
        .collect();
    for example in &examples {
        candidates.extend(affixed(example, &sample));
    }
    if let Some(parts) = best_of(candidates, &sample) {
        return Some(parts);
    }
    if distinct.len() as f64 <= SEVERAL * rows as f64 {
        return None;
    }
    let several = examples.iter().filter_map(|e| runs(e, &sample)).collect();
    best_of(several, &sample)
}

/// The parts that most of a sample is made of, if nearly all of it is.
fn best_of(candidates: Vec<Vec<Part>>, sample: &[&[u8]]) -> Option<Vec<Part>> {
    let mut scratch = Vec::new();
    let mut best: Option<(usize, Vec<Part>)> = None;
    for parts in candidates {
        let unfit = sample
            .iter()
            .filter(|text| parts::parse(&parts, text, &mut scratch).is_none())
            .count();
        if best.as_ref().is_none_or(|(least, _)| unfit < *least) {
            best = Some((unfit, parts));
        }
    }
    let (unfit, parts) = best?;
    few_exceptions(unfit, sample.len()).then_some(parts)
}

/// A number between the constant text that an example suggests, like `$12.50`.
fn affixed(example: &[u8], sample: &[&[u8]]) -> Option<Vec<Part>> {
    let numeric = |b: &u8| b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let start = example.iter().position(numeric)?;
    let end = example.iter().rposition(u8::is_ascii_digit)? + 1;
    let (prefix, suffix) = (&example[..start], example.get(end..)?);
    if (prefix.is_empty() && suffix.is_empty()) || prefix.len() + suffix.len() > 64 {
        return None;
    }
    let inner: Vec<&[u8]> = sample
        .iter()
        .filter_map(|text| text.strip_prefix(prefix)?.strip_suffix(suffix))
        .collect();
    let form = Part::Formatted(number_form(&inner)?);
    let literal = |bytes: &[u8]| (!bytes.is_empty()).then(|| Part::Literal(bytes.to_vec()));
    let parts = [literal(prefix), Some(form), literal(suffix)];
    Some(parts.into_iter().flatten().collect())
}

/// Several runs of digits between constant text, like `604-534-5114`.
fn runs(example: &[u8], sample: &[&[u8]]) -> Option<Vec<Part>> {
    let tokens = tokens(example)?;
    let numbers = tokens.iter().filter(|t| t[0].is_ascii_digit()).count();
    if !(2..=4).contains(&numbers) {
        return None;
    }
    let alike = |own: &Vec<&[u8]>| {
        let digits = |t: &[u8]| t[0].is_ascii_digit();
        let pairs = || own.iter().zip(&tokens);
        own.len() == tokens.len() && pairs().all(|(a, b)| a == b || (digits(a) && digits(b)))
    };
    let split = sample.iter().filter_map(|text| self::tokens(text));
    let all: Vec<Vec<&[u8]>> = split.filter(alike).collect();
    let part = |i: usize| match tokens[i][0].is_ascii_digit() {
        true => {
            let column: Vec<&[u8]> = all.iter().map(|tokens| tokens[i]).collect();
            Some(Part::Formatted(number_form(&column)?))
        }
        false => Some(Part::Literal(tokens[i].to_vec())),
    };
    (0..tokens.len()).map(part).collect()
}

/// Runs of digits, and what stands between them; none is empty. `None` if there are many.
fn tokens(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut tokens: Vec<&[u8]> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.first() {
        let digit = first.is_ascii_digit();
        let run = rest
            .iter()
            .take_while(|b| b.is_ascii_digit() == digit)
            .count();
        let (token, after) = rest.split_at(run);
        tokens.push(token);
        rest = after;
        if tokens.len() > 16 {
            return None;
        }
    }
    Some(tokens)
}

/// The form of the numbers among the values.
fn number_form(sample: &[&[u8]]) -> Option<TextForm> {
    let mut decimals = Vec::new();
    let mut padded: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut bare, mut trailing) = (false, 0);
    for text in sample {
        let unsigned = text.strip_prefix(b"-").unwrap_or(text);
        let (whole, fraction) = match unsigned.iter().position(|&b| b == b'.') {
            Some(at) => (&unsigned[..at], &unsigned[at + 1..]),
            None => (unsigned, &[][..]),
        };
        let digits = whole.len() + fraction.len();
        let all = whole.iter().chain(fraction).all(u8::is_ascii_digit);
        if !all || digits == 0 || digits > 19 {
            continue;
        }
        decimals.push(fraction.len() as u32);
        bare |= whole.is_empty();
        trailing += usize::from(fraction.len() > 1 && fraction.ends_with(b"0"));
        if whole.len() > 1 && whole.starts_with(b"0") {
            *padded.entry(whole.len() as u32).or_default() += 1;
        }
    }
    decimals.sort_unstable();
    let least = *decimals.first()?;
    let most = decimals[((decimals.len() as f64 * MOST) as usize).min(decimals.len() - 1)];
    let width = match padded.iter().max_by_key(|(_, count)| **count) {
        Some((&width, _)) => width,
        None => u32::from(!bare),
    };
    // All with as many decimals, or none with a zero at the end: what fewer values break.
    let fixed = decimals.iter().filter(|&&d| d == most).count();
    let kept = match fixed + trailing >= decimals.len() {
        true => most,
        false => least.min(most),
    };
    TextForm::number(width, most, kept).ok()
}

/// Adds the forms of dates and times that an example suggests.
fn moments(example: &[u8], candidates: &mut Vec<TextForm>) {
    let Some(tokens) = tokens(example) else {
        return;
    };
    let mut dates: Vec<(Vec<Piece>, &[&[u8]])> = vec![(Vec::new(), &tokens)];
    if let [a, s, b, t, c, after @ ..] = tokens.as_slice()
        && s == t
        && matches!(s, [b'-' | b'/' | b'.'])
    {
        let gap = || Piece::Literal(s.to_vec());
        let month = |n: u8| vec![Piece::Month(n)];
        let day = |n: u8| vec![Piece::Day(n)];
        for width in [2, 1] {
            let (month, day) = (month(width), day(width));
            let mut put = |fields: [&[Piece]; 3]| {
                let [x, y, z] = fields;
                let pieces = [x, &[gap()], y, &[gap()], z].concat();
                dates.push((pieces, after));
            };
            match (a.len(), b.len(), c.len()) {
                (4, 1..=2, 1..=2) => put([&[Piece::Year], &month, &day]),
                (1..=2, 1..=2, 4) => {
                    put([&month, &day, &[Piece::Year]]);
                    put([&day, &month, &[Piece::Year]]);
                }
                _ => {}
            }
        }
    }
    for (date, after) in dates {
        let dated = !date.is_empty();
        let (gap, clock) = match after {
            [gap, clock @ ..] if dated => (Some(gap), clock),
            clock if !dated => (None, clock),
            _ => {
                push(date, candidates);
                continue;
            }
        };
        let start: Vec<Piece> = date
            .into_iter()
            .chain(gap.map(|g| Piece::Literal(g.to_vec())))
            .collect();
        match clock {
            [hour, minute, more @ ..] if *minute == b":" && hour.len() <= 2 => {
                times(start, more, candidates);
            }
            other if dated => push(with_rest(start, other), candidates),
            _ => {}
        }
    }
}

/// Adds the forms of a time whose hour and first colon are known.
fn times(start: Vec<Piece>, tokens: &[&[u8]], candidates: &mut Vec<TextForm>) {
    let colon = || Piece::Literal(b":".to_vec());
    let [minute, more @ ..] = tokens else {
        return;
    };
    if minute.len() != 2 {
        return;
    }
    let (mut fine, mut rest) = (vec![colon(), Piece::Minute], more);
    if let [gap, second, more @ ..] = rest
        && *gap == b":"
        && second.len() == 2
    {
        fine.extend([colon(), Piece::Second]);
        rest = more;
        if let [point, fraction, more @ ..] = rest
            && *point == b"."
            && fraction.len() <= 9
        {
            let point = Piece::Literal(b".".to_vec());
            fine.extend([point, Piece::Fraction(fraction.len() as u8)]);
            rest = more;
        }
    }
    let half = matches!(rest, [tail] if tail.ends_with(b"AM") || tail.ends_with(b"PM"));
    for width in [2, 1] {
        let hour = if half {
            Piece::Hour12(width)
        } else {
            Piece::Hour(width)
        };
        let mut pieces = start.clone();
        pieces.push(hour);
        pieces.extend(fine.iter().cloned());
        if let ([tail], true) = (rest, half) {
            let gap = &tail[..tail.len() - 2];
            if !gap.is_empty() {
                pieces.push(Piece::Literal(gap.to_vec()));
            }
            pieces.push(Piece::Meridiem);
            push(pieces, candidates);
        } else {
            push(with_rest(pieces, rest), candidates);
        }
    }
}

/// The fields and all that follows them as literal text.
fn with_rest(mut pieces: Vec<Piece>, rest: &[&[u8]]) -> Vec<Piece> {
    let rest = rest.concat();
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    pieces
}

fn push(pieces: Vec<Piece>, candidates: &mut Vec<TextForm>) {
    if let Ok(moment) = Moment::new(pieces) {
        let form = TextForm::Moment(moment);
        if !candidates.contains(&form) {
            candidates.push(form);
        }
    }
}
