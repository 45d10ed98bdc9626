//! `aam playground`: a sample repository to try aam on, and changes to the sample sources it reads.
//!
//! Everything lies in one folder: the specs as a git repository of its own, the exports, and below `.aam` the private
//! cluster with the sample CRM. A marker in `.aam` says that the folder is a playground; without it nothing is touched.

mod export;
mod make;
mod mutate;
mod target;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::{Context, Exit};
use crate::http::Control;
use crate::wiring::{self, sample::SampleCluster};

/// Make and change a sample repository to try aam on
#[derive(Debug, Args)]
pub struct Playground {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a playground: specs in git, a sample CRM database, a folder of exports
    ///
    /// A second run changes nothing. A folder that holds something else is refused.
    Init {
        /// Where; made if it is missing
        dir: PathBuf,
        /// Say what would be written, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Change a sample source, as its owners would without telling anyone
    Mutate(mutate::Mutate),
    /// Delete a playground with its databases
    Remove {
        /// Which
        dir: PathBuf,
        /// Say what would be deleted, and delete nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Runs `aam playground`.
pub async fn run(args: &Playground, context: &Context) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Init { dir, dry_run } => make::init(dir, *dry_run, context).await,
        Command::Mutate(args) => mutate::run(args, context).await,
        Command::Remove { dir, dry_run } => remove(dir, *dry_run, context).await,
    }
}

async fn remove(dir: &Path, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    let dir = open(dir, &[READY, MAKING])?;
    let state = state(&dir);
    if Control::find(&wiring::control_socket(&state)?)?.is_some() {
        bail!("a daemon runs in {}: stop it first", dir.display());
    }
    if dry_run {
        context.out.say(&format!("- {}\nnothing was deleted", dir.display()));
        return Ok(Exit::InSync);
    }
    SampleCluster::remove(&state).await?;
    std::fs::remove_dir_all(&dir).with_context(|| format!("deleting {}", dir.display()))?;
    context.out.say(&format!("- {}", dir.display()));
    Ok(Exit::InSync)
}

/// What the marker says of a playground that is whole.
const READY: &str = "ready\n";
/// What it says until then: the next `init` goes on.
const MAKING: &str = "making\n";

/// The state folder of a playground; its `config/aam.toml` says the same.
fn state(dir: &Path) -> PathBuf {
    dir.join(".aam")
}

fn marker(dir: &Path) -> PathBuf {
    state(dir).join("playground.made")
}

/// What the marker of a folder says; `None` if there is none.
fn mark(dir: &Path) -> anyhow::Result<Option<String>> {
    let file = marker(dir);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// The real path of a playground, if its marker says one of these.
fn open(dir: &Path, marks: &[&str]) -> anyhow::Result<PathBuf> {
    let dir = std::fs::canonicalize(dir).with_context(|| format!("opening {}", dir.display()))?;
    if mark(&dir)?.is_some_and(|mark| marks.contains(&mark.as_str())) {
        return Ok(dir);
    }
    bail!(
        "{} is no playground: `aam playground init DIR` makes one; run this in it, or with --repository DIR",
        dir.display()
    )
}
