//! The drift file: front matter for machines, then what changed, what it touches, the diff and how to decide, for
//! people. The same input gives the same bytes.

use std::fmt::Write as _;

use similar::TextDiff;

use super::markdown::{code, fence, plain};
use crate::drift::{Assessed, Assessment, Grade, Severity, line_of, retyped, say};
use crate::model::{ConnectionRef, FileEdit, Fingerprint};

/// More changes than a person reads one by one: the rest is counted.
const MOST_CHANGES: usize = 40;
/// More changes with evidence than a person reads.
const MOST_EVIDENCE: usize = 12;
/// More diff lines than a person reads.
const MOST_DIFF_LINES: usize = 400;

/// What a drift file tells.
pub(super) struct Story<'a> {
    pub connection: &'a ConnectionRef,
    pub base: &'a Fingerprint,
    pub target: &'a Fingerprint,
    pub version: u32,
    pub assessment: &'a Assessment,
    /// Taken in by rules, without a person.
    pub taken_in: bool,
    pub edits: &'a [FileEdit],
    /// What the repair cannot do, or what a person should know.
    pub notes: &'a [String],
    pub branch: &'a str,
}

pub(super) fn write(story: &Story<'_>) -> String {
    let mut out = front_matter(story);
    let changes = &story.assessment.changes;
    let count = changes.len();
    let _ = writeln!(out, "\n# Drift of {}: {count} change{}\n", plain(&story.connection.to_string()), plural(count));
    let lines: Vec<String> =
        changes.iter().take(MOST_CHANGES).map(|c| format!("{}   [{}]", say(&c.change), c.rule)).collect();
    out.push_str(&fence("diff", &lines.join("\n")));
    if count > MOST_CHANGES {
        let _ = writeln!(out, "\n… and {} more; the diff below has them.", count - MOST_CHANGES);
    }
    out.push_str("\nWhat a code means: `aam explain CODE`.\n");
    evidence(changes, &mut out);
    touches(changes, &mut out);
    out.push_str("\n## What it means for data\n\n");
    for sentence in effects(story.assessment) {
        let _ = writeln!(out, "- {sentence}");
    }
    if !story.notes.is_empty() {
        out.push_str("\n## What remains to do\n\n");
        for note in story.notes {
            let _ = writeln!(out, "- {}", plain(note));
        }
    }
    out.push_str("\n## Diff\n\n");
    out.push_str(&fence("diff", &diff(story.edits)));
    decide(story, &mut out);
    out
}

