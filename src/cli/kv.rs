//! `pilaster kv`: what only key/value caches have.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::words::{bytes, plural};
use super::{Failure, Outcome};
use crate::kind::kv::{FitOptions, Pairing, Rope, describe, fit_files};

/// Learn from KV caches of a model how to store others of it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Fit(Fit),
}

/// Fit a profile to sample caches, for --encode 'k*=klt(PROFILE)'
///
/// A profile holds the means and transforms of a model's keys and values, and belongs to that model.
/// Samples should be of other texts of the kind that will be stored, some thousand tokens at least.
/// Files hold the parts of the profile that they need; klt(PROFILE,STEP,outside) leaves them out, for
/// stores of many small files: such a file is only read where the profile is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    pilaster kv fit samples/*.safetensors -o llama.kvp\n  \
    pilaster kv fit a.npz b.npz -o model.kvp --model my-model --heads 2 --step 0.3\n  \
    pilaster import prefix.safetensors cache.pil --encode 'k*=klt(llama.kvp)' \
    --encode 'v*=klt(llama.kvp)'")]
struct Fit {
    /// Sample caches: .safetensors, .npz or k.npy.
    #[arg(required = true, value_name = "CACHE")]
    caches: Vec<PathBuf>,
    /// The profile to write.
    #[arg(short, long, value_name = "PROFILE")]
    output: PathBuf,
    /// Name of the model; else the one that the first sample names.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// How keys are turned by their positions; found out from the samples by default.
    #[arg(long, value_enum, default_value_t = RopeName::Auto)]
    rope: RopeName,
    /// Base of RoPE's frequencies.
    #[arg(long, default_value_t = 10_000.0)]
    rope_base: f64,
    /// Heads that are transformed together: more take fewer bits and more time; whoever reads one of
    /// them reads all.
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// Usual step of the codes, in standard deviations; klt(PROFILE,STEP) overrides it.
    #[arg(long, default_value_t = 0.25)]
    step: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RopeName {
    Auto,
    None,
    /// Pairs (i, i + d/2): Hugging Face, NeoX.
    Half,
    /// Pairs (2i, 2i + 1): llama2.c, GPT-J.
    Interleaved,
}

pub(super) fn run(args: &Args, quiet: bool) -> Outcome {
    match &args.command {
        Command::Fit(args) => fit(args, quiet),
    }
}

fn fit(args: &Fit, quiet: bool) -> Outcome {
    if !(args.step > 0.0 && args.step < 100.0) {
        return Err(Failure::Message(
            "--step takes a part of a standard deviation, as 0.25".into(),
        ));
    }
    let options = FitOptions {
        model: args.model.clone().unwrap_or_default(),
        rope: match args.rope {
            RopeName::Auto => Rope::Auto,
            RopeName::None => Rope::None,
            RopeName::Half => Rope::Pairs(Pairing::Half),
            RopeName::Interleaved => Rope::Pairs(Pairing::Interleaved),
        },
        base: args.rope_base,
        heads: args.heads,
        step: args.step,
    };
    let profile = fit_files(&args.caches, options)?;
    let written = profile.write(&args.output)?;
    if !quiet {
        eprintln!(
            "{}: {} for model '{}', keys turned {}, {} together, step {}",
            args.output.display(),
            bytes(written),
            profile.model(),
            describe(&profile.rotation()),
            plural(profile.heads_together() as u64, "head", "heads"),
            profile.step()
        );
    }
    Ok(ExitCode::SUCCESS)
}
