//! `aam explain CODE`: the background of a diagnostic.

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{Context, Exit, Format};
use crate::diag::{codes, quoted};
use crate::{drift, mapping};

/// Explain a code such as AAM-S014; without a code, list all
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, in upper or lower case, with or without AAM-
    code: Option<String>,
}

/// A code as it is printed.
#[derive(Debug, Clone, Copy, Serialize)]
struct Explained {
    code: &'static str,
    title: &'static str,
    text: &'static str,
}

/// Every code of every module, family by family: settings, specs, locks, mappings, drift.
fn all() -> impl Iterator<Item = Explained> {
    let own = codes::all().map(|c| Explained { code: c.code, title: c.title, text: c.text });
    let others = mapping::CODES.iter().chain(drift::CODES);
    own.chain(others.map(|(code, title, text)| Explained { code, title, text }))
}

/// Looks a code up; upper and lower case are the same, and `AAM-` may be left out.
fn find(code: &str) -> Option<Explained> {
    let wanted = code.trim().to_ascii_uppercase();
    let wanted = wanted.strip_prefix("AAM-").unwrap_or(&wanted);
    all().find(|c| c.code.strip_prefix("AAM-") == Some(wanted))
}

/// Runs `aam explain`.
pub fn run(args: &Explain, context: &Context) -> anyhow::Result<Exit> {
    let text = match (&args.code, context.out.format) {
        (None, Format::Human) => all().map(|c| format!("{}  {}\n", c.code, c.title)).collect(),
        (None, Format::Json) => serde_json::to_string_pretty(&all().collect::<Vec<_>>())?,
        (Some(code), format) => {
            let Some(found) = find(code) else {
                bail!("no code is called {}; `aam explain` lists them all", quoted(code));
            };
            match format {
                Format::Human => format!("{}: {}\n\n{}\n", found.code, found.title, found.text),
                Format::Json => serde_json::to_string_pretty(&found)?,
            }
        }
    };
    context.out.data(&text);
    Ok(Exit::InSync)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for written in ["AAM-S014", "aam-s014", "S014", " s014 "] {
            assert_eq!(find(written).map(|c| c.code), Some("AAM-S014"));
        }
        assert_eq!(find("d006").map(|c| c.title), Some("a field goes by another name"));
        assert!(find("S999").is_none());
    }
}
