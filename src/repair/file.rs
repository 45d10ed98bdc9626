//! The drift file: front matter for machines, then what changed, the evidence, what it touches, what it means for data, the
//! diff and how to decide, for people. The same input gives the same bytes.
//!
//! A person reads it on one screen: a long drift is folded by rule, what breaks comes first, and every list has an end. The
//! whole never has more than [`MOST_BYTES`], so that it fits into the body of a request anywhere.

use std::fmt::Write as _;

use similar::TextDiff;

use super::markdown::{Room, code, fence, fitting, fitting_lines, folded, plain, shortened, visible};
use super::trial::{self, Trial};
use crate::drift::{Assessed, Assessment, Change, Grade, Radius, Severity, line_of, retyped, say};
use crate::model::{ConnectionRef, FileEdit, Fingerprint, RepoPath};

/// GitHub refuses a longer body than 65,536 characters.
pub(super) const MOST_BYTES: usize = 63_000;
/// More changes than a person reads one by one: what breaks is told in full, the rest by rule.
const FEW: usize = 10;
/// What breaks.
const BREAKING: Room = Room { lines: 100, bytes: 10_000 };
/// All folded groups together.
const GROUPS: Room = Room { lines: 120, bytes: 8_000 };
/// A group with more changes is told by stream.
const GROUP: usize = 30;
/// So many names stand for the changes of a stream.
const NAMES: usize = 4;
/// Changes with evidence; a change has some five lines.
const EVIDENCE: Room = Room { lines: 60, bytes: 10_000 };
/// Places, columns and streams, each.
const TOUCHED: Room = Room { lines: 30, bytes: 3_000 };
const NOTES: Room = Room { lines: 20, bytes: 4_000 };
/// The diff of what people wrote.
const OWN_DIFF: Room = Room { lines: 120, bytes: 9_000 };
/// The diff of the lock, which repeats the changes; folded if it is longer than [`SHORT_DIFF`].
const LOCK_DIFF: Room = Room { lines: 120, bytes: 6_000 };
const SHORT_DIFF: usize = 30;
/// The gate names a field and an entity.
const GATE_BYTES: usize = 300;

/// Front matter, headings, sentences and fences.
const FIXED: usize = 3_500;
const _: () = assert!(
    FIXED
        + BREAKING.bytes
        + GROUPS.bytes
        + EVIDENCE.bytes
        + 3 * TOUCHED.bytes
        + NOTES.bytes
        + OWN_DIFF.bytes
        + trial::ROOM.bytes
        + LOCK_DIFF.bytes
        <= MOST_BYTES
);

/// What a drift file tells.
pub(super) struct Story<'a> {
    pub connection: &'a ConnectionRef,
    pub base: &'a Fingerprint,
    pub target: &'a Fingerprint,
    pub version: u32,
    pub lock: &'a RepoPath,
    pub assessment: &'a Assessment,
    pub radius: &'a Radius,
    /// What came of it on landed records, if it was tried.
    pub trials: Option<&'a [Trial]>,
    /// Taken in by rules, without a person.
    pub taken_in: bool,
    pub edits: &'a [FileEdit],
    /// What the repair cannot do, or what a person should know.
    pub notes: &'a [String],
    pub branch: &'a str,
}

impl Story<'_> {
    /// What breaks, and the rest; each in the order of the drift.
    fn split(&self) -> (Vec<&Assessed>, Vec<&Assessed>) {
        self.assessment.changes.iter().partition(|c| c.severity.is_breaking())
    }

    /// Where everything is that a list leaves out.
    fn whole(&self) -> String {
        match self.taken_in {
            true => format!("`git log -p -- {}` has all", self.lock),
            false => format!("`git show {}` has all", self.branch),
        }
    }

    /// A list in a fence, and how much of it is left out.
    fn list(&self, language: &str, lines: &[String], room: Room, what: &str) -> String {
        let (kept, left) = fitting_lines(lines, room);
        let mut out = fence(language, &kept.join("\n"));
        if left > 0 {
            let _ = writeln!(out, "\n… and {left} more {what}; {}.", self.whole());
        }
        out
    }
}

