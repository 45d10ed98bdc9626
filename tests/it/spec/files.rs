//! One file at a time: what is taken, what is refused, and what a person then reads.

use std::time::{Duration, Instant};

use aam::model::Unreadable;

use super::{Repo, WAREHOUSE, brief, check, connection};

/// The one spec `connectors.d/x.yaml` with these bytes: its problems in brief.
fn hostile(bytes: &[u8]) -> String {
    let repo = Repo::of(&[WAREHOUSE]).with("connectors.d/x.yaml", bytes);
    let begin = Instant::now();
    let resolution = repo.resolve();
    let took = begin.elapsed();
    // 50 ms in a release build; this one is not optimized and shares the machine. What explodes takes for ever.
    assert!(took < Duration::from_secs(30), "took {took:?}");
    let text = brief(&resolution.diagnostics);
    if text.is_empty() {
        format!("taken as {}", resolution.desired.connections.len())
    } else {
        text.trim_end().to_owned()
    }
}

#[test]
fn hostile_files_are_taken_with_their_documented_meaning_or_refused_with_a_place() {
    let utf16: Vec<u8> = "kind: source\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (this, last) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        bomb.push_str(&format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 9].join(", ")));
    }
    let deep = format!("kind: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_block: String = (0..300).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let keys: String = (0..100_000).map(|n| format!("k{n}: 1\n")).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", b"".to_vec()),
        ("comments", b"# nothing\n# here\n".to_vec()),
        ("marker only", b"---\n".to_vec()),
        ("bom", format!("\u{feff}{}", connection("")).into_bytes()),
        ("utf-16", utf16),
        ("utf-16 with bom", b"\xff\xfek\0i\0n\0d\0".to_vec()),
        ("latin-1", b"kind: connection\nmapping: m\xfcller\n".to_vec()),
        ("nul", b"kind: connection\nmode: ma\0nage\n".to_vec()),
        ("escape", b"kind: connection\nmode: \x1b[31m\n".to_vec()),
        ("cr only", connection("mode: manged\n").replace('\n', "\r").into_bytes()),
        ("crlf", connection("mode: manged\n").replace('\n', "\r\n").into_bytes()),
        ("tab", b"kind: connection\nsource:\n\ttype: file\n".to_vec()),
        ("two documents", format!("{}---\nkind: source\n", connection("")).into_bytes()),
        ("document start", format!("---\n{}...\n", connection("")).into_bytes()),
        ("duplicate key", connection("mode: manage\nmode: observe\n").into_bytes()),
        ("merge key", connection("drift: &d {repair: auto}\nairbyte: {<<: *d}\n").into_bytes()),
        ("alias", connection("schedule: &s {every: 6h}\ndrift: {check: *s}\n").into_bytes()),
        ("unknown alias", connection("mode: *m\n").into_bytes()),
        ("alias in itself", b"kind: &a [*a]\n".to_vec()),
        ("alias bomb", bomb.into_bytes()),
        ("depth, flow", deep.into_bytes()),
        ("depth, block", deep_block.into_bytes()),
        ("100,000 keys", keys.into_bytes()),
        ("2 MiB", vec![b'a'; 2 << 20]),
        ("1 MiB line", format!("kind: {}", "x".repeat((1 << 20) - 10)).into_bytes()),
        ("tag", connection("mode: !env MODE\n").into_bytes()),
        ("text tag", connection("mode: !!str manage\n").into_bytes()),
        ("python tag", b"kind: !!python/object/apply:os.system [ls]\n".to_vec()),
        ("list as key", connection("? [a, b]\n: c\n").into_bytes()),
        ("unclosed quote", connection("mapping: \"crm\n").into_bytes()),
        ("trailing garbage", connection("]\n").into_bytes()),
        ("scalar", b"just text\n".to_vec()),
        ("list", b"- kind: connection\n".to_vec()),
        ("null kind", b"kind:\n".to_vec()),
        ("marker in a scalar", connection("mapping: \"a --- b\"\n").into_bytes()),
    ];
    let shown: String = cases.iter().map(|(name, bytes)| format!("[{name}] {}\n", hostile(bytes))).collect();
    insta::assert_snapshot!(shown, @r#"
    [empty] connectors.d/x.yaml:0:0 AAM-S004 the file is empty, or holds only comments
    [comments] connectors.d/x.yaml:0:0 AAM-S004 the file is empty, or holds only comments
    [marker only] connectors.d/x.yaml:0:0 AAM-S004 the file is empty, or holds only comments
    [bom] taken as 1
    [utf-16] connectors.d/x.yaml:0:0 AAM-S002 the file is UTF-16, not UTF-8
    [utf-16 with bom] connectors.d/x.yaml:0:0 AAM-S002 the file is UTF-16, not UTF-8
    [latin-1] connectors.d/x.yaml:2:11 AAM-S002 the byte 0xfc is no UTF-8
    [nul] connectors.d/x.yaml:2:9 AAM-S002 the file holds the control character U+0000, which YAML does not allow
    [escape] connectors.d/x.yaml:2:7 AAM-S002 the file holds the control character U+001B, which YAML does not allow
    [cr only] connectors.d/x.yaml:4:7 AAM-S011 `manged` is not one of the choices
    [crlf] connectors.d/x.yaml:4:7 AAM-S011 `manged` is not one of the choices
    [tab] connectors.d/x.yaml:3:2 AAM-S001 the file is no YAML: tabs disallowed within this context (block indentation)
    [two documents] connectors.d/x.yaml:4:1 AAM-S005 the file holds a second document
    [document start] taken as 1
    [duplicate key] connectors.d/x.yaml:5:1 AAM-S006 the key `mode` is given twice
    [merge key] connectors.d/x.yaml:5:11 AAM-S005 merge keys (`<<`) are not read
    [alias] taken as 1
    [unknown alias] connectors.d/x.yaml:4:7 AAM-S001 the file is no YAML: while parsing node, found unknown anchor
    [alias in itself] connectors.d/x.yaml:1:11 AAM-S005 an alias stands inside the value that it names
    [alias bomb] connectors.d/x.yaml:6:8 AAM-S005 the file has more than 100000 values, aliases expanded
    [depth, flow] connectors.d/x.yaml:1:71 AAM-S005 nested deeper than 64 levels
    [depth, block] connectors.d/x.yaml:65:65 AAM-S005 nested deeper than 64 levels
    [100,000 keys] connectors.d/x.yaml:50000:9 AAM-S005 the file has more than 100000 values, aliases expanded
    [2 MiB] connectors.d/x.yaml:0:0 AAM-S003 the file has 2097152 bytes; at most 1048576 are read
    [1 MiB line] connectors.d/x.yaml:1:7 AAM-S007 no kind is called `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`
    [tag] connectors.d/x.yaml:4:12 AAM-S005 the tag `!env` is not read
    connectors.d/x.yaml:4:12 AAM-S011 `MODE` is not one of the choices
    [text tag] taken as 1
    [python tag] connectors.d/x.yaml:1:39 AAM-S005 the tag `!!python/object/apply:os.system` is not read
    connectors.d/x.yaml:1:39 AAM-S009 expected a single value, found a list
    [list as key] connectors.d/x.yaml:4:3 AAM-S005 a list or a map is used as a key
    [unclosed quote] connectors.d/x.yaml:5:1 AAM-S001 the file is no YAML: invalid indentation in multiline quoted scalar
    [trailing garbage] connectors.d/x.yaml:4:1 AAM-S001 the file is no YAML: misplaced bracket
    [scalar] connectors.d/x.yaml:1:1 AAM-S009 expected a map that begins with `kind:`, found a single value
    [list] connectors.d/x.yaml:1:1 AAM-S009 expected a map that begins with `kind:`, found a list
    [null kind] connectors.d/x.yaml:1:5 AAM-S009 expected a single value, found nothing
    [marker in a scalar] connectors.d/x.yaml:4:10 AAM-S015 no mapping is called `a --- b`
    "#);
}

