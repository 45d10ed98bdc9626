//! The playground, and what the scripts say about it.

use std::path::{Path, PathBuf};

use aam::wiring::sample::{SampleCluster, close};
use assert_cmd::Command;

/// A folder that PostgreSQL's own user may walk to, with the playground in it that goes with the test.
struct Ground {
    _temp: tempfile::TempDir,
    dir: PathBuf,
}

impl Ground {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let dir = temp.path().join("playground");
        Self { _temp: temp, dir }
    }

    fn init(&self) -> (i32, String, String) {
        run(Path::new("/"), &["playground", "init", self.dir.to_str().unwrap()])
    }

    fn mutate(&self, args: &[&str]) -> (i32, String, String) {
        run(&self.dir, &[&["playground", "mutate"], args].concat())
    }

    /// The rows of a query on the sample CRM, one text column.
    async fn crm(&self, sql: &'static str) -> Vec<String> {
        let cluster = SampleCluster::start(&self.dir.join(".aam")).await.unwrap();
        let mut crm = cluster.connect("crm").await.unwrap();
        let rows = sqlx::query_scalar(sql).fetch_all(&mut crm).await.unwrap();
        close(crm).await;
        cluster.stop().await.unwrap();
        rows
    }

    /// Files with contents, the state folder and git's own aside.
    fn files(&self) -> Vec<(PathBuf, String)> {
        let walk = walkdir::WalkDir::new(&self.dir).sort_by_file_name().into_iter();
        let entries = walk.filter_entry(|e| e.file_name() != ".git" && e.file_name() != ".aam").map(Result::unwrap);
        let files = entries.filter(|e| e.file_type().is_file());
        files.map(|e| (e.path().to_owned(), std::fs::read_to_string(e.path()).unwrap())).collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.dir.exists() {
            run(Path::new("/"), &["playground", "remove", self.dir.to_str().unwrap()]);
        }
    }
}

