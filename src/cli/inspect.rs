//! `pilaster inspect`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Outcome;
use super::words::{align, bar, bytes, count, plural, ratio, share};
use crate::file::proto::Lossiness;
use crate::file::{Anatomy, ColumnAnatomy, ColumnRole, File, TreeAnatomy};
use crate::kind::logs::templates;
use crate::kind::tables::layout::saved;
use json::Json;

mod json;

/// Show what is inside a .pil file and where its bytes went
///
/// Each column with its type, its encoding, its bytes, and the columns it is conditioned on with
/// what each of them saves. The bytes of a derived column are those of the hidden column that it is
/// restored from.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pilaster inspect orders.pil\n  \
    pilaster inspect orders.pil --tree\n  \
    pilaster inspect orders.pil --json | jq '.columns[] | {name, bytes}'")]
pub(super) struct Args {
    /// The .pil file.
    file: PathBuf,
    /// The tree of encodings of each column.
    #[arg(long, group = "view")]
    tree: bool,
    /// All columns as they are stored, hidden ones too.
    #[arg(long, group = "view")]
    columns: bool,
    /// All segments with their places in the file.
    #[arg(long, group = "view")]
    segments: bool,
    /// The templates of a log, with the lines that each has.
    #[arg(long, group = "view")]
    templates: bool,
    /// Everything, as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let file = File::open(&args.file)?;
    let anatomy = file.anatomy()?;
    let text = if args.json {
        let mut text = to_json(file.meta().name(), &anatomy).to_string();
        text.push('\n');
        text
    } else {
        let mut text = head(file.meta().name(), &anatomy);
        text.push('\n');
        if args.templates {
            text.push_str(&log_templates(&file)?);
        } else if args.tree {
            text.push_str(&trees(&anatomy));
        } else if args.segments {
            text.push_str(&segments(&anatomy));
        } else {
            text.push_str(&table(&anatomy, args.columns));
            text.push('\n');
            text.push_str(&whither(&anatomy));
        }
        text
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The line that says it all.
fn head(name: &str, anatomy: &Anatomy) -> String {
    let shown = anatomy.columns.iter().filter(|c| c.role.is_shown());
    let columns = shown.clone().count() as u64;
    let decoded: u64 = shown.map(|c| c.decoded).sum();
    let mut line = format!(
        "{name}   {} x {}   {}",
        plural(anatomy.rows, "row", "rows"),
        plural(columns, "column", "columns"),
        bytes(anatomy.size),
    );
    if decoded > 0 {
        let _ = write!(
            line,
            "   {} smaller than its {} in memory",
            ratio(decoded, anatomy.size),
            bytes(decoded)
        );
    }
    line.push('\n');
    line
}

/// The encodings from the root down along the heaviest child: `dictionary > bitpacked`.
fn chain(column: &ColumnAnatomy) -> String {
    let heaviest = |places: &[TreeAnatomy]| places.iter().max_by_key(|p| p.bytes).cloned();
    let mut names = Vec::new();
    let mut others = column.tree.len().saturating_sub(1);
    let mut place = heaviest(&column.tree);
    while let Some(here) = place {
        names.push(here.short().to_owned());
        place = heaviest(&here.children);
        if names.len() == 4 && place.is_some() {
            names.push("..".to_owned());
            break;
        }
    }
    let mut chain = names.join(" > ");
    if others > 0 {
        others = others.min(99);
        let _ = write!(chain, " (+{others})");
    }
    chain
}

/// The hidden column that a derived column is restored from.
fn storage<'a>(anatomy: &'a Anatomy, column: &ColumnAnatomy) -> Option<&'a ColumnAnatomy> {
    match column.role {
        ColumnRole::Derived => anatomy.columns.get(*column.parents.first()?),
        _ => None,
    }
}

/// What each parent saves, as the layout noted it; the words of lossy columns are the user's.
fn savings(column: &ColumnAnatomy) -> Vec<f64> {
    match column.lossiness {
        Some(_) => Vec::new(),
        None => saved(&column.words),
    }
}

