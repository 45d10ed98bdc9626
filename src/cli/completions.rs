//! `aam completions SHELL`.

use clap::{Args, CommandFactory};

use super::{Cli, Context, Exit};

/// Print completions for a shell
#[derive(Debug, Args)]
pub struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Runs `aam completions`.
pub fn run(args: &Completions, context: &Context) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "aam", &mut text);
    context.out.data(&String::from_utf8(text)?);
    Ok(Exit::InSync)
}