/// Exit code, stdout and stderr, with no one's settings: not even a name for commits.
fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("aam").unwrap();
    command.current_dir(dir).args(args).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", "/nonexistent");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_playground_is_made_once_changed_and_removed() {
    let ground = Ground::new();
    let (code, _, said) = ground.init();
    assert_eq!(code, 0, "{said}");
    let head = || std::fs::read_to_string(ground.dir.join(".git/refs/heads/main")).unwrap();
    let (files, commit) = (ground.files(), head());

    // its own checks find nothing wrong, also before any command has run, and a second run changes nothing
    assert_eq!(run(&ground.dir, &["check"]).0, 0);
    let (code, found, _) = run(&ground.dir, &["doctor"]);
    assert_eq!(code, 0, "{found}");
    let (code, _, said) = ground.init();
    assert_eq!(code, 0);
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!((ground.files(), head()), (files, commit));

    let ok = |args: &[&str]| {
        let (code, sql, said) = ground.mutate(args);
        assert_eq!(code, 0, "{args:?}: {said}");
        sql
    };
    insta::assert_snapshot!(ok(&["rename", "accounts.annual_rev", "a \"weird\" name"]), @r#"ALTER TABLE "accounts" RENAME COLUMN "annual_rev" TO "a ""weird"" name""#);
    ok(&["add", "accounts.score", "numeric(5,2)"]);
    ok(&["drop", "accounts.website"]);
    ok(&["retype", "accounts.employees", "bigint"]);
    ok(&["--dry-run", "drop", "accounts.industry"]);
    ok(&["insert", "accounts", "--rows", "40"]);
    ok(&["update", "accounts.industry", "it's new'); DROP TABLE accounts; --", "--rows", "2"]);
    ok(&["insert", "contacts", "--rows", "1"]);
    ok(&["insert", "opportunities", "--rows", "1"]);
    let columns = "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute
                   WHERE attrelid = 'accounts'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    insta::assert_snapshot!(ground.crm(columns).await.join("\n"), @r#"
    id integer
    name text
    industry text
    a "weird" name numeric(14,2)
    employees bigint
    billing_state text
    owner_email text
    is_deleted boolean
    created_at timestamp with time zone
    updated_at timestamp with time zone
    score numeric(5,2)
    "#);
    let counts =
        "SELECT count(*) || ' ' || count(*) FILTER (WHERE industry LIKE 'it''s%') || ' ' || max(id) FROM accounts
                  UNION ALL SELECT count(*)::text FROM contacts UNION ALL SELECT count(*)::text FROM opportunities";
    assert_eq!(ground.crm(counts).await, ["76 2 76", "73", "49"]);

    ok(&["rename", "exports/contacts.csv:Phone", "Mobile"]);
    let csv = std::fs::read_to_string(ground.dir.join("exports/contacts.csv")).unwrap();
    assert!(csv.starts_with("Email,First Name,Last Name,Mobile,Company,Met On\nada.brandt@"), "{csv}");

    // what cannot be done says why and changes nothing
    let wrong = |args: &[&str]| {
        let (code, _, said) = ground.mutate(args);
        assert_ne!(code, 0, "{args:?}");
        said.lines().next().unwrap().to_owned()
    };
    insta::assert_snapshot!([
        wrong(&["add", "accounts.x", "text; DROP TABLE accounts"]),
        wrong(&["add", "accounts.x"]),
        wrong(&["drop", "nothing.x"]),
        wrong(&["require", "accounts"]),
        wrong(&["retype", "exports/contacts.csv:Mobile", "text"]),
        wrong(&["drop", "exports/contacts.csv:Phone"]),
    ].join("\n"), @r#"
    error: changing table accounts of the sample CRM: "text; DROP TABLE accounts" is no type: write one like text, bigint or numeric(12,2)
    error: changing table accounts of the sample CRM: say its type too, like text
    error: changing table nothing of the sample CRM: there is no such table
    error: changing table accounts of the sample CRM: name a column too, like accounts.id
    error: changing exports/contacts.csv: a CSV file has no types and no key: change its values with `update`
    error: changing exports/contacts.csv: it has no column "Phone"; it has Email, First Name, Last Name, Mobile, Company, Met On
    "#);

    let dir = ground.dir.to_str().unwrap();
    assert_eq!(run(Path::new("/"), &["playground", "remove", "--dry-run", dir]).0, 0);
    assert!(ground.dir.exists());
    assert_eq!(run(Path::new("/"), &["playground", "remove", dir]).0, 0);
    assert!(!ground.dir.exists());
}

#[test]
fn a_folder_that_is_no_playground_is_left_alone() {
    let ground = Ground::new();
    std::fs::create_dir(&ground.dir).unwrap();
    std::fs::write(ground.dir.join("mine.txt"), "mine").unwrap();
    for args in [
        ["playground", "init", "."].as_slice(),
        &["playground", "remove", "."],
        &["playground", "mutate", "drop", "accounts.name"],
    ] {
        let (code, _, said) = run(&ground.dir, args);
        assert_eq!(code, 1, "{args:?}: {said}");
        assert!(said.contains("is no playground"), "{said}");
    }
    let names: Vec<_> = std::fs::read_dir(&ground.dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["mine.txt"]);
}

#[test]
fn quickstart_says_what_runs_in_at_most_fifteen_lines() {
    let script = include_str!("../../scripts/quickstart");
    // with the simulator it says all of it, else the last text alone
    let texts = script.split("cat <<TEXT\n").skip(1).map(|text| text.split_once("\nTEXT\n").unwrap().0);
    let said = texts.collect::<Vec<_>>().join("\n");
    let lines = said.lines().filter(|line| !line.is_empty()).count();
    assert!((5..=15).contains(&lines), "{lines} lines");
    for command in ["aam status", "aam playground mutate", "git merge"] {
        assert!(said.contains(command), "`{command}` is not shown");
    }
}
