//! Diagnostics for a terminal and for machines: two renderers of the same value.
//!
//! Everything that came from outside is escaped here, so that a field name cannot move the cursor.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Diagnostic, Place, Severity, escape};

/// Longest part of a line that is shown, in characters; the window moves so that the caret stays inside.
const WINDOW: usize = 120;

/// How diagnostics look on a terminal. The plain variant holds no escape sequences.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    error: Style,
    warning: Style,
    frame: Style,
    strong: Style,
}

impl Theme {
    /// No colour at all.
    pub const PLAIN: Theme =
        Theme { error: Style::new(), warning: Style::new(), frame: Style::new(), strong: Style::new() };

    /// The colours of rustc. Write it through `anstream`, which takes them away where they are not wanted.
    pub const COLOR: Theme = Theme {
        error: AnsiColor::BrightRed.on_default().bold(),
        warning: AnsiColor::Yellow.on_default().bold(),
        frame: AnsiColor::BrightBlue.on_default().bold(),
        strong: Style::new().bold(),
    };
}

/// All diagnostics as text, an empty line after each.
pub fn terminal(diagnostics: &[Diagnostic], theme: Theme) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(diagnostic, theme, &mut out);
        out.push('\n');
    }
    out
}

fn one(diagnostic: &Diagnostic, theme: Theme, out: &mut String) {
    let (word, style) = match diagnostic.severity {
        Severity::Error => ("error", theme.error),
        Severity::Warning => ("warning", theme.warning),
    };
    let Theme { frame, strong, .. } = theme;
    let message = escape(&diagnostic.message);
    line(out, &format!("{style}{word}[{}]{style:#}{strong}: {message}{strong:#}", diagnostic.code));
    let mut gutter = 1;
    if let Some(place) = &diagnostic.place {
        gutter = place.line.to_string().len();
        let mut at = escape(&place.file).into_owned();
        if place.line > 0 {
            write!(at, ":{}:{}", place.line, place.column).expect("writing to a String cannot fail");
        }
        line(out, &format!("{:gutter$}{frame}-->{frame:#} {at}", ""));
        if place.line > 0 {
            let (shown, caret) = window(place);
            let label = diagnostic.label.as_deref().map(|l| format!(" {}", escape(l))).unwrap_or_default();
            let (skip, width) = caret;
            line(out, &format!("{:gutter$} {frame}|{frame:#}", ""));
            line(out, &format!("{frame}{} |{frame:#} {shown}", place.line));
            let carets = "^".repeat(width);
            line(out, &format!("{:gutter$} {frame}|{frame:#} {:skip$}{style}{carets}{label}{style:#}", "", ""));
        } else if let Some(label) = &diagnostic.label {
            line(out, &format!("{:gutter$} {frame}={frame:#} {}", "", escape(label)));
        }
    }
    for note in &diagnostic.notes {
        line(out, &format!("{:gutter$} {frame}={frame:#} {}", "", escape(note)));
    }
    let help = diagnostic.help.as_deref().map(escape);
    let explain = format!("`aam explain {}` has the background", diagnostic.code);
    let help = match help {
        Some(question) if question.ends_with('?') => format!("{question} {explain}"),
        Some(mend) => format!("{mend}; {explain}"),
        None => explain,
    };
    line(out, &format!("{:gutter$} {frame}={frame:#} {strong}help{strong:#}: {help}", ""));
}

/// The part of the line to show, and how many cells lie before the caret and how wide it is. Escapes widen a line, so
/// the caret is counted on what is shown.
fn window(place: &Place) -> (String, (usize, usize)) {
    let chars: Vec<char> = place.text.trim_end().chars().collect();
    let at = (place.column as usize).saturating_sub(1).min(chars.len());
    let start = if at > WINDOW * 3 / 4 { at - WINDOW / 4 } else { 0 };
    let end = chars.len().min(start + WINDOW);
    let text = |range: std::ops::Range<usize>| {
        let text: String = chars[range].iter().map(|c| if *c == '\t' { ' ' } else { *c }).collect();
        escape(&text).into_owned()
    };
    let before = text(start..at);
    let marked_end = (at + place.width.max(1) as usize).min(end).max(at);
    let marked = text(at..marked_end);
    let (head, tail) = (if start > 0 { "…" } else { "" }, if end < chars.len() { "…" } else { "" });
    let shown = format!("{head}{before}{marked}{}{tail}", text(marked_end..end));
    (shown, (head.chars().count() + before.chars().count(), marked.chars().count().max(1)))
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

/// How many problems of which severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files looked at.
    pub files: usize,
    /// Files that are not used as they stand, or other errors.
    pub errors: usize,
    /// Things a person should look at.
    pub warnings: usize,
}

impl Summary {
    /// Counts.
    pub fn of(diagnostics: &[Diagnostic], files: usize) -> Self {
        let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        Self { files, errors, warnings: diagnostics.len() - errors }
    }
}

/// The same for a machine: `{"diagnostics": […], "summary": {…}}`. JSON's own escapes keep control characters out; bidi
/// and zero-width characters stay as they are, for a program needs the true name.
pub fn json(diagnostics: &[Diagnostic], summary: Summary) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        diagnostics: &'a [Diagnostic],
        summary: Summary,
    }
    serde_json::to_string_pretty(&Report { diagnostics, summary }).expect("diagnostics hold only text and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        Diagnostic::error("AAM-S014", "stream `orders` uses a cursor column the source does not have")
            .at(Place {
                file: "connectors.d/shop-postgres.yaml".into(),
                line: 31,
                column: 15,
                width: 9,
                text: "      cursor: updatd_at".into(),
            })
            .label("no such column in public.orders")
            .note("observed: id, customer_id, total, updated_at (catalog 7c1f, read 4 min ago)")
            .help("did you mean `updated_at`?")
    }

    #[test]
    fn a_diagnostic_looks_like_the_style_guide() {
        insta::assert_snapshot!(terminal(&[sample()], Theme::PLAIN), @r"
        error[AAM-S014]: stream `orders` uses a cursor column the source does not have
          --> connectors.d/shop-postgres.yaml:31:15
           |
        31 |       cursor: updatd_at
           |               ^^^^^^^^^ no such column in public.orders
           = observed: id, customer_id, total, updated_at (catalog 7c1f, read 4 min ago)
           = help: did you mean `updated_at`? `aam explain AAM-S014` has the background
        ");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = terminal(&[sample()], Theme::COLOR);
        assert!(coloured.contains('\u{1b}'));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), terminal(&[sample()], Theme::PLAIN));
    }

    #[test]
    fn hostile_and_long_lines_stay_in_their_box() {
        let mut d = sample();
        d.message = "name \u{1b}[31m\u{202e}".into();
        let place = d.place.as_mut().unwrap();
        place.text = format!("{}\u{1b}x{}", "a".repeat(300), "b".repeat(300));
        (place.column, place.width) = (301, 2);
        let text = terminal(&[d], Theme::PLAIN);
        assert!(!text.contains(['\u{1b}', '\u{202e}']) && text.lines().all(|l| l.chars().count() < 140));
        assert!(text.contains("^^^^^^^ "), "the caret covers the escape and the x: {text}");
    }
}