/// Parents and what each saves, in the words of the user's columns.
fn knows(anatomy: &Anatomy, column: &ColumnAnatomy) -> String {
    let mut saved = savings(column).into_iter();
    let mut parts = Vec::new();
    for parent in &column.parents {
        let name = anatomy
            .columns
            .get(*parent)
            .map(|c| c.field.name().as_str())
            .unwrap_or("?");
        let name = match name {
            "$latent" => "row class",
            other => other.trim_start_matches('$'),
        };
        match saved.next() {
            Some(saving) if saving >= 1.0 => {
                parts.push(format!("{name} (-{})", bytes(saving as u64)));
            }
            _ => parts.push(name.to_owned()),
        }
    }
    parts.join(", ")
}

/// A line for each column.
fn table(anatomy: &Anatomy, all: bool) -> String {
    let heading = match all {
        true => [
            "column",
            "type",
            "role",
            "nulls",
            "encoding",
            "bytes",
            "",
            "",
            "ratio",
            "conditioned on",
        ],
        false => [
            "column",
            "type",
            "",
            "nulls",
            "encoding",
            "bytes",
            "",
            "",
            "ratio",
            "conditioned on",
        ],
    };
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut users: HashMap<usize, usize> = HashMap::new();
    for column in &anatomy.columns {
        if let (ColumnRole::Derived, Some(first)) = (column.role, column.parents.first()) {
            *users.entry(*first).or_default() += 1;
        }
    }
    let mut used = vec![false; anatomy.columns.len()];
    for column in &anatomy.columns {
        if !all && !column.role.is_shown() {
            continue;
        }
        let store = storage(anatomy, column).filter(|_| !all);
        if let (Some(_), Some(first)) = (store, column.parents.first()) {
            used[*first] = true;
        }
        let own = column.bytes() + store.map_or(0, ColumnAnatomy::bytes);
        let decoded = column.decoded;
        let role = match column.role {
            ColumnRole::Visible => "",
            ColumnRole::Hidden => "hidden",
            ColumnRole::Derived => "derived",
        };
        let mut encoding = chain(store.unwrap_or(column));
        // The words of other columns are the layout's, not the user's.
        let own_words = column.role == ColumnRole::Visible || column.lossiness.is_some();
        if own_words && !column.words.is_empty() {
            encoding = format!("{encoding} ({})", column.words);
        }
        if let Some(loss) = &column.lossiness {
            let _ = write!(
                encoding,
                " lossy, error up to {:.3e}, {:.3e} RMS",
                loss.measured_max, loss.measured_rms
            );
            if let Some(recall) = loss.recall_at_10 {
                let _ = write!(
                    encoding,
                    ", recall@10 {recall:.3} in a sample of {}",
                    count(u64::from(loss.recall_rows))
                );
            }
            if let Some(saturated) = loss.saturated.filter(|n| *n > 0) {
                let _ = write!(encoding, ", {} cut", plural(saturated, "value", "values"));
            }
        }
        rows.push(vec![
            column.field.name().clone(),
            column.field.data_type().to_string(),
            if all { role.to_owned() } else { String::new() },
            match column.nulls {
                0 => String::new(),
                n => count(n),
            },
            encoding,
            bytes(own),
            share(own, anatomy.size),
            bar(own, anatomy.size, 16),
            ratio(decoded, own),
            knows(anatomy, store.unwrap_or(column)),
        ]);
    }
    if !all {
        let rest = anatomy
            .columns
            .iter()
            .zip(&used)
            .filter(|(c, used)| c.role == ColumnRole::Hidden && !**used);
        for (column, _) in rest {
            let own = column.bytes();
            rows.push(vec![
                match column.field.name().as_str() {
                    "$latent" => "(row class)".to_owned(),
                    other => format!("({other})"),
                },
                "hidden".to_owned(),
                String::new(),
                String::new(),
                chain(column),
                bytes(own),
                share(own, anatomy.size),
                bar(own, anatomy.size, 16),
                String::new(),
                knows(anatomy, column),
            ]);
        }
        for row in &mut rows {
            row.remove(2);
        }
        return align(&rows, &[2, 4, 5, 7]);
    }
    align(&rows, &[3, 5, 6, 8])
}

