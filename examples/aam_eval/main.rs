//! `aam_eval`: measures drift detection, and fits its parameters. Run it with `cargo run --release --example aam_eval -- …`.
//!
//! - `drift FILE.jsonl [--fit lopo|shipped] [--format text|json]`: renames and kinds of change on labelled schema changes;
//! - `fit FILE.jsonl --out src/drift/rename/model.json`: fits the shipped parameters;
//! - `values [--seed N] [--drifts N] [--tables DIR]`: renames of generated tables whose values were joined by key.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod boost;
mod corpus;
mod fit;
mod generate;
mod kinds;
mod logistic;
mod report;
mod tables;
#[cfg(test)]
mod tests;
mod types;
mod values;

use std::path::PathBuf;
use std::process::ExitCode;

use aam::drift::rename::{FEATURES, Model};
use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use fit::Sample;

/// Measure drift detection, and fit its parameters
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge labelled schema changes by names, types and places
    Drift {
        /// One pair of table versions a line
        file: PathBuf,
        /// Parameters that never saw the project they judge, or those that are shipped
        #[arg(long, value_enum, default_value_t = Fit::Lopo)]
        fit: Fit,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Fit the shipped parameters on labelled schema changes
    Fit {
        /// One pair of table versions a line
        file: PathBuf,
        /// Where to write them
        #[arg(long)]
        out: PathBuf,
    },
    /// Judge generated drifts by values joined by key
    Values {
        /// Where the random numbers begin
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many drifts
        #[arg(long, default_value_t = 10_000)]
        drifts: usize,
        /// A folder with CSV files whose columns are used, too
        #[arg(long)]
        tables: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fit {
    Lopo,
    Shipped,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Where the random numbers of fitting begin.
const SEED: u64 = 1;

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Drift { file, fit, format } => {
            let figures = report::measure(file, *fit)?;
            match format {
                Format::Json => println!("{}", serde_json::to_string(&figures.json())?),
                Format::Text => print!("{}", figures.text()),
            }
        }
        Command::Fit { file, out } => {
            let samples = |ordered: bool| -> anyhow::Result<Vec<Sample>> {
                let cases = corpus::read(file)?;
                cases.map(|case| Ok(Sample::of(&if ordered { case? } else { case?.without_order() }))).collect()
            };
            let judge = |samples: &[Sample]| fit::judge(&samples.iter().collect::<Vec<_>>(), SEED);
            let model = Model {
                features: FEATURES.iter().map(|&name| name.to_owned()).collect(),
                ordered: judge(&samples(true)?),
                unordered: judge(&samples(false)?),
            };
            // one tree a line, whole numbers without a point: small, and its diffs can be read
            let text = serde_json::to_string(&model)?.replace("[[", "\n[[").replace(".0,", ",").replace(".0]", "]");
            std::fs::write(out, text + "\n").with_context(|| format!("{}: cannot be written", out.display()))?;
        }
        Command::Values { seed, drifts, tables } => {
            let figures = values::measure(*seed, *drifts, tables.as_deref())?;
            print!("{}", figures.text());
            figures.hold()?;
        }
    }
    Ok(())
}
