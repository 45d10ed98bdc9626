//! The command line: arguments in, data on stdout, talk on stderr, one exit code. One file for each subcommand.

mod act;
mod apply;
mod by_name;
mod check;
mod completions;
mod doctor;
mod drift;
mod events;
mod explain;
mod history;
mod import;
mod init;
mod lock;
mod output;
mod plan;
mod playground;
mod rollback;
mod run;
mod schema;
mod status;
mod sync;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use output::{Format, Output};

/// What a command's end means to whoever called it. Several at once: 1 > 4 > 3 > 2 > 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// In sync; nothing to do.
    InSync,
    /// Invalid input, or it failed.
    Failed,
    /// Changes are pending.
    Pending,
    /// A person must decide.
    Decide,
    /// Could not look: says nothing about what is there.
    Unseen,
    /// The command line itself is wrong.
    Usage,
}

impl Exit {
    /// The documented number.
    pub fn code(self) -> u8 {
        match self {
            Self::InSync => 0,
            Self::Failed => 1,
            Self::Pending => 2,
            Self::Decide => 3,
            Self::Unseen => 4,
            Self::Usage => 64,
        }
    }

    /// The weightier of two.
    #[must_use]
    pub fn and(self, other: Exit) -> Exit {
        let weight = |exit| match exit {
            Self::InSync => 0,
            Self::Pending => 1,
            Self::Decide => 2,
            Self::Unseen => 3,
            Self::Failed => 4,
            Self::Usage => 5,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

/// Keep data pipelines alive when the systems they read from change shape
///
/// Exit codes: 0 in sync, 1 invalid or failed, 2 changes pending, 3 a person must decide, 4 could not look, 64 usage.
#[derive(Debug, Parser)]
#[command(name = "aam", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
struct Global {
    /// Use the configuration repository at DIR
    ///
    /// Without it, the nearest folder upwards that holds config/aam.toml, else the current one.
    #[arg(long, global = true, value_name = "DIR", env = "AAM_REPOSITORY")]
    repository: Option<PathBuf>,
    /// Read settings from FILE instead of config/aam.toml
    #[arg(long, global = true, value_name = "FILE", env = "AAM_CONFIG")]
    config: Option<PathBuf>,
    /// Print data for people or for machines
    #[arg(long, global = true, value_enum, default_value = "human")]
    format: Shape,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Use no colour, as NO_COLOR does
    #[arg(long, global = true)]
    no_color: bool,
}

/// The values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// For people
    Human,
    /// For machines
    Json,
    /// The comment of a request: only `aam plan --base REF --head REF`
    Markdown,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Import(import::Import),
    Check(check::Check),
    Lock(lock::Lock),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Run(run::Run),
    Status(status::Status),
    Drift(drift::Drift),
    Sync(sync::Sync),
    Clear(by_name::Clear),
    Cancel(by_name::Cancel),
    History(history::History),
    Diff(history::Diff),
    Rollback(rollback::GoBack),
    Events(events::Events),
    Doctor(doctor::Doctor),
    Explain(explain::Explain),
    Schema(schema::Schema),
    Playground(playground::Playground),
    Completions(completions::Completions),
}

/// What every command gets.
#[derive(Debug, Clone)]
pub struct Context {
    /// The configuration repository.
    pub root: PathBuf,
    /// `--config`, if it was given.
    pub config: Option<PathBuf>,
    /// Where to print.
    pub out: Output,
    /// 0: normal, more with each `-v`; -1 with `-q`.
    pub verbosity: i8,
}

/// Parses the arguments, runs the command, and turns its outcome into an exit code.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap prints them on stdout. A closed pipe is nobody's fault.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::InSync };
            return ExitCode::from(exit.code());
        }
    };
    let format = if cli.global.format == Shape::Json { Format::Json } else { Format::Human };
    let out = Output::new(format, cli.global.quiet, cli.global.no_color);
    if cli.global.format == Shape::Markdown && !matches!(&cli.command, Command::Plan(plan) if plan.is_review()) {
        out.say("error: only `aam plan --base REF --head REF` prints Markdown");
        return ExitCode::from(Exit::Usage.code());
    }
    let exit = match context(&cli.global, out.clone()) {
        Ok(context) => run(cli.command, &context).await,
        Err(error) => Err(error),
    };
    let exit = exit.unwrap_or_else(|error| {
        out.error(&error);
        Exit::Failed
    });
    ExitCode::from(exit.code())
}

async fn run(command: Command, context: &Context) -> anyhow::Result<Exit> {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Import(args) => import::run(&args, context).await,
        Command::Check(args) => check::run(&args, context),
        Command::Lock(args) => lock::run(&args, context).await,
        Command::Plan(args) => plan::run(&args, context).await,
        Command::Apply(args) => apply::run(&args, context).await,
        Command::Run(args) => run::run(&args, context).await,
        Command::Status(args) => status::run(&args, context).await,
        Command::Drift(args) => drift::run(&args, context).await,
        Command::Sync(args) => sync::run(&args, context).await,
        Command::Clear(args) => by_name::clear(&args, context).await,
        Command::Cancel(args) => by_name::cancel(&args, context).await,
        Command::History(args) => history::run(&args, context).await,
        Command::Diff(args) => history::run_diff(&args, context).await,
        Command::Rollback(args) => rollback::run(&args, context).await,
        Command::Events(args) => events::run(&args, context).await,
        Command::Doctor(args) => doctor::run(&args, context).await,
        Command::Explain(args) => explain::run(&args, context),
        Command::Schema(args) => schema::run(&args, context),
        Command::Playground(args) => playground::run(&args, context).await,
        Command::Completions(args) => completions::run(&args, context),
    }
}

fn context(global: &Global, out: Output) -> anyhow::Result<Context> {
    let root = match &global.repository {
        Some(dir) => dir.clone(),
        None => {
            let here = std::env::current_dir()?;
            let found = here.ancestors().find(|dir| dir.join("config/aam.toml").is_file());
            found.unwrap_or(&here).to_owned()
        }
    };
    let verbosity = if global.quiet { -1 } else { i8::try_from(global.verbose).unwrap_or(i8::MAX) };
    Ok(Context { root, config: global.config.clone(), out, verbosity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_tree_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn help_begins_with_one_short_imperative_line() {
        use clap::CommandFactory;
        let mut todo = vec![Cli::command()];
        while let Some(command) = todo.pop() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let short =
                !about.is_empty() && about.chars().count() <= 80 && !about.ends_with('.') && !about.contains('\n');
            assert!(short && about.starts_with(char::is_uppercase), "{}: {about:?}", command.get_name());
            for option in command.get_arguments() {
                let help = option.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    !help.is_empty() && !help.ends_with('.'),
                    "{} {}: {help:?}",
                    command.get_name(),
                    option.get_id()
                );
            }
            todo.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn the_weightiest_exit_wins() {
        let order = [Exit::InSync, Exit::Pending, Exit::Decide, Exit::Unseen, Exit::Failed];
        for (i, a) in order.into_iter().enumerate() {
            for b in &order[i..] {
                assert_eq!((a.and(*b), b.and(a)), (*b, *b));
            }
        }
    }
}
