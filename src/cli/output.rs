//! Where commands print: data on stdout, talk on stderr, colour only where it is wanted.

use std::io::Write;

use crate::diag::escape;

/// For whom data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// People.
    Human,
    /// Machines.
    Json,
}

/// The two streams of a command. Writing to a closed pipe ends quietly: the reader had enough.
#[derive(Debug, Clone)]
pub struct Output {
    /// For whom.
    pub format: Format,
    quiet: bool,
}

impl Output {
    /// Colour follows the terminal and `NO_COLOR`, unless it is forbidden here.
    pub fn new(format: Format, quiet: bool, no_color: bool) -> Self {
        if no_color {
            anstream::ColorChoice::Never.write_global();
        }
        Self { format, quiet }
    }

    /// Data, as it is; a line break is added if there is none.
    pub fn data(&self, text: &str) {
        let mut stdout = anstream::stdout();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let _ = write!(stdout, "{text}{end}").and_then(|()| stdout.flush());
    }

    /// A line of talk; not said with `--quiet`.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    /// An error with its whole chain on one line.
    pub fn error(&self, error: &anyhow::Error) {
        let chain = format!("{error:#}");
        let _ = writeln!(anstream::stderr(), "error: {}", escape(&chain));
    }
}
