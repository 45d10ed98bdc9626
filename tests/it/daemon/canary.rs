//! A canary secret is nowhere but where it is used.

use crate::support::world::World;

/// Has every kind of character that an encoding would change.
const CANARY: &str = "c4n\"ry \\p&ss/w%rd+<ü>";

/// Every form in which the secret may turn up.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        base64(secret.as_bytes()),
        base64(secret.as_bytes()).replace('+', "-").replace('/', "_"),
        serde_json::to_string(secret).unwrap().trim_matches('"').to_owned(),
        url(secret),
        secret.replace('\'', "''"),
        secret.escape_default().to_string(),
        secret.escape_debug().to_string(),
        hex::encode(secret),
    ];
    // Inside of a longer text, base64 shifts by one or two bytes: the middle part of those forms is always the same.
    for shift in 1..3 {
        let shifted = base64(&[&vec![b' '; shift], secret.as_bytes()].concat());
        forms.push(shifted[4..shifted.len() - 4].to_owned());
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
    let digit = |six: &[u8]| {
        let six = format!("{:0<6}", String::from_utf8_lossy(six));
        char::from(DIGITS[usize::from_str_radix(&six, 2).unwrap()])
    };
    bits.as_bytes().chunks(6).map(digit).collect()
}

fn url(secret: &str) -> String {
    let keep = |b: &u8| b.is_ascii_alphanumeric() || b"-_.~".contains(b);
    secret.bytes().map(|b| if keep(&b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[test]
fn the_forms_of_a_secret_are_right() {
    assert_eq!((base64(b"light w").as_str(), url("a/b ü").as_str()), ("bGlnaHQgdw", "a%2Fb%20%C3%BC"));
}

fn check(what: &str, text: &str) {
    for form in forms(CANARY) {
        assert!(!text.contains(&form), "{what} holds the secret as {form}:\n{text}");
    }
}

/// All text of a database, as `pg_dump` would write it and as JSON.
async fn check_database(what: &str, db: &crate::support::world::Db) {
    let tables = db
        .list("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
        .await;
    assert!(!tables.is_empty());
    for table in tables {
        let text = db.list(&format!("SELECT t::text || to_jsonb(t)::text FROM {table} t")).await.join("\n");
        check(&format!("{what} {table}"), &text);
    }
}

/// Every file below a folder, and every git object.
fn check_files(world: &World) {
    let mut files = 0;
    for entry in walkdir::WalkDir::new(world.dir()).into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file())
    {
        files += 1;
        check(&entry.path().display().to_string(), &String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()));
    }
    assert!(files > 10);
    for object in world.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]).lines() {
        check("a git object", &world.git(&["cat-file", "-p", object]));
    }
}

/// Arguments of every process of this machine that can be read.
fn check_processes() {
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(line) = std::fs::read(entry.path().join("cmdline")) {
            seen += usize::from(!line.is_empty());
            check("a process list", &String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    assert!(seen > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_secret_is_in_no_log_file_row_commit_output_or_process_list() {
    let mut world = World::with_crm("[log]\nlevel = \"debug\"\n").await;
    world.env.push(("CANARY".into(), CANARY.into()));
    world.env.push(("CANARY_USER".into(), format!("{CANARY}-user")));
    let plain = world.read("connectors.d/crm.yaml");
    let with = |config: &str| plain.replace("username: postgres}", &format!("username: postgres, {config}}}"));
    world.write("connectors.d/crm.yaml", &with("password: '${env:CANARY}'"));
    let wrong =
        |password: &str, change: (&str, &str)| with(password).replace("mapping: crm\n", "").replace(change.0, change.1);
    let database = format!("database: {}", world.source.name);
    // A reference to what is not there, a database that is not there, a host, an option and a user that hold the secret.
    world.write("connectors.d/missing.yaml", &wrong("password: '${env:CANARY_MISSING}'", ("", "")));
    world.write("connectors.d/nowhere.yaml", &wrong("password: '${env:CANARY}'", (&database, "database: nowhere")));
    world.write("connectors.d/host.yaml", &wrong("password: '${env:CANARY}'", ("host: /", "host: /${env:CANARY}/")));
    world.write("connectors.d/option.yaml", &wrong("password: '${env:CANARY}', sslmode: '${env:CANARY}'", ("", "")));
    world.write(
        "connectors.d/user.yaml",
        &wrong(
            "password: x",
            ("username: postgres, password: x", "username: '${env:CANARY_USER}', password: '${env:CANARY}'"),
        ),
    );
    world.write("connectors.d/file.yaml", &wrong("password: '${file:/proc/self/environ}'", ("", "")));
    world.commit("canaries");

    let mut said = String::new();
    let mut run = |args: &[&str]| {
        let ran = world.aam(args);
        said.push_str(&format!("aam {args:?}: {ran:?}\n{}\n{}\n", ran.out, ran.talk));
    };
    let daemon = world.daemon().await;
    run(&["apply", "-vv"]);
    check_processes();
    run(&["sync", "crm"]);
    world.source.run("ALTER TABLE accounts RENAME COLUMN billing_state TO billing_region").await;
    for args in [
        &["apply", "--look"][..],
        &["status"],
        &["plan"],
        &["check"],
        &["drift", "list"],
        &["drift", "show", "crm"],
        &["history", "crm"],
        &["diff", "crm"],
        &["events"],
        &["doctor"],
        &["lock", "crm", "--dry-run"],
        &["sync", "nowhere"],
        &["drift", "approve", "crm"],
    ] {
        run(args);
        run(&[args, &["--format", "json"]].concat());
    }
    let log = daemon.log();
    assert_eq!(daemon.stop().await.0, 0);
    run(&["apply"]);
    assert!(said.contains("3 upserts") || said.contains("\"region\""), "the canary was in use: {said}");
    assert!(log.contains("connection crm: sync 1 landed 3 rows"), "{log}");
    assert!(said.contains("CANARY_MISSING"), "the reference is named: {said}");
    assert_eq!(
        world.registry.list("SELECT name FROM connections WHERE status = 'ACTIVE' ORDER BY 1").await,
        ["crm", "file"]
    );
    check("the daemon's log", &log);
    check("a command's output", &said);
    check_database("the registry", &world.registry).await;
    check_database("the warehouse", &world.warehouse).await;
    check_files(&world);
}
