//! Markdown tables and means.

use std::collections::HashMap;
use std::path::Path;

use crate::Result;

/// A row of a Markdown table.
pub fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().collect();
    format!("| {} |", cells.join(" | "))
}

/// The first two lines of a Markdown table; all columns but the first are numbers.
pub fn header(names: &[&str]) -> String {
    let line = names.iter().enumerate().map(|(i, _)| match i {
        0 => "---".to_owned(),
        _ => "---:".to_owned(),
    });
    format!(
        "{}\n{}",
        row(names.iter().map(|n| (*n).to_owned())),
        row(line)
    )
}

/// The geometric mean; NaN of nothing.
pub fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// A whole number with thousands apart.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio; a dash where it is not known.
pub fn ratio(value: f64) -> String {
    match value.is_finite() {
        true => format!("{value:.3}"),
        false => "-".to_owned(),
    }
}

/// Sizes of Parquet that others measured: table, size with zstd 3 and with zstd 19.
#[derive(Debug, Default)]
pub struct Reference(HashMap<String, (Option<u64>, Option<u64>)>);

impl Reference {
    /// Reads the Markdown tables of a file whose columns `table`, `pq_zstd3` and `pq_zstd19` name
    /// them.
    pub fn read(path: &Path) -> Result<Self> {
        let mut found: HashMap<String, (Option<u64>, Option<u64>)> = HashMap::new();
        let mut names: Vec<String> = Vec::new();
        for line in std::fs::read_to_string(path)?.lines() {
            let Some(line) = line.trim().strip_prefix('|') else {
                names.clear();
                continue;
            };
            let cells: Vec<String> = line.split('|').map(|c| c.trim().to_owned()).collect();
            if names.is_empty() {
                names = cells;
                continue;
            }
            let cell = |name: &str| {
                let at = names.iter().position(|n| n == name)?;
                cells.get(at).filter(|c| !c.is_empty())
            };
            let size = |name| cell(name).and_then(|c| c.parse().ok());
            if let Some(table) = cell("table") {
                let entry = found.entry(table.clone()).or_default();
                entry.0 = entry.0.or(size("pq_zstd3"));
                entry.1 = entry.1.or(size("pq_zstd19"));
            }
        }
        Ok(Self(found))
    }

    /// The sizes of a table, if the file has it.
    pub fn get(&self, table: &str) -> Option<(Option<u64>, Option<u64>)> {
        self.0.get(table).copied()
    }
}
