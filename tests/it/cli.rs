//! The offline commands through the binary: what stdout, stderr and the exit code say.

mod explain;
mod online;
mod radius;

use std::path::Path;

use assert_cmd::Command;

use crate::support::write;

/// `aam` in an environment of its own, within a folder.
fn aam(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("aam").unwrap();
    command.current_dir(dir).args(args).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir);
    for (key, value) in [("GIT_AUTHOR_NAME", "T"), ("GIT_AUTHOR_EMAIL", "t@example.org")] {
        command.env(key, value).env(key.replace("AUTHOR", "COMMITTER"), value);
    }
    command
}

/// Exit code, stdout and stderr.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = aam(dir, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Everything below a folder, `.git` aside, with contents.
fn contents(dir: &Path) -> Vec<(String, String)> {
    let entries = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().filter_entry(|e| e.file_name() != ".git");
    let files = entries.map(Result::unwrap).filter(|e| e.file_type().is_file());
    files
        .map(|e| {
            let name = e.path().strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(e.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_samples_of_this_project_are_clean() {
    let (code, out, talk) = run(Path::new(env!("CARGO_MANIFEST_DIR")), &["check"]);
    assert_eq!((code, out.as_str()), (0, ""), "{talk}");
    assert!(talk.contains("0 errors, 0 warnings"), "{talk}");
}

#[test]
fn a_manifest_outside_of_the_configuration_root_is_refused() {
    let (dir, outside) = (empty(), empty());
    run(dir.path(), &["init"]);
    std::fs::write(outside.path().join("tickets.yaml"), "version: 1\n").unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("manifests")).unwrap();
    let spec = |manifest: &str| {
        let text = format!(
            "kind: connection\nsource:\n  type: airbyte\n  command: [x]\n  manifest: {manifest}\ndestination: w\n"
        );
        std::fs::write(dir.path().join("connectors.d/a.yaml"), text).unwrap();
        run(dir.path(), &["check"]).1
    };
    std::fs::write(
        dir.path().join("connectors.d/w.yaml"),
        "kind: destination\ntype: postgres\nconfig: {host: h, database: d, username: u}\n",
    )
    .unwrap();
    let said: String =
        ["manifests/tickets.yaml", "missing.yaml", "../tickets.yaml", "/etc/aam/tickets.yaml"].map(spec).concat();
    insta::assert_snapshot!(said, @"
    error[AAM-S025]: the manifest `manifests/tickets.yaml` cannot be used: a link leads out of the configuration root
     --> connectors.d/a.yaml:5:13
      |
    5 |   manifest: manifests/tickets.yaml
      |             ^^^^^^^^^^^^^^^^^^^^^^
      = help: `aam explain AAM-S025` has the background

    error[AAM-S025]: the manifest `missing.yaml` cannot be used: there is no such file below the configuration root
     --> connectors.d/a.yaml:5:13
      |
    5 |   manifest: missing.yaml
      |             ^^^^^^^^^^^^
      = help: `aam explain AAM-S025` has the background

    error[AAM-S025]: the manifest `../tickets.yaml` does not lie below the configuration root
     --> connectors.d/a.yaml:5:13
      |
    5 |   manifest: ../tickets.yaml
      |             ^^^^^^^^^^^^^^^ expected a relative path without `.` and `..`
      = help: put the file beside the specs, for example `manifest: manifests/tickets.yaml`; `aam explain AAM-S025` has the background

    error[AAM-S025]: the manifest `/etc/aam/tickets.yaml` does not lie below the configuration root
     --> connectors.d/a.yaml:5:13
      |
    5 |   manifest: /etc/aam/tickets.yaml
      |             ^^^^^^^^^^^^^^^^^^^^^ expected a relative path without `.` and `..`
      = help: put the file beside the specs, for example `manifest: manifests/tickets.yaml`; `aam explain AAM-S025` has the background
    ");
    std::fs::remove_file(dir.path().join("manifests")).unwrap();
    std::fs::create_dir(dir.path().join("manifests")).unwrap();
    std::fs::write(dir.path().join("manifests/tickets.yaml"), "version: 1\n").unwrap();
    assert_eq!(spec("manifests/tickets.yaml"), "");
}

#[test]
fn init_begins_a_repository_once() {
    let dir = empty();
    let (code, out, talk) = run(dir.path(), &["init"]);
    assert_eq!((code, out.as_str()), (0, ""));
    insta::assert_snapshot!(talk, @r#"
    + config/aam.toml
    + connectors.d/crm.yaml.example
    + connectors.d/warehouse.yaml.example
    + mappings/crm.yaml.example
    + mappings/entities/account.yaml
    + mappings/entities/contact.yaml
    + mappings/entities/opportunity.yaml
    + .gitattributes
    + .gitignore
    + a git repository, branch main
    + the first commit
    Next: rename an `.example` in connectors.d, fill it in, run `aam check`, and commit it
    "#);
    let before = contents(dir.path());
    let log = |dir: &Path| {
        let output =
            std::process::Command::new("git").args(["log", "--format=%s", "--name-only"]).current_dir(dir).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let history = log(dir.path());
    assert_eq!(history.lines().next(), Some("aam: begin a configuration repository"));
    assert_eq!(history.lines().skip(2).count(), before.len());

    let (code, _, talk) = run(dir.path(), &["init"]);
    assert_eq!((code, talk.as_str()), (0, "= everything is there already; nothing was changed\n"));
    assert_eq!((contents(dir.path()), log(dir.path())), (before, history));
    assert_eq!(run(dir.path(), &["check"]).0, 0);

    // The examples are usable as they are.
    for name in ["connectors.d/crm.yaml", "connectors.d/warehouse.yaml", "mappings/crm.yaml"] {
        std::fs::rename(dir.path().join(format!("{name}.example")), dir.path().join(name)).unwrap();
    }
    let (code, out, talk) = run(dir.path(), &["check"]);
    assert_eq!((code, out.as_str(), talk.as_str()), (0, "", "Check: 6 files, 1 connection, 0 errors, 0 warnings\n"));
}

#[test]
fn init_keeps_what_a_person_has_and_a_dry_run_writes_nothing() {
    let dir = empty();
    assert_eq!(run(dir.path(), &["init", "--dry-run", "new"]).0, 0);
    assert!(contents(dir.path()).is_empty() && !dir.path().join("new").exists());
    write(dir.path(), ".gitignore", "mine\n");
    write(dir.path(), "notes.txt", "not to be committed by anyone but me\n");
    assert_eq!(run(dir.path(), &["init"]).0, 0);
    assert_eq!(std::fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "mine\n");
    let status =
        std::process::Command::new("git").args(["status", "--short"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(String::from_utf8(status.stdout).unwrap(), "?? .gitignore\n?? notes.txt\n");
}

#[test]
fn check_prints_data_on_stdout_and_talk_on_stderr() {
    let dir = empty();
    write(dir.path(), "config/aam.toml", "");
    write(
        dir.path(),
        "connectors.d/w.yaml",
        "kind: destination\ntype: postgres\nconfig: {host: h, database: d, username: u, password: hunter2}\n",
    );
    let below = dir.path().join("connectors.d");
    let (code, out, talk) = run(&below, &["check"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(out, @r#"
    error[AAM-S021]: a secret stands here in plain text
     --> connectors.d/w.yaml:3:55
      |
    3 | config: {host: h, database: d, username: u, password: ***
      |                                                       ^^^ would be in git for ever
      = help: write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed; `aam explain AAM-S021` has the background
    "#);
    insta::assert_snapshot!(talk, @"Check: 1 file, 0 connections, 1 error, 0 warnings");

    let (code, out, _) = run(&below, &["check", "--format", "json", "--quiet"]);
    assert_eq!(code, 1);
    assert!(!out.contains("hunter2"));
    insta::assert_snapshot!(out, @r#"
    {
      "diagnostics": [
        {
          "place": {
            "file": "connectors.d/w.yaml",
            "line": 3,
            "column": 55,
            "width": 3,
            "text": "config: {host: h, database: d, username: u, password: ***"
          },
          "severity": "error",
          "code": "AAM-S021",
          "message": "a secret stands here in plain text",
          "label": "would be in git for ever",
          "notes": [],
          "help": "write `${env:NAME}`, `${file:/path}` or `${credential:NAME}`, and change the secret if it was committed"
        }
      ],
      "summary": {
        "files": 1,
        "errors": 1,
        "warnings": 0
      }
    }
    "#);
    assert_eq!(run(&below, &["check", "-q"]).2, "");
}

#[test]
fn check_never_follows_a_link_and_never_takes_it_for_absent() {
    let dir = empty();
    write(dir.path(), "secret", "kind: source\ntype: file\nconfig: {path: /x}\n");
    write(dir.path(), "connectors.d/README.md", "");
    std::os::unix::fs::symlink("../secret", dir.path().join("connectors.d/link.yaml")).unwrap();
    std::os::unix::fs::symlink("..", dir.path().join("connectors.d/loop")).unwrap();
    let (code, out, _) = run(dir.path(), &["check"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(out, @r#"
    error[AAM-S003]: a symbolic link is not followed
     --> connectors.d/link.yaml
      = help: put the file itself here; `aam explain AAM-S003` has the background

    error[AAM-S003]: a symbolic link is not followed
     --> connectors.d/loop
      = help: put the file itself here; `aam explain AAM-S003` has the background
    "#);
}

#[test]
fn usage_errors_are_64_and_help_is_0() {
    let dir = empty();
    for args in
        [&["chekc"][..], &[], &["schema"], &["schema", "conection"], &["check", "--format", "xml"], &["check", "-vq"]]
    {
        let (code, out, talk) = run(dir.path(), args);
        assert_eq!((code, out.as_str()), (64, ""), "{args:?}: {talk}");
    }
    for args in [&["--help"][..], &["help", "check"], &["--version"], &["check", "--help"]] {
        let (code, out, talk) = run(dir.path(), args);
        assert!(code == 0 && !out.is_empty() && talk.is_empty(), "{args:?}");
    }
    assert_eq!(run(dir.path(), &["explain", "AAM-X999"]).0, 1);
}

#[test]
fn explain_schema_and_completions_print_data() {
    let dir = empty();
    let (code, out, _) = run(dir.path(), &["explain", "s021"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("AAM-S021: a secret in plain text\n\n") && out.contains("Mend:"));
    assert!(run(dir.path(), &["explain"]).1.lines().count() > 30);
    for kind in ["source", "destination", "connection", "mapping", "entity", "lock"] {
        let schema: serde_json::Value = serde_json::from_str(&run(dir.path(), &["schema", kind]).1).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"].as_object().unwrap().values().all(|p| p["description"].is_string()), "{kind}");
    }
    assert!(run(dir.path(), &["completions", "bash"]).1.contains("_aam"));
    assert!(
        !aam(dir.path(), &["explain"])
            .env("CLICOLOR_FORCE", "1")
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
            .stdout
            .contains(&0x1b)
    );
}

#[test]
fn sealing_mends_a_lock_and_touches_one_line() {
    let dir = empty();
    let lock = "\
# mine
id: 0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11
version: 2   # two
fingerprint: s1:0000000000000000000000000000000000000000000000000000000000000000
streams:
  people:
    modes: [full_refresh]
    fields:
      id: integer!
";
    write(dir.path(), "connectors.d/acme/crm.lock.yaml", lock);
    write(
        dir.path(),
        "connectors.d/acme/crm.yaml",
        "kind: connection\nsource: {type: file, config: {path: /x}}\ndestination: {type: other}\n",
    );
    assert_eq!(run(dir.path(), &["check"]).0, 1);
    let path = dir.path().join("connectors.d/acme/crm.lock.yaml");
    assert_eq!(run(dir.path(), &["lock", "--seal", "--dry-run", "acme/crm"]).0, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lock);
    assert_eq!(run(dir.path(), &["lock", "--seal", "acme/crm"]).0, 0);
    let mended = std::fs::read_to_string(&path).unwrap();
    assert_eq!(mended.lines().zip(lock.lines()).filter(|(a, b)| a != b).count(), 1);
    assert_eq!(run(dir.path(), &["check"]).0, 0);
    assert_eq!(
        run(dir.path(), &["lock", "--seal", "acme/crm"]).2,
        "= connectors.d/acme/crm.lock.yaml  whole already\n"
    );
    assert_eq!(run(dir.path(), &["lock", "--seal", "nobody"]).0, 1);
    assert_eq!(run(dir.path(), &["lock", "--seal", "../../etc/passwd"]).0, 64);
}
