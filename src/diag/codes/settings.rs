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
    Code {
        code: "AAM-C004",
        title: "a setting that an outside system needs",
        text: "\
With `[engine] kind = \"airbyte\"` aam needs the address of the installation, and the client id and secret of an application
that may edit the workspace. Both are left out together where authentication is switched off.

A forge (`[forge]`) needs its kind, the project, and a token or a GitHub App that may push branches and open requests.

Example: `kind = \"airbyte\"` without `[airbyte] url`.

Mend: add what is named below `[airbyte]` or `[forge]` in `config/aam.toml`, or as variables (`AAM_AIRBYTE__URL`). `abctl local credentials`
shows client id and secret of a local installation; the secret is written as `${env:NAME}`, `${file:/path}` or
`${credential:NAME}`.",
    },
    Code {
        code: "AAM-C005",
        title: "a secret in plain text in the settings",
        text: "\
The file of settings is readable for more than the daemon, and is often committed. A secret stands there as a reference only.
In a variable of the environment it may stand as it is. The value is never shown.

Example: `client_secret = \"hunter2\"`.

Mend: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`. If it was committed or pushed, change the secret.",
    },
];
