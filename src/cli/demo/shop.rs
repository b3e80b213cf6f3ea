//! The demo's table: a shop's orders and customers.

use std::path::Path;
use std::time::Instant;

use super::super::words::{align, bytes, count};
use super::{Failure, Outcome, Stage, data};
use crate::encoding::Profile;
use crate::file::{ColumnRole, File};
use crate::kind::tables::layout::saved;
use crate::kind::tables::{ExportOptions, ImportOptions, export, import};

/// What is asked, and what for.
const QUERIES: [(&str, &str); 6] = [
    (
        "Sales by country",
        "SELECT country, count(*) AS orders, sum(total) AS sales FROM orders \
         GROUP BY country ORDER BY sales DESC",
    ),
    (
        "One morning: zone maps leave one zone of a dozen to read",
        "SELECT order_id, ordered_at, product, total FROM orders \
         WHERE ordered_at BETWEEN TIMESTAMP '2024-06-03T08:00:00' AND TIMESTAMP '2024-06-03T09:00:00' \
         ORDER BY ordered_at LIMIT 5",
    ),
    (
        "A join: who spends most, and since when they are customers",
        "SELECT c.name, c.since, sum(o.total) AS spent FROM orders o \
         JOIN customers c ON o.customer_id = c.customer_id \
         GROUP BY c.name, c.since ORDER BY spent DESC LIMIT 5",
    ),
    (
        "Text: the notes that mention an invoice",
        "SELECT note, count(*) AS orders FROM orders WHERE note LIKE '%invoice%' GROUP BY note",
    ),
    (
        "Null is not the empty string: customers without a credit limit",
        "SELECT count(*) AS customers, count(credit_limit) AS with_limit, \
         avg(credit_limit) AS average_limit FROM customers",
    ),
    (
        "The archive gives the same answers: returns by category",
        "SELECT category, count(*) AS orders, \
         sum(CASE WHEN status = 'returned' THEN 1 ELSE 0 END) AS returned \
         FROM orders_archive GROUP BY category ORDER BY category",
    ),
];

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    stage.say(&format!(
        "Tables: a made-up shop, {} orders of {} customers, as CSV\n",
        count(data::ORDERS),
        count(data::CUSTOMERS)
    ))?;
    let folder = stage.folder.to_owned();
    let failed = |e| Failure::Message(format!("cannot write {}: {e}", folder.display()));
    data::make(&folder).map_err(failed)?;
    let at = |name: &str| folder.join(name);
    let balanced = ImportOptions::default();
    let archive = ImportOptions {
        profile: Profile::Archive,
        ..ImportOptions::default()
    };
    for (source, target, options) in [
        ("customers.csv", "customers.pil", &balanced),
        ("orders.csv", "orders.pil", &balanced),
        ("orders.csv", "orders_archive.pil", &archive),
    ] {
        let started = Instant::now();
        import(&[at(source)], &at(target), options, &mut |_| ())?;
        stage.imported(source, target, started);
    }
    for (source, target) in [
        ("orders.pil", "orders.parquet"),
        ("orders_archive.pil", "again.csv"),
    ] {
        let options = ExportOptions::default();
        export(&at(source), &at(target), &options, &mut |_, _| ())?;
    }
    let mut sizes = Vec::new();
    for (name, file) in [
        ("CSV", "orders.csv"),
        ("Parquet, zstd", "orders.parquet"),
        (".pil, balanced", "orders.pil"),
        (".pil, archive", "orders_archive.pil"),
    ] {
        sizes.push((name, stage.size(file)?));
    }
    stage.sizes("Sizes of the orders", &sizes)?;
    stage.same("orders.csv", "again.csv")?;
    stage.say(&learned(&at("orders_archive.pil"))?)?;
    for name in ["orders", "customers", "orders_archive"] {
        stage.name(name)?;
    }
    stage.ask(&QUERIES)
}

/// What the archive found between the columns.
fn learned(path: &Path) -> Outcome<String> {
    let anatomy = File::open(path)?.anatomy()?;
    let mut found = Vec::new();
    for column in anatomy
        .columns
        .iter()
        .filter(|c| c.role == ColumnRole::Hidden)
    {
        let saved = saved(&column.words);
        for (parent, saved) in column.parents.iter().zip(saved) {
            if let Some(parent) = anatomy.columns.get(*parent).filter(|_| saved >= 1.0) {
                found.push((
                    saved as u64,
                    column.field.name().clone(),
                    parent.field.name().clone(),
                ));
            }
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    let word = |name: &str| match name {
        "$latent" => "the kind of row".to_owned(),
        other => other.trim_start_matches('$').to_owned(),
    };
    let rows: Vec<Vec<String>> = found
        .iter()
        .take(8)
        .map(|(saved, column, parent)| {
            vec![
                word(column),
                format!("given {}", word(parent)),
                format!("saves {}", bytes(*saved)),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => Ok(String::new()),
        false => Ok(format!(
            "What the archive found between columns\n{}",
            align(&rows, &[])
        )),
    }
}
