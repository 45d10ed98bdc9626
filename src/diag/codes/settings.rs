//! Codes of the daemon's settings.

use super::Code;

/// `AAM-C0xx`.
pub(super) const SETTINGS: &[Code] = &[
    Code {
        code: "AAM-C001",
        title: "a setting that does not exist",
        text: "\
A key of `config/aam.toml`, or a variable `AAM_SECTION__KEY`, is none of the settings. A key that nobody reads would look as if
it did something, so aam does not start with it.

Example: `[drift] max_opne = 7` instead of `max_open`.

Mend: take the key that the message suggests. `aam doctor` lists every setting with its value and where it comes from;
`config/aam.toml` of a new repository (`aam init`) says what each of them means.",
    },
    Code {
        code: "AAM-C002",
        title: "a setting with a value that does not fit",
        text: "\
The key exists, its value is of another kind: a duration without its unit, a word outside the list, a number that is too
small.

Example: `tick = 1` instead of `tick = \"1s\"`.

Mend: the message says what is expected. Durations are written 150ms, 30s, 15m, 6h or 1d.",
    },
    Code {
        code: "AAM-C003",
        title: "the settings cannot be read",
        text: "\
The file of settings is not there although `--config` names it, may not be read, or is no TOML. Settings are read from disk
and never from a commit: a merge must not change who approves.

Example: `level = info` instead of `level = \"info\"`: text is quoted in TOML.

Mend: correct the place that the message shows, or run without `--config`: without a file every setting has its default.",
    },
];