fn front_matter(story: &Story<'_>) -> String {
    let automatic = story.assessment.automatic();
    let automatic = automatic.gate().map_or_else(|| "yes".to_owned(), |gate| format!("no: {gate}"));
    format!(
        "---\nconnection: {}\ndrift: {}\nbase: {}\nversion: {}\nchanges: {}\nseverity: {}\nconfidence: {:.2}\nautomatic: {}\n---\n",
        super::yaml::double(&story.connection.to_string()),
        story.target,
        story.base,
        story.version,
        story.assessment.changes.len(),
        word(story.assessment.severity()),
        story.assessment.confidence(),
        super::yaml::double(&automatic),
    )
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::None => "none",
        Severity::Additive => "additive",
        Severity::BreakingForMapping => "breaking_for_mapping",
        Severity::BreakingForSync => "breaking_for_sync",
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// What speaks for and against each rename, and whether it needs a person; for a field that went, who could be it.
fn evidence(changes: &[Assessed], out: &mut String) {
    let told: Vec<&Assessed> = changes.iter().filter(|c| !c.evidence.is_empty()).collect();
    if told.is_empty() {
        return;
    }
    out.push_str("\n## Evidence\n\n");
    let block = |c: &&Assessed| {
        let mut lines = vec![line_of(&c.change)];
        lines.extend(c.evidence.iter().map(|line| format!("    {line}")));
        let gate = c.automatic.gate();
        let verdict = gate.map_or_else(|| "automatic".to_owned(), |gate| format!("not automatic: {gate}"));
        lines.push(format!("    confidence {:.2}; {verdict}", c.confidence));
        lines.join("\n")
    };
    let blocks: Vec<String> = told.iter().take(MOST_EVIDENCE).map(block).collect();
    out.push_str(&fence("text", &blocks.join("\n")));
    if told.len() > blocks.len() {
        let _ = writeln!(out, "\n… and {} more with evidence.", told.len() - blocks.len());
    }
}

fn touches(changes: &[Assessed], out: &mut String) {
    out.push_str("\n## What it touches\n\n");
    let lines: Vec<String> = changes
        .iter()
        .flat_map(|c| c.impact.iter())
        .map(|impact| {
            let place =
                if impact.line == 0 { impact.file.to_string() } else { format!("{}:{}", impact.file, impact.line) };
            format!("{place}  {}", impact.hit.words())
        })
        .collect();
    if lines.is_empty() {
        out.push_str("No mapping, key or cursor uses what changed.\n");
        return;
    }
    let shown = lines.len().min(MOST_CHANGES);
    out.push_str(&fence("text", &lines[..shown].join("\n")));
    if lines.len() > shown {
        let _ = writeln!(out, "\n… and {} more places.", lines.len() - shown);
    }
}

/// A sentence or two for each kind of change that is there, worst first.
fn effects(assessment: &Assessment) -> Vec<&'static str> {
    const EFFECTS: &[(&str, &str)] = &[
        ("AAM-D002", "The stream is no longer read; its landed rows and events stay."),
        (
            "AAM-D017",
            "Under another name it is another stream: it lands in a table of its own and is read from its beginning, and each of its records gives an event anew, at positions from 1.",
        ),
        (
            "AAM-D017",
            "Landed rows, events and read positions of the old name stay as they are. Nothing says there that a record is gone: whoever reads events by stream goes on with the new one.",
        ),
        ("AAM-D012", "With another key records are told apart anew: the next sync may emit every record once more."),
        ("AAM-D014", "Incremental reading stops until another cursor or mode is chosen in the spec."),
        ("AAM-D016", "The stream can no longer be read in a mode that the source supported."),
        ("AAM-D013", "Reading goes on; which rows count as new may differ."),
        (
            "AAM-D005",
            "New rows carry no value for a field that is gone; canonical fields that only it feeds get no value from new rows.",
        ),
        (
            "AAM-D006",
            "New rows carry the value under the new name; with this repair it reaches the same canonical fields. A record whose values are unchanged gives no new event.",
        ),
        (
            "AAM-D009",
            "Values must be read in another way: casts, value tables and expressions that use the field need a look.",
        ),
        ("AAM-D008", "Old values may not fit the new type; landed rows keep theirs."),
        ("AAM-D010", "Records without a value may arrive."),
        ("AAM-D007", "Old values stay as they are; new ones may be larger or of one more type."),
        ("AAM-D011", "Nothing changes for values that are there."),
        ("AAM-D001", "The new stream is landed from the next sync on; no mapping reads it yet."),
        ("AAM-D003", "Values of a new field are landed and kept in unknown_fields until a mapping takes them."),
        (
            "AAM-D004",
            "Values of a new field are landed and kept in unknown_fields until a mapping takes them; older rows have none.",
        ),
        ("AAM-D015", "Nothing changes until the spec asks for the new mode."),
    ];
    let has = |c: &Assessed, rule: &str| match rule {
        // In a renamed stream every record is told anew, whatever its fields are called.
        "AAM-D006" => c.rule == rule && assessment.stream_before(&c.change) == c.change.stream(),
        "AAM-D007" => is(c, Grade::Widened),
        "AAM-D008" => is(c, Grade::Narrowed),
        "AAM-D009" => is(c, Grade::Reinterpreted),
        _ => c.rule == rule,
    };
    let told = EFFECTS.iter().filter(|(rule, _)| assessment.changes.iter().any(|c| has(c, rule)));
    told.map(|(_, text)| *text).collect()
}

/// Whether the type changed so, beside a rename or alone.
fn is(changed: &Assessed, grade: Grade) -> bool {
    retyped(&changed.change).is_some_and(|graded| graded.grade == grade)
}

fn diff(edits: &[FileEdit]) -> String {
    let mut out = String::new();
    for edit in edits {
        let (before, after) = (edit.before.as_deref().unwrap_or(""), edit.after.as_deref().unwrap_or(""));
        let header = |prefix: &str| format!("{prefix}/{}", edit.path);
        let diff = TextDiff::from_lines(before, after);
        out.push_str(&diff.unified_diff().context_radius(2).header(&header("a"), &header("b")).to_string());
    }
    let lines = out.lines().count();
    if lines > MOST_DIFF_LINES {
        let head: Vec<&str> = out.lines().take(MOST_DIFF_LINES).collect();
        return format!("{}\n… and {} more lines", head.join("\n"), lines - MOST_DIFF_LINES);
    }
    out.replace('\r', "")
}

fn decide(story: &Story<'_>, out: &mut String) {
    out.push_str("\n## How to decide\n\n");
    let name = story.connection;
    if story.taken_in {
        out.push_str("Nothing to do: every change was taken in by rule. To undo it:\n\n");
        out.push_str(&fence("sh", "git revert <this commit>"));
        return;
    }
    if let Some(gate) = story.assessment.automatic().gate() {
        let _ = writeln!(out, "A person decides, because {}.\n", plain(gate));
    }
    let branch = story.branch;
    let _ = writeln!(out, "To approve, merge the branch {}:\n", code(branch));
    out.push_str(&fence("sh", &format!("git merge {branch}      # or: aam drift approve {name}")));
    out.push_str("\nTo reject, and not be asked again for these changes:\n\n");
    out.push_str(&fence("sh", &format!("aam drift reject {name} --reason \"…\"")));
}