/// Where the bytes went, by purpose and by encoding.
fn whither(anatomy: &Anatomy) -> String {
    let parts = &anatomy.parts;
    let mut rows = Vec::new();
    for (name, part) in [
        ("values", parts.data),
        ("models", parts.models),
        ("zone maps", parts.zones),
        ("metadata", parts.metadata),
        ("checksums, padding", parts.overhead),
    ] {
        rows.push(vec![
            name.to_owned(),
            bytes(part),
            share(part, anatomy.size),
            bar(part, anatomy.size, 24),
        ]);
    }
    let mut out = align(&rows, &[1, 2]);
    let encodings: Vec<String> = anatomy
        .by_encoding()
        .iter()
        .filter(|(_, b)| *b > 0)
        .take(8)
        .map(|(name, b)| format!("{name} {}", share(*b, parts.data)))
        .collect();
    if !encodings.is_empty() {
        let _ = writeln!(out, "values by encoding: {}", encodings.join(", "));
    }
    out
}

/// Templates of a log: lines, bytes and text of each.
fn log_templates(file: &File) -> Outcome<String> {
    let found = templates(file)?;
    let all: u64 = found.iter().map(|t| t.lines).sum();
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|t| {
            vec![
                plural(t.lines, "line", "lines"),
                share(t.lines, all),
                bytes(t.bytes),
                t.text.clone(),
            ]
        })
        .collect();
    Ok(align(&rows, &[0, 1, 2]))
}

/// The trees of all columns.
fn trees(anatomy: &Anatomy) -> String {
    fn branch(place: &TreeAnatomy, lead: &str, last: bool, size: u64, rows: &mut Vec<Vec<String>>) {
        let joint = if last { "└ " } else { "├ " };
        rows.push(vec![
            format!("{lead}{joint}{}", place.short()),
            plural(place.rows, "value", "values"),
            plural(place.chunks as u64, "chunk", "chunks"),
            bytes(place.bytes),
            share(place.bytes, size),
        ]);
        let lead = format!("{lead}{}", if last { "  " } else { "│ " });
        let count = place.children.len();
        for (i, child) in place.children.iter().enumerate() {
            branch(child, &lead, i + 1 == count, size, rows);
        }
    }
    let mut rows = Vec::new();
    for column in &anatomy.columns {
        let knows = knows(anatomy, column);
        rows.push(vec![
            column.field.name().clone(),
            column.field.data_type().to_string(),
            match column.role {
                ColumnRole::Visible => String::new(),
                ColumnRole::Hidden => "hidden".to_owned(),
                ColumnRole::Derived => "derived".to_owned(),
            },
            bytes(column.bytes()),
            share(column.bytes(), anatomy.size),
            match knows.is_empty() {
                true => String::new(),
                false => format!("conditioned on {knows}"),
            },
        ]);
        let count = column.tree.len();
        for (i, place) in column.tree.iter().enumerate() {
            branch(place, "", i + 1 == count, anatomy.size, &mut rows);
        }
    }
    align(&rows, &[3, 4])
}

