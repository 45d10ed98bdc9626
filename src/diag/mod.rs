//! Diagnostics: what is wrong with a person's input, as values. Many at once; rendered at the edge.
//!
//! `code` holds the table of codes that `aam explain` prints, `render` the two renderers (terminal and JSON).

pub mod codes;
mod escape;
pub mod render;

pub use escape::{escape, escape_lines, is_hostile, quoted};

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not used as it stands.
    Error,
    /// The file is used; a person should look.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// Where, if it has one place.
    pub place: Option<Place>,
    /// Error or warning.
    pub severity: Severity,
    /// A stable code, `AAM-S014`; `aam explain` has the background.
    pub code: &'static str,
    /// What is wrong, one line, lower case, no full stop.
    pub message: String,
    /// Words beside the caret.
    pub label: Option<String>,
    /// What was observed or expected; each becomes a `= …` line.
    pub notes: Vec<String>,
    /// The likely mend and the next command.
    pub help: Option<String>,
}

/// A place in a file, with its line so that nobody has to open the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Path relative to the configuration root.
    pub file: String,
    /// Counted from 1; 0 means the file as a whole.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// How many characters the caret underlines; at least 1.
    pub width: u32,
    /// The line's text, secrets masked already.
    pub text: String,
}

impl Diagnostic {
    /// An error without place, notes or help.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning without place, notes or help.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self { place: None, severity, code, message: message.into(), label: None, notes: Vec::new(), help: None }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds the words beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds an observation.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds the likely mend.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
