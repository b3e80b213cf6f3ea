//! `pilaster search`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::sql::{Format, Session};
use super::{Failure, Outcome};
use crate::kind::embeddings::VECTOR_COLUMN;
use crate::kind::embeddings::source::read_all;

/// Find the rows whose vectors are nearest to a query
///
/// The answer is exact for the vectors as they are stored, whatever the code. All columns but the
/// vectors are shown, with _row_id, the row's number in its file, and _distance. Rows whose vector is
/// null are never found, under cosine zero vectors neither; rows that tie come by number; if fewer than
/// K rows qualify, all of them come.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pilaster search texts.pil --query query.npy -k 5\n  \
    pilaster search texts.pil --column v --query '[0.1, 0.2, 0.3]' --metric cosine --where \"lang = 'en'\"")]
pub(super) struct Args {
    /// The file to search.
    file: PathBuf,
    /// Its column of vectors.
    #[arg(short, long, default_value = VECTOR_COLUMN)]
    column: String,
    /// A vector in brackets, or a .npy, .fvecs or .bvecs file; each of its vectors is a query.
    #[arg(long, allow_hyphen_values = true)]
    query: String,
    /// How many rows.
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// What distance means.
    #[arg(short, long, value_enum, default_value_t = Distance::L2)]
    metric: Distance,
    /// A condition on the rows, in SQL.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// How results are shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Distance {
    /// Euclidean.
    L2,
    /// One less the cosine.
    Cosine,
    /// The negative inner product.
    InnerProduct,
}

/// The queries that were given.
fn queries(given: &str) -> Outcome<Vec<Vec<f32>>> {
    let Some(list) = given.trim().strip_prefix('[') else {
        let (values, dimension) = read_all(given.as_ref())?;
        return Ok(values
            .chunks_exact(dimension)
            .map(<[f32]>::to_vec)
            .collect());
    };
    let list = list.strip_suffix(']').unwrap_or(list);
    let number = |word: &str| {
        let word = word.trim();
        word.parse::<f32>()
            .map_err(|_| Failure::Message(format!("'{word}' in the query is no number")))
    };
    Ok(vec![list.split(',').map(number).collect::<Outcome<_>>()?])
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

pub(super) fn run(args: &Args) -> Outcome {
    let queries = queries(&args.query)?;
    let path = args.file.display().to_string();
    let file = crate::File::open(&args.file)?;
    let schema = file.meta().schema()?;
    let Ok(column) = schema.index_of(&args.column) else {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(Failure::Message(format!(
            "{path} has no column '{}'; it has {}",
            args.column,
            names.join(", ")
        )));
    };
    let mut session = Session::open(args.format, false)?;
    let metric = match args.metric {
        Distance::L2 => "l2",
        Distance::Cosine => "cosine",
        Distance::InnerProduct => "inner_product",
    };
    for (number, query) in queries.iter().enumerate() {
        // Checks the query against the column before anything is planned.
        file.nearest(
            column,
            &crate::encoding::distance::Query::new(Default::default(), query.as_slice())?,
            0,
            None,
        )?;
        let values: Vec<String> = query
            .iter()
            .map(|v| format!("{:?}", f64::from(*v)))
            .collect();
        let number = match queries.len() {
            1 => String::new(),
            _ => format!("{number} AS query, "),
        };
        session.run(&format!(
            "SELECT {number}* EXCEPT (\"{}\") FROM vector_search({}, {}, [{}], {}, {}, '{metric}') \
             ORDER BY _distance, _row_id",
            args.column.replace('"', "\"\""),
            quoted(&path),
            quoted(&args.column),
            values.join(", "),
            args.k,
            quoted(args.condition.as_deref().unwrap_or_default()),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
