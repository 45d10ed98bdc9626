//! `aam doctor`: every setting with its origin, and whether everything that the daemon needs is there.
//!
//! Each check stands alone and says how to mend what it finds; one that cannot be made because of another says so
//! (`skipped`). Nothing is changed, but that the private cluster is started for the time of the checks, as by every command.

mod airbyte;
mod checks;
mod forge;
mod sources;

use clap::Args;
use serde::Serialize;

use super::{Context, Exit, act};
use crate::diag::escape;
use crate::settings::Setting;
use crate::wiring;

/// Show every setting with its origin, and check what the daemon needs
///
/// Exit code 0: every check passes or is skipped, 1: one failed.
#[derive(Debug, Args)]
pub struct Doctor {}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pass,
    /// It works; a person should look all the same.
    Warn,
    Fail,
    Skipped,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    check: String,
    status: Status,
    /// What was observed.
    found: String,
    /// What to do about it.
    mend: Option<String>,
}

impl Check {
    fn new(check: &str, status: Status, found: impl Into<String>, mend: Option<&str>) -> Self {
        Self { check: check.into(), status, found: found.into(), mend: mend.map(str::to_owned) }
    }

    fn pass(check: &str, found: impl Into<String>) -> Self {
        Self::new(check, Status::Pass, found, None)
    }

    fn warn(check: &str, found: impl Into<String>, mend: &str) -> Self {
        Self::new(check, Status::Warn, found, Some(mend))
    }

    fn fail(check: &str, found: impl Into<String>, mend: &str) -> Self {
        Self::new(check, Status::Fail, found, Some(mend))
    }

    fn skipped(check: &str, why: impl Into<String>) -> Self {
        Self::new(check, Status::Skipped, why, None)
    }
}

#[derive(Debug, Serialize)]
struct Findings {
    settings: Vec<Setting>,
    checks: Vec<Check>,
}

/// Runs `aam doctor`.
pub async fn run(_: &Doctor, context: &Context) -> anyhow::Result<Exit> {
    let findings = match wiring::settings_with_origins(&context.root, context.config.as_deref()) {
        Ok((settings, origins)) => {
            let checks = checks::all(&context.root, &settings).await;
            Findings { settings: origins, checks }
        }
        Err(error) => {
            let why = format!("{error:#}");
            let mend = "correct the settings; `aam explain` has the background of each code";
            let rest = Check::skipped("everything else", "it depends on the settings");
            let checks = vec![Check::fail("settings", why.trim_end(), mend), checks::git(&context.root).await, rest];
            Findings { settings: Vec::new(), checks }
        }
    };
    act::print(context, &findings, &text(&findings))?;
    let count = |status| findings.checks.iter().filter(|check| check.status == status).count();
    let (pass, warn, fail) = (count(Status::Pass), count(Status::Warn), count(Status::Fail));
    let skipped = count(Status::Skipped);
    context.out.say(&format!("Doctor: {pass} pass, {warn} to look at, {fail} fail, {skipped} skipped"));
    Ok(if fail == 0 { Exit::InSync } else { Exit::Failed })
}

fn text(findings: &Findings) -> String {
    let mut out = String::new();
    let width = findings.settings.iter().map(|s| s.key.len() + s.value.chars().count()).max().unwrap_or(0) + 3;
    for setting in &findings.settings {
        let value = if setting.value.is_empty() { "-".into() } else { escape(&setting.value) };
        let value = format!("{} = {value}", setting.key);
        out.push_str(&format!("{value:width$}  ({})\n", escape(&setting.origin.to_string())));
    }
    if !findings.settings.is_empty() {
        out.push('\n');
    }
    for check in &findings.checks {
        let word = match check.status {
            Status::Pass => "pass",
            Status::Warn => "look",
            Status::Fail => "fail",
            Status::Skipped => "skipped",
        };
        let found = check.found.lines().map(escape).collect::<Vec<_>>().join("\n         ");
        out.push_str(&format!("{word:7}  {}: {found}\n", escape(&check.check)));
        if let Some(mend) = &check.mend {
            out.push_str(&format!("         mend: {}\n", escape(mend)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Origin;

    #[test]
    fn settings_show_their_origin_and_checks_their_mend() {
        let setting = |key: &str, value: &str, origin| Setting { key: key.into(), value: value.into(), origin };
        let findings = Findings {
            settings: vec![
                setting("drift.max_open", "7", Origin::Env("AAM_DRIFT__MAX_OPEN".into())),
                setting("registry.url", "***", Origin::File("config/aam.toml:5".into())),
            ],
            checks: vec![
                Check::pass("git", "version 2.39.5"),
                Check::warn("registry", "the role bypasses row-level security", "use another role"),
                Check::fail("source crm", "refused\u{1b}[2J", "start it\nnow"),
                Check::skipped("audit", "no registry"),
            ],
        };
        insta::assert_snapshot!(text(&findings), @r"
        drift.max_open = 7  (env AAM_DRIFT__MAX_OPEN)
        registry.url = ***  (config/aam.toml:5)

        pass     git: version 2.39.5
        look     registry: the role bypasses row-level security
                 mend: use another role
        fail     source crm: refused\u{1b}[2J
                 mend: start it\nnow
        skipped  audit: no registry
        ");
    }
}