pub(super) fn write(story: &Story<'_>) -> String {
    let mut out = front_matter(story);
    what(story, &mut out);
    evidence(story, &mut out);
    touches(story, &mut out);
    if let Some(trials) = story.trials {
        let _ = write!(out, "\n## Tried on landed records\n\n{}", trial::told(trials));
    }
    out.push_str("\n## What it means for data\n\n");
    for sentence in effects(story.assessment) {
        let _ = writeln!(out, "- {sentence}");
    }
    notes(story, &mut out);
    diff(story, &mut out);
    decide(story, &mut out);
    out
}

fn front_matter(story: &Story<'_>) -> String {
    let automatic = story.assessment.automatic();
    let automatic = automatic
        .gate()
        .map_or_else(|| "yes".to_owned(), |gate| format!("no: {}", shortened(&visible(gate, false), GATE_BYTES)));
    format!(
        "---\nconnection: {}\ndrift: {}\nbase: {}\nversion: {}\nchanges: {}\nbreaking: {}\nseverity: {}\nconfidence: {:.2}\nautomatic: {}\n---\n",
        super::yaml::double(&story.connection.to_string()),
        story.target,
        story.base,
        story.version,
        story.assessment.changes.len(),
        story.split().0.len(),
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

/// What changed: all of it if that is little, else what breaks, and the rest by rule.
fn what(story: &Story<'_>, out: &mut String) {
    let (breaking, rest) = story.split();
    let count = story.assessment.changes.len();
    let _ = writeln!(out, "\n# Drift of {}: {count} change{}\n", plain(&story.connection.to_string()), plural(count));
    let line = |c: &&Assessed| format!("{}   [{}]", say(&c.change), c.rule);
    if count <= FEW {
        let lines: Vec<String> = breaking.iter().chain(&rest).map(line).collect();
        out.push_str(&story.list("diff", &lines, BREAKING, "changes"));
    } else if breaking.is_empty() {
        out.push_str("Nothing that is in use breaks.\n");
    } else {
        let verb = if breaking.len() == 1 { "breaks" } else { "break" };
        let _ = writeln!(out, "{} of them {verb} what is in use:\n", breaking.len());
        let lines: Vec<String> = breaking.iter().map(line).collect();
        out.push_str(&story.list("diff", &lines, BREAKING, "that break"));
    }
    if count > FEW {
        groups(story, &rest, out);
    }
    out.push_str("\nWhat a code means: `aam explain CODE`.\n");
}

/// One folded block for each rule.
fn groups(story: &Story<'_>, changes: &[&Assessed], out: &mut String) {
    let mut rules: Vec<&str> = changes.iter().map(|c| c.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let mut room = GROUPS;
    for (nth, rule) in rules.iter().enumerate() {
        let of_rule: Vec<&Change> = changes.iter().filter(|c| c.rule == *rule).map(|c| &c.change).collect();
        let mut streams: Vec<_> = of_rule.iter().map(|change| change.stream()).collect();
        streams.dedup();
        let lines: Vec<String> = if of_rule.len() <= GROUP {
            of_rule.iter().map(|change| say(change)).collect()
        } else {
            of_rule.chunk_by(|a, b| a.stream() == b.stream()).map(of_stream).collect()
        };
        // Every rule has its share of what is left.
        let share = rules.len() - nth;
        let (kept, left) = fitting_lines(&lines, Room { lines: room.lines / share, bytes: room.bytes / share });
        room.lines -= kept.len();
        room.bytes -= kept.iter().map(|line| line.len() + 1).sum::<usize>();
        let mut block = fence("diff", &kept.join("\n"));
        if left > 0 {
            let _ = writeln!(block, "\n… and {left} more lines; {}.", story.whole());
        }
        let places = if streams.len() > 1 { format!(" in {} streams", streams.len()) } else { String::new() };
        let _ = write!(out, "\n{}", folded(&format!("{}{places} [{rule}]", counted(rule, of_rule.len())), &block));
    }
}

/// The changes of one stream on one line.
fn of_stream(changes: &[&Change]) -> String {
    let sign = say(changes[0]).chars().next().unwrap_or('~');
    let names: Vec<String> =
        changes.iter().filter_map(|c| c.field()).take(NAMES).map(|field| shortened(&field.to_string(), 60)).collect();
    let more = if changes.len() > names.len() { ", …" } else { "" };
    format!("{sign} {}  {}: {}{more}", changes[0].stream(), changes.len(), names.join(", "))
}

/// `37 fields added`: how many changes of a rule there are, in words.
fn counted(rule: &str, count: usize) -> String {
    let (one, many) = match rule {
        "AAM-D001" => ("stream added", "streams added"),
        "AAM-D003" => ("field added", "fields added"),
        "AAM-D004" => ("field added that is never null", "fields added that are never null"),
        "AAM-D005" => ("field gone that nothing uses", "fields gone that nothing uses"),
        "AAM-D006" => ("field renamed that nothing uses", "fields renamed that nothing uses"),
        "AAM-D007" => ("field widened", "fields widened"),
        "AAM-D008" => ("field narrowed that nothing uses", "fields narrowed that nothing uses"),
        "AAM-D009" => ("field retyped that nothing uses", "fields retyped that nothing uses"),
        "AAM-D010" => ("field may be null now", "fields may be null now"),
        "AAM-D011" => ("field is never null now", "fields are never null now"),
        _ => ("change", "changes"),
    };
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What speaks for and against each rename, and whether it needs a person; for a field that went, who could be it.
fn evidence(story: &Story<'_>, out: &mut String) {
    let (breaking, rest) = story.split();
    let told = breaking.into_iter().chain(rest).filter(|c| !c.evidence.is_empty());
    let blocks: Vec<Vec<String>> = told.map(evidence_of).collect();
    if blocks.is_empty() {
        return;
    }
    out.push_str("\n## Evidence\n\n");
    let (kept, left) = fitting(&blocks, EVIDENCE);
    out.push_str(&fence("text", &kept.join("\n")));
    if left > 0 {
        let _ = writeln!(out, "\n… and {left} more with evidence.");
    }
}

fn evidence_of(c: &Assessed) -> Vec<String> {
    let mut lines = vec![line_of(&c.change)];
    lines.extend(c.evidence.iter().map(|line| format!("    {line}")));
    let gate = c.automatic.gate();
    let verdict = gate.map_or_else(|| "automatic".to_owned(), |gate| format!("not automatic: {gate}"));
    lines.push(format!("    confidence {:.2}; {verdict}", c.confidence));
    lines
}

/// Lines of files, columns of tables, and streams, each with what becomes of it.
fn touches(story: &Story<'_>, out: &mut String) {
    out.push_str("\n## What it touches\n\n");
    let radius = story.radius;
    if radius.places.is_empty() {
        out.push_str("No mapping, key or cursor uses what changed.\n");
    }
    let (mut lines, mut more) = (Vec::new(), Vec::new());
    for (items, what) in
        [(radius.place_words(), "places"), (radius.column_words(), "columns"), (radius.stream_words(), "streams")]
    {
        let (kept, left) = fitting(&items.into_iter().map(block_of).collect::<Vec<_>>(), TOUCHED);
        lines.extend(kept);
        more.extend((left > 0).then(|| format!("{left} more {what}")));
    }
    if !lines.is_empty() {
        let apart = if radius.places.is_empty() { "\n" } else { "" };
        let _ = write!(out, "{apart}{}", fence("text", &lines.join("\n")));
    }
    if !more.is_empty() {
        let _ =
            writeln!(out, "\n… and {}; `aam drift show {} --format json` has all.", more.join(", "), story.connection);
    }
    if let Some(words) = radius.counted_words() {
        let _ = writeln!(out, "\n{words}");
    }
}

/// The place and the first part on one line, what else there is to say below it.
fn block_of((place, parts): (String, Vec<String>)) -> Vec<String> {
    let mut parts = parts.into_iter();
    let first = format!("{place}  {}", parts.next().unwrap_or_default());
    std::iter::once(first).chain(parts.map(|part| format!("    {part}"))).collect()
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
            "AAM-D006 unmapped",
            "A new name that no mapping reads stands in unknown_fields of events: records of a mapped stream that are read again give an event each.",
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
        "AAM-D006" => c.rule == rule && is_mapped(c) && assessment.stream_before(&c.change) == c.change.stream(),
        "AAM-D006 unmapped" => c.rule == "AAM-D006" && !is_mapped(c),
        "AAM-D007" => is(c, Grade::Widened),
        "AAM-D008" => is(c, Grade::Narrowed),
        "AAM-D009" => is(c, Grade::Reinterpreted),
        _ => c.rule == rule,
    };
    let told = EFFECTS.iter().filter(|(rule, _)| assessment.changes.iter().any(|c| has(c, rule)));
    told.map(|(_, text)| *text).collect()
}

/// Whether a mapping reads what changed.
fn is_mapped(changed: &Assessed) -> bool {
    changed.impact.iter().any(|impact| impact.hit.entity().is_some())
}

/// Whether the type changed so, beside a rename or alone.
fn is(changed: &Assessed, grade: Grade) -> bool {
    retyped(&changed.change).is_some_and(|graded| graded.grade == grade)
}

fn notes(story: &Story<'_>, out: &mut String) {
    if story.notes.is_empty() {
        return;
    }
    out.push_str("\n## What remains to do\n\n");
    let notes: Vec<String> = story.notes.iter().map(|note| plain(note)).collect();
    let (kept, left) = fitting_lines(&notes, NOTES);
    kept.iter().for_each(|note| {
        let _ = writeln!(out, "- {note}");
    });
    if left > 0 {
        let _ = writeln!(out, "- … and {left} more of these; `aam check` after the merge names what is left.");
    }
}

/// What people wrote first; the lock, which repeats the changes, last.
fn diff(story: &Story<'_>, out: &mut String) {
    out.push_str("\n## Diff\n\n");
    let (lock, own): (Vec<&FileEdit>, Vec<&FileEdit>) = story.edits.iter().partition(|edit| edit.path == *story.lock);
    let (own, lock) = (diff_lines(&own), diff_lines(&lock));
    if !own.is_empty() && lock.len() > SHORT_DIFF {
        out.push_str(&story.list("diff", &own, OWN_DIFF, "lines"));
        out.push('\n');
    }
    if lock.len() > SHORT_DIFF {
        let summary = format!("The lock: {} lines", lock.len());
        out.push_str(&folded(&summary, &story.list("diff", &lock, LOCK_DIFF, "lines")));
    } else {
        let all: Vec<String> = own.into_iter().chain(lock).collect();
        out.push_str(&story.list("diff", &all, OWN_DIFF, "lines"));
    }
}

fn diff_lines(edits: &[&FileEdit]) -> Vec<String> {
    let mut out = String::new();
    for edit in edits {
        let (before, after) = (edit.before.as_deref().unwrap_or(""), edit.after.as_deref().unwrap_or(""));
        let header = |prefix: &str| format!("{prefix}/{}", edit.path);
        let diff = TextDiff::from_lines(before, after);
        out.push_str(&diff.unified_diff().context_radius(2).header(&header("a"), &header("b")).to_string());
    }
    out.replace('\r', "").lines().map(str::to_owned).collect()
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
        let _ = writeln!(out, "A person decides, because {}.\n", plain(&shortened(&visible(gate, false), GATE_BYTES)));
    }
    let branch = story.branch;
    let _ = writeln!(out, "To approve, merge the branch {}:\n", code(branch));
    out.push_str(&fence("sh", &format!("git merge {branch}      # or: aam drift approve {name}")));
    out.push_str("\nTo reject, and not be asked again for these changes:\n\n");
    out.push_str(&fence("sh", &format!("aam drift reject {name} --reason \"…\"")));
}