/// A line for each segment.
fn segments(anatomy: &Anatomy) -> String {
    let mut rows = vec![
        ["column", "segment", "offset", "bytes"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for column in &anatomy.columns {
        for (i, (offset, length)) in column.segments.iter().enumerate() {
            rows.push(vec![
                column.field.name().clone(),
                i.to_string(),
                offset.map_or("in block".to_owned(), |o| o.to_string()),
                length.to_string(),
            ]);
        }
    }
    align(&rows, &[1, 2, 3])
}

/// What was declared to be lost, and what was.
fn loss(loss: &Lossiness) -> Json {
    let declared = match loss.kind {
        1 => "absolute error",
        2 => "relative error",
        _ => "quantized",
    };
    let bound = match loss.kind {
        1 | 2 => Json::Float(loss.bound),
        _ => Json::Null,
    };
    Json::object([
        ("declared", Json::text(declared)),
        ("bound", bound),
        // Zero: as many as the entropy coder takes.
        ("bits", Json::Number(u64::from(loss.bits))),
        ("metric", Json::text(&loss.metric)),
        ("measured_max", Json::Float(loss.measured_max)),
        ("measured_rms", Json::Float(loss.measured_rms)),
        (
            "recall_at_10",
            loss.recall_at_10.map_or(Json::Null, Json::Float),
        ),
        ("recall_rows", Json::Number(u64::from(loss.recall_rows))),
        (
            "recall_queries",
            Json::Number(u64::from(loss.recall_queries)),
        ),
        ("saturated", loss.saturated.map_or(Json::Null, Json::Number)),
    ])
}

fn to_json(name: &str, anatomy: &Anatomy) -> Json {
    fn tree(place: &TreeAnatomy) -> Json {
        Json::object([
            ("encoding", Json::text(&place.encoding)),
            ("chunks", Json::Number(place.chunks as u64)),
            ("values", Json::Number(place.rows)),
            ("bytes", Json::Number(place.bytes)),
            (
                "children",
                Json::List(place.children.iter().map(tree).collect()),
            ),
        ])
    }
    let parts = &anatomy.parts;
    let columns = anatomy.columns.iter().enumerate().map(|(index, column)| {
        let parents = column
            .parents
            .iter()
            .filter_map(|p| anatomy.columns.get(*p));
        let saved = savings(column);
        let segments = column.segments.iter().map(|(offset, length)| {
            Json::object([
                ("offset", offset.map_or(Json::Null, Json::Number)),
                ("bytes", Json::Number(*length)),
            ])
        });
        Json::object([
            ("name", Json::text(column.field.name())),
            ("type", Json::text(&column.field.data_type().to_string())),
            (
                "role",
                Json::text(match column.role {
                    ColumnRole::Visible => "visible",
                    ColumnRole::Hidden => "hidden",
                    ColumnRole::Derived => "derived",
                }),
            ),
            (
                "parents",
                Json::List(parents.map(|p| Json::text(p.field.name())).collect()),
            ),
            (
                "saved",
                Json::List(
                    saved
                        .into_iter()
                        .map(|s| Json::Number(s.max(0.0) as u64))
                        .collect(),
                ),
            ),
            ("bytes", Json::Number(column.bytes())),
            ("closure_bytes", Json::Number(anatomy.closure(index))),
            ("data_bytes", Json::Number(column.data)),
            ("model_bytes", Json::Number(column.models)),
            ("zone_bytes", Json::Number(column.zones)),
            ("block_bytes", Json::Number(column.block)),
            ("arrow_bytes", Json::Number(column.decoded)),
            ("nulls", Json::Number(column.nulls)),
            ("exact", Json::Bool(column.lossiness.is_none())),
            ("loss", column.lossiness.as_ref().map_or(Json::Null, loss)),
            ("asked_for", Json::text(&column.words)),
            ("chunks", Json::Number(column.chunks as u64)),
            ("tree", Json::List(column.tree.iter().map(tree).collect())),
            ("segments", Json::List(segments.collect())),
        ])
    });
    Json::object([
        ("file", Json::text(name)),
        ("rows", Json::Number(anatomy.rows)),
        ("bytes", Json::Number(anatomy.size)),
        (
            "parts",
            Json::object([
                ("values", Json::Number(parts.data)),
                ("models", Json::Number(parts.models)),
                ("zone_maps", Json::Number(parts.zones)),
                ("metadata", Json::Number(parts.metadata)),
                ("overhead", Json::Number(parts.overhead)),
            ]),
        ),
        ("columns", Json::List(columns.collect())),
    ])
}
