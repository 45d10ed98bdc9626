//! Codes of specs and of YAML.

use super::Code;

/// `AAM-S0xx`.
pub(super) const SPECS: &[Code] = &[
    Code {
        code: "AAM-S001",
        title: "the file is no YAML",
        text: "\
The YAML reader stopped at this place. What it expected is in the message; the true cause is often a line above: a quote
that is not closed, or indentation that does not line up.

Example: `name: \"crm` without the closing quote.

Mend: correct the place, or the lines before it. Tabs do not indent in YAML.",
    },
    Code {
        code: "AAM-S002",
        title: "the file is not UTF-8 text",
        text: "\
Specs are UTF-8. UTF-16 (as some editors save it), bytes of another encoding and control characters are refused, because a
guess could change a name.

Example: a file saved as Latin-1 with an `ü` in it.

Mend: save the file as UTF-8; remove the control character at the place shown. A byte order mark is fine.",
    },
    Code {
        code: "AAM-S003",
        title: "the file cannot be read",
        text: "\
The file is there but may not or cannot be read: it is larger than 1 MiB, a symbolic link, no regular file, has a name that
cannot be used, or the system refused. This is never taken for \"the file is gone\": what it declared stays in force.

Example: `connectors.d/crm.yaml` is a link to a file outside the repository.

Mend: put a regular file of at most 1 MiB there, readable for the user that aam runs as.",
    },
    Code {
        code: "AAM-S004",
        title: "the file is empty",
        text: "\
A file without a document declares nothing. It may be the rest of a write that was cut off, so it is never taken for
\"removed\".

Example: a file of 0 bytes, or of comments only.

Mend: write the spec, beginning with `kind:`, or remove the file.",
    },
    Code {
        code: "AAM-S005",
        title: "a feature of YAML that specs do not use",
        text: "\
Specs are read by people and edited by aam, so they stay with simple YAML: one document; maps, lists and scalars; keys that are
single words; at most 64 levels and 100,000 values with aliases expanded. Anchors and aliases work within that. Merge keys
(`<<`), tags other than `!!str`, and several documents in one file are refused.

Example: `<<: *defaults`.

Mend: write the values out; put each document in its own file; quote a value instead of tagging it.",
    },
    Code {
        code: "AAM-S006",
        title: "a key is given twice",
        text: "\
Many YAML readers silently take the last one. Which one you meant only you know.

Example: two `schedule:` lines in one connection.

Mend: keep one of the two.",
    },
    Code {
        code: "AAM-S007",
        title: "the `kind` is missing, unknown, or in the wrong folder",
        text: "\
Every spec begins with `kind:`. `connectors.d` holds connection, source and destination; `mappings` holds mapping;
`mappings/entities` holds entity.

Example: `kind: conection`.

Mend: correct the word, or move the file. `aam schema KIND` prints what a kind may hold.",
    },
    Code {
        code: "AAM-S008",
        title: "an unknown key",
        text: "\
An unknown key is refused, because a misspelt one would silently change nothing.

Example: `shedule: manual`.

Mend: take the suggested key, or one of the known ones. `aam schema KIND` prints them all with what they mean.",
    },
    Code {
        code: "AAM-S009",
        title: "a value of the wrong form",
        text: "\
A single value stands where a list or a map is expected, or the other way round, or there is no value at all.

Example: `streams: accounts` instead of `streams: [accounts]`.

Mend: write the form that is expected; remove a key that has no value.",
    },
    Code {
        code: "AAM-S010",
        title: "a required key is missing",
        text: "\
The part at this place cannot do without the key.

Example: a connection without `destination:`.

Mend: add the key. `aam schema KIND` says what it holds.",
    },
    Code {
        code: "AAM-S011",
        title: "a word that is not one of the choices",
        text: "\
The value must be one of a few words.

Example: `mode: manged`.

Mend: take one of the words that are listed.",
    },
    Code {
        code: "AAM-S012",
        title: "a file or folder name that cannot be used",
        text: "\
The path says the name and the tenant: `connectors.d/[TENANT/]NAME.yaml`. Names go into branches, files and tables, so they
are ASCII letters, digits, `.`, `_` and `-`, beginning with a letter or digit. The folder `default` is reserved for the
tenant without a folder. Only `.yaml` is read.

Example: `connectors.d/crm.yml`, `connectors.d/default/crm.yaml`.

Mend: rename or move the file, its lock with it.",
    },
    Code {
        code: "AAM-S013",
        title: "two names that differ in case only",
        text: "\
Some file systems take the two for one file: a checkout there would lose one of them.

Example: `connectors.d/crm.yaml` and `connectors.d/CRM.yaml`.

Mend: rename one of the two. The one that was in force first stays in force.",
    },
    Code {
        code: "AAM-S014",
        title: "a choice that the stream cannot meet",
        text: "\
A cursor, a key or a mode in `streams:` does not go with what the lock says of the stream: there is no such field, or it
is not carried, or the source cannot read that way. Nothing is synced by half a choice.

Example: `cursor: updatd_at` where the stream has `updated_at`.

Mend: take the suggested name, or one that the lock lists. If the source has it and the lock has not, `aam lock CONNECTION`
looks and adds it.",
    },
    Code {
        code: "AAM-S015",
        title: "a reference to something that is not there",
        text: "\
`source:`, `destination:` and `mapping:` name another file: first in the own tenant's folder, then at the top. The name is
the file's stem. Only connections with the broken reference wait; the others go on.

Example: `destination: warehous` where the file is `connectors.d/warehouse.yaml`.

Mend: correct the name, or add the file. A file that is itself broken cannot be referred to until it is mended.",
    },
    Code {
        code: "AAM-S016",
        title: "a stream or field that the lock does not have yet",
        text: "\
The spec names it, the approved schema does not know it. That is so right after adding it to the spec; or the name is wrong.
Until the lock has it, it is not synced.

Example: a line added to `streams:` without `aam lock`.

Mend: `aam lock CONNECTION` looks at the source and adds it to the lock; commit both together. If the source does not know it
either, correct the name.",
    },
    Code {
        code: "AAM-S017",
        title: "not a schedule",
        text: "\
A schedule is `manual`, `{every: 6h}`, `{cron: \"0 */6 * * *\", timezone: Europe/Berlin}` or `{quartz: \"…\"}` (Airbyte only). Cron has five
fields (minute, hour, day, month, weekday), or six with seconds first; 0 and 7 are Sunday. Time zones are IANA names.

Example: `cron: \"60 * * * *\"`.

Mend: correct the expression or the zone. Without a zone it is UTC.",
    },
    Code {
        code: "AAM-S018",
        title: "not a duration, or out of bounds",
        text: "\
Durations are numbers with s, m, h, d or w, also joined: 90s, 15m, 1h30m, 1d. Between 10s and 366d.

Example: `every: 15`.

Mend: add the unit.",
    },
    Code {
        code: "AAM-S019",
        title: "a number out of range",
        text: "\
`threshold` is a probability: between 0.5 and 1. Below 0.5 a repair would more likely be wrong than right.

Example: `threshold: 85`.

Mend: write 0.85. To be asked always, use `repair: propose`.",
    },
    Code {
        code: "AAM-S020",
        title: "not a reference to a secret",
        text: "\
`${…}` refers to a secret: `${env:NAME}` (environment of the daemon), `${file:/path}` (a file's content without its last line
break), `${credential:NAME}` (systemd). Nothing else is known.

Example: `${CRM_PASSWORD}` instead of `${env:CRM_PASSWORD}`.

Mend: write one of the three. A literal `${` is written `$${`.",
    },
    Code {
        code: "AAM-S021",
        title: "a secret in plain text",
        text: "\
A setting that holds a secret, by what the connector says or by its name, holds plain text. In git it would stay for ever,
for everyone who can read the repository. The value is never shown.

Example: `password: hunter2`.

Mend: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`. If it was committed or pushed, change the secret: removing
the line does not remove it from history.",
    },
    Code {
        code: "AAM-S022",
        title: "a connector that the engine does not have",
        text: "\
The embedded engine has the sources postgres and file, and the destination postgres; another name is a warning, since nothing
else can be known offline. With Airbyte a type is a docker repository without a version (`airbyte/source-postgres`), its short
form (`postgres`), the name that Airbyte shows, or a definition id. Which there are the server says; what cannot be one is an
error at once.

Example: `type: postgress`; `type: airbyte/destination-postgres` below `source:`.

Mend: correct the name; or use the Airbyte engine, which has the connector.",
    },
    Code {
        code: "AAM-S023",
        title: "a setting that the connector does not have",
        text: "\
The connector would not look at it, so it is refused.

Example: `user: aam` for postgres, where it is `username`.

Mend: take the suggested setting, or one of the known ones.",
    },
    Code {
        code: "AAM-S024",
        title: "a setting that the connector needs",
        text: "\
Without it the connector cannot begin.

Example: postgres without `database:`.

Mend: add it below `config:`.",
    },
    Code {
        code: "AAM-S025",
        title: "a setting of the wrong form",
        text: "\
The connector expects something else: a whole number, a list, or one of a few words.

Example: `port: default`, `ssl_mode: on`.

Mend: write what is expected.",
    },
    Code {
        code: "AAM-S026",
        title: "a name, path or time that cannot be read",
        text: "\
Streams are written `namespace/name` or `name`; fields `a`, `address.city`, `tags[]`, `labels{}`. A part that holds a dot, slash,
bracket or quote is quoted: `\"weird.name\"`. Canonical fields are lower-case words.

Example: `key: a..b`.

Mend: correct the text as the message says.",
    },
    Code {
        code: "AAM-S027",
        title: "choices that do not go together",
        text: "\
Two keys say the same thing in different ways, or one has no meaning without the other.

Example: `cron:` and `every:` in one schedule; `include:` and `exclude:` for one stream.

Mend: keep one.",
    },
    Code {
        code: "AAM-S028",
        title: "something that the engine does not have",
        text: "\
`[engine] kind` says what moves the data. Some of a spec goes with one of the two engines only: modes that update or mark rows,
Quartz schedules and adopted ids with Airbyte; programs (`command`, `manifest`) with the embedded engine. How often aam itself
looks (`drift: {check: …}`) is never a Quartz expression.

Example: `schedule: {quartz: \"0 0 3 * * ?\"}` with the embedded engine.

Mend: write what the message suggests, or set the other engine in `config/aam.toml`.",
    },
    Code {
        code: "AAM-S029",
        title: "a passed-through setting that aam itself sets",
        text: "\
`airbyte: {passthrough: …}` is for settings of Airbyte's connection that aam does not know. What aam compares and writes itself
would have two masters.

Example: `passthrough: {status: inactive}`.

Mend: write the key of the spec that the message names, and remove the setting.",
    },
    Code {
        code: "AAM-S030",
        title: "a schedule that Airbyte cannot keep",
        text: "\
Airbyte starts a connection by hand, each so many whole minutes, hours or days, or by a Quartz expression. A cron expression is
sent as Quartz, which cannot say a day of the month and a day of the week at once, nor several seconds of a minute. Time zones
whose name begins with `Etc` are refused by Airbyte.

Example: `every: 90s`; `cron: \"0 3 13 * FRI\"`; `timezone: Etc/UTC`.

Mend: write what the message suggests.",
    },
    Code {
        code: "AAM-S031",
        title: "one object of Airbyte in two specs",
        text: "\
Two specs mean the same object of Airbyte: they name the same id below `airbyte:`, or a source or destination of the same
connector and the same name there. Each would bring the object to what it says, and undo the other's work for ever.

Example: two connections with the same inline source and `airbyte: {id: …}`, or `airbyte: {name: Warehouse}`, in both.

Mend: keep the id or the name in one spec. A source or destination that several connections share is written once, as `kind: source` or
`kind: destination`, and named by them.",
    },
    Code {
        code: "AAM-S032",
        title: "a pin that cannot be used",
        text: "\
A pin keeps the approved schema of a connection as it is for a while. It needs the version that stays, the last day of it, why, and who
wanted it; without an end it would be forgotten.

Example: `pin: {version: 3, until: soon, reason: …, by: …}`.

Mend: write `until: 2026-12-31` or an RFC 3339 time, and a version that `aam history` lists.",
    },
    Code {
        code: "AAM-S033",
        title: "a pin that is over",
        text: "\
The time of the pin has passed: what the source shows is asked for again, and repaired by rule, as without it. Left in the spec it
would only mislead its readers.

Example: `pin: {version: 3, until: 2026-01-31, …}` in February.

Mend: remove `pin`, or give it a later `until`.",
    },
];
