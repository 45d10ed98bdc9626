//! `aam init`: begins a configuration repository.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{Context, Exit};

/// Begin a configuration repository
///
/// Writes settings, examples and canonical entities, and begins a git repository unless DIR lies in one. A file that is
/// there is never overwritten; a second run changes nothing.
#[derive(Debug, Args)]
pub struct Init {
    /// Where; made if it is missing
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What is written. Files that end in `.example` are not read by aam: take the ending away to use them.
const FILES: &[(&str, &str)] = &[
    ("config/aam.toml", include_str!("../../config/aam.toml")),
    ("connectors.d/crm.yaml.example", include_str!("../../connectors.d/crm.yaml")),
    ("connectors.d/warehouse.yaml.example", include_str!("../../connectors.d/warehouse.yaml")),
    ("mappings/crm.yaml.example", include_str!("../../mappings/crm.yaml")),
    ("mappings/entities/account.yaml", include_str!("../../mappings/entities/account.yaml")),
    ("mappings/entities/contact.yaml", include_str!("../../mappings/entities/contact.yaml")),
    ("mappings/entities/opportunity.yaml", include_str!("../../mappings/entities/opportunity.yaml")),
    (".gitattributes", GITATTRIBUTES),
    (".gitignore", GITIGNORE),
];

/// `merge` set: the plain three-way merge, whatever a person's own settings say. A union of two locks is no lock.
pub(super) const GITATTRIBUTES: &str = "\
# Written by aam; reviews fold them away. Two versions of a lock are never joined line by line.
*.lock.yaml linguist-generated merge
drift/** linguist-generated
";

pub(super) const GITIGNORE: &str = "\
# State of the daemon: a cache, and the private database of a laptop.
/.aam/
";

/// Runs `aam init`.
pub fn run(args: &Init, context: &Context) -> anyhow::Result<Exit> {
    let mut written = Vec::new();
    for (path, text) in FILES {
        let file = args.dir.join(path);
        if args.dry_run && !file.exists() || !args.dry_run && write_new(&file, text)? {
            context.out.say(&format!("+ {path}"));
            written.push(*path);
        }
    }
    let in_git = git(&args.dir, &["rev-parse", "--is-inside-work-tree"]).is_ok();
    if !in_git && !args.dry_run {
        begin_git(&args.dir, &written, context)?;
    }
    if written.is_empty() && in_git {
        context.out.say("= everything is there already; nothing was changed");
    } else if args.dry_run {
        context.out.say(if in_git { "nothing was written" } else { "+ a git repository\nnothing was written" });
    } else {
        context.out.say("Next: rename an `.example` in connectors.d, fill it in, run `aam check`, and commit it");
    }
    Ok(Exit::InSync)
}

/// Writes a file that is not there yet; `false` if it is.
pub(super) fn write_new(file: &Path, text: &str) -> anyhow::Result<bool> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    match std::fs::OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut new) => {
            new.write_all(text.as_bytes()).with_context(|| format!("writing {}", file.display()))?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("writing {}", file.display())),
    }
}

/// A repository with one commit of what was written just now, and of nothing else that lies there.
fn begin_git(dir: &Path, written: &[&str], context: &Context) -> anyhow::Result<()> {
    git(dir, &["init", "--quiet", "--initial-branch=main"])?;
    context.out.say("+ a git repository, branch main");
    if written.is_empty() {
        return Ok(());
    }
    git(dir, &[&["add", "--"], written].concat())?;
    match git(dir, &["commit", "--quiet", "--message=aam: begin a configuration repository"]) {
        Ok(()) => context.out.say("+ the first commit"),
        Err(error) => context.out.say(&format!("the files are staged but not committed: {error:#}")),
    }
    Ok(())
}

pub(super) fn git(dir: &Path, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .context("starting git, which aam needs")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", args.first().unwrap_or(&""), said.trim());
    }
    Ok(())
}