#[test]
fn several_problems_of_several_files_are_told_at_once() {
    let crm = "\
kind: connection
mode: manged
source:
  type: postgres
  config:
    host: localhost
    database: crm
    user: aam
    password: hunter2
    port: 70000
destination: warehous
schedule: {cron: \"60 * * * *\", timezone: Europe/Berlim}
streams:
  accounts: {curser: updated_at, fields: {include: [a], exclude: [b]}}
drift:
  threshold: 85
shedule: manual
";
    let mapping = "\
kind: mapping
system: crm
entities:
  account:
    stream: a/b/c
    key: a..b
    fields:
      name: {from: name, expr: 'x'}
      region: {as: text}
";
    let text = check(&[WAREHOUSE, ("connectors.d/crm.yaml", crm), ("mappings/crm.yaml", mapping)]);
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!(text, @r#"
    error[AAM-S011]: `manged` is not one of the choices
     --> connectors.d/crm.yaml:2:7
      |
    2 | mode: manged
      |       ^^^^^^ expected observe, propose, manage
      = help: did you mean `manage`? `aam explain AAM-S011` has the background

    error[AAM-S024]: the connector `postgres` needs the setting `username`
     --> connectors.d/crm.yaml:4:9
      |
    4 |   type: postgres
      |         ^^^^^^^^ below this one's `config:`
      = help: add `username:` below `config:`; `aam explain AAM-S024` has the background

    error[AAM-S023]: the connector `postgres` has no setting `user`
     --> connectors.d/crm.yaml:8:5
      |
    8 |     user: aam
      |     ^^^^ unknown setting
      = help: did you mean `username`? `aam explain AAM-S023` has the background

    error[AAM-S021]: a secret stands here in plain text
     --> connectors.d/crm.yaml:9:15
      |
    9 |     password: ***
      |               ^^^ would be in git for ever
      = help: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed; `aam explain AAM-S021` has the background

    error[AAM-S025]: `port` of the connector `postgres` must be a whole number from 1 to 65535
      --> connectors.d/crm.yaml:10:11
       |
    10 |     port: 70000
       |           ^^^^^ expected a whole number from 1 to 65535
       = help: `aam explain AAM-S025` has the background

    error[AAM-S015]: no destination is called `warehous`
      --> connectors.d/crm.yaml:11:14
       |
    11 | destination: warehous
       |              ^^^^^^^^ unknown name
       = help: did you mean `warehouse`? `aam explain AAM-S015` has the background

    error[AAM-S017]: no cron expression: number out of bounds
      --> connectors.d/crm.yaml:12:18
       |
    12 | schedule: {cron: "60 * * * *", timezone: Europe/Berlim}
       |                  ^^^^^^^^^^^^
       = help: minute hour day month weekday, for example `0 6 * * MON-FRI`; `aam explain AAM-S017` has the background

    error[AAM-S017]: no time zone is called `Europe/Berlim`
      --> connectors.d/crm.yaml:12:42
       |
    12 | schedule: {cron: "60 * * * *", timezone: Europe/Berlim}
       |                                          ^^^^^^^^^^^^^
       = help: did you mean `Europe/Berlin`? `aam explain AAM-S017` has the background

    error[AAM-S008]: a stream has no key `curser`
      --> connectors.d/crm.yaml:14:14
       |
    14 |   accounts: {curser: updated_at, fields: {include: [a], exclude: [b]}}
       |              ^^^^^^ unknown key
       = help: did you mean `cursor`? `aam explain AAM-S008` has the background

    error[AAM-S027]: `include` and `exclude` cannot stand together
      --> connectors.d/crm.yaml:14:67
       |
    14 |   accounts: {curser: updated_at, fields: {include: [a], exclude: [b]}}
       |                                                                   ^
       = help: keep one of the two; `aam explain AAM-S027` has the background

    error[AAM-S019]: `85` is not between 0.5 and 1
      --> connectors.d/crm.yaml:16:14
       |
    16 |   threshold: 85
       |              ^^ expected a probability
       = help: `repair: propose` asks a person always; `aam explain AAM-S019` has the background

    error[AAM-S008]: a connection has no key `shedule`
      --> connectors.d/crm.yaml:17:1
       |
    17 | shedule: manual
       | ^^^^^^^ unknown key
       = help: did you mean `schedule`? `aam explain AAM-S008` has the background

    error[AAM-S026]: stream "a/b/c": has more than one `/`; quote a part that holds one
     --> mappings/crm.yaml:5:13
      |
    5 |     stream: a/b/c
      |             ^^^^^
      = help: `aam explain AAM-S026` has the background

    error[AAM-S026]: field path "a..b": has an empty part
     --> mappings/crm.yaml:6:10
      |
    6 |     key: a..b
      |          ^^^^
      = help: `aam explain AAM-S026` has the background

    error[AAM-S027]: `expr` stands alone: it does what `from`, `as`, `values` and `default` do
     --> mappings/crm.yaml:8:32
      |
    8 |       name: {from: name, expr: 'x'}
      |                                ^^^
      = help: keep `expr` or the others; `aam explain AAM-S027` has the background

    error[AAM-S010]: a mapping rule needs `from` or `expr`
     --> mappings/crm.yaml:9:15
      |
    9 |       region: {as: text}
      |               ^ one is missing here
      = help: `aam explain AAM-S010` has the background
    "#);
}

#[test]
fn settings_have_one_form_and_the_message_says_which() {
    let problems = |settings: &str| {
        let text = format!("kind: source\ntype: {settings}\n");
        brief(&Repo::of(&[]).with("connectors.d/s.yaml", text.as_bytes()).resolve().diagnostics)
    };
    let file = |globs: &str| problems(&format!("file\nconfig: {{path: /data, globs: {globs}}}"));
    assert_eq!(file("['*.csv']"), "");
    insta::assert_snapshot!([file("{orders: '*.csv'}"), file("'*.csv'"), file("[['*.csv']]")].concat(), @r"
    connectors.d/s.yaml:3:30 AAM-S025 `globs` of the connector `file` must be a list of texts
    connectors.d/s.yaml:3:30 AAM-S025 `globs` of the connector `file` must be a list of texts
    connectors.d/s.yaml:3:30 AAM-S025 `globs` of the connector `file` must be a list of texts
    ");
    let postgres =
        |mode: &str| problems(&format!("postgres\nconfig: {{host: h, database: d, username: u, ssl_mode: {mode}}}"));
    assert_eq!(postgres("verify-full"), "");
    assert_eq!(postgres("{mode: verify-ca, ca_certificate: '${file:/etc/ssl/ca.pem}', client_key: '${env:KEY}'}"), "");
    let wrong = [
        "verify_full",
        "{ca_certificate: '${file:/ca.pem}'}",
        "{mode: verify-ca, ca_certificate: /etc/ssl/ca.pem}",
        "{mode: on, client_key: '-----BEGIN PRIVATE KEY-----', ca_cert: x}",
    ];
    insta::assert_snapshot!(wrong.map(postgres).concat(), @r"
    connectors.d/s.yaml:3:55 AAM-S025 `ssl_mode` of the connector `postgres` must be one of disable, allow, prefer, require, verify-ca, verify-full
    connectors.d/s.yaml:3:45 AAM-S024 `ssl_mode` of the connector `postgres` needs the setting `mode`
    connectors.d/s.yaml:3:89 AAM-S025 `ca_certificate` of the connector `postgres` must be PEM text, for example `${file:/path/to/it.pem}`
    connectors.d/s.yaml:3:62 AAM-S025 `mode` of the connector `postgres` must be one of disable, allow, prefer, require, verify-ca, verify-full
    connectors.d/s.yaml:3:78 AAM-S021 a secret stands here in plain text
    connectors.d/s.yaml:3:109 AAM-S023 the connector `postgres` has no setting `ca_cert`
    ");
}

#[test]
fn scalars_stay_as_written() {
    use aam::spec::ConfigValue::{self, Plain, Text};
    let spec = "kind: source\ntype: acme\nconfig: {a: 01234, b: NO, c: 1_000, d: 1e400, e: 12:30:45, f: '5', g: 2026-01-01, h: 0o17, i: ~}\n";
    let use_it = connection("").replace("{type: file, config: {path: /data}}", "s");
    let resolution = Repo::of(&[WAREHOUSE, ("connectors.d/s.yaml", spec), ("connectors.d/x.yaml", &use_it)]).resolve();
    let config = &resolution.desired.connections.values().next().unwrap().source.config;
    let plain = |t: &str| Plain(t.to_owned());
    assert_eq!(
        config.values().cloned().collect::<Vec<_>>(),
        [
            plain("01234"),
            plain("NO"),
            plain("1_000"),
            plain("1e400"),
            plain("12:30:45"),
            Text("5".into()),
            plain("2026-01-01"),
            plain("0o17"),
            ConfigValue::Null
        ]
    );
}

#[test]
fn names_that_cannot_be_used_are_refused() {
    let c = connection("");
    let mut repo = Repo::of(&[
        WAREHOUSE,
        ("connectors.d/crm.yaml", &c),
        ("connectors.d/CRM.yaml", &c),
        ("connectors.d/default/crm.yaml", &c),
        ("connectors.d/old.yml", &c),
        ("connectors.d/a/b/c.yaml", &c),
        ("connectors.d/caf\u{e9}.yaml", &c),
        ("connectors.d/cafe\u{301}.yaml", &c),
        ("connectors.d/a\nb.yaml", &c),
        ("connectors.d/-x.yaml", &c),
        ("mappings/x.yaml", &c),
    ]);
    repo.unreadable.insert("connectors.d/link.yaml".into(), Unreadable::Link);
    repo.unreadable.insert("connectors.d/big.yaml".into(), Unreadable::TooLarge(3 << 20));
    repo.unreadable.insert("connectors.d/fifo.yaml".into(), Unreadable::NotAFile);
    insta::assert_snapshot!(brief(&repo.resolve().diagnostics), @r#"
    connectors.d/-x.yaml:0:0 AAM-S012 the name `-x` must begin with an ASCII letter or digit
    connectors.d/a\nb.yaml:0:0 AAM-S012 the name `a\nb` may hold only ASCII letters, digits, `.`, `_` and `-`
    connectors.d/a/b/c.yaml:0:0 AAM-S012 a spec lies too deep: one folder, the tenant's, is all
    connectors.d/big.yaml:0:0 AAM-S003 the file has 3145728 bytes; at most 1048576 are read
    connectors.d/café.yaml:0:0 AAM-S012 the name `café` may hold only ASCII letters, digits, `.`, `_` and `-`
    connectors.d/café.yaml:0:0 AAM-S012 the name `café` may hold only ASCII letters, digits, `.`, `_` and `-`
    connectors.d/crm.yaml:0:0 AAM-S013 the name differs from `connectors.d/CRM.yaml` in case only
    connectors.d/default/crm.yaml:0:0 AAM-S012 no folder may be called `default`: it names the tenant without a folder
    connectors.d/fifo.yaml:0:0 AAM-S003 this is not a regular file
    connectors.d/link.yaml:0:0 AAM-S003 a symbolic link is not followed
    connectors.d/old.yml:0:0 AAM-S012 `old.yml` does not end in `.yaml`
    mappings/x.yaml:1:7 AAM-S007 `kind: connection` does not belong into `mappings`
    "#);
}
