//! The pages of the manual: what they show is run, what they declare is checked, what they list is compared with the code.
//!
//! - A ```` ```console ```` block is typed into one shell per world: lines that begin with `$ ` (going on with `> `) are
//!   commands, `# exit 3` at the end of one is its exit code, else 0; the lines below it must occur in its output in that
//!   order, `…` standing for anything.
//! - `<!-- world: NAME -->` begins a new world: `empty` is an empty folder, `playground` what `aam playground init` makes,
//!   `remote` the same beside an empty bare repository, `$REMOTE`,
//!   `server` its files alone, landing in an empty database of another server, whose URL is `$REGISTRY_URL`, `several` the same
//!   pushed to a bare repository, `$REMOTE`; `airbyte` its
//!   CRM beside a stand-in for Airbyte, which `$AIRBYTE_URL`, `$AIRBYTE_CLIENT_ID` and `$AIRBYTE_CLIENT_SECRET` lead to;
//!   `github`, `gitlab` and `gitea` an empty repository beside a stand-in for that forge, at `$FORGE_URL`.
//! - A ```` ```yaml ```` block whose first line is `# PATH.yaml` is that file: written into the world, or else checked
//!   together with the page's other files beside the samples of this project.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::CommandFactory;

use crate::forge_standin::{self, Kind};
use crate::standin::Standin;
use crate::support::write;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(page: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// One thing that a reader does.
#[derive(Debug)]
enum Act {
    Type { line: usize, command: String, exit: i32, shown: Vec<String> },
    Save { path: String, text: String },
}

/// A world and what is done in it.
#[derive(Debug)]
struct Scene {
    world: Option<String>,
    acts: Vec<Act>,
}

fn scenes(text: &str) -> Vec<Scene> {
    let mut scenes = vec![Scene { world: None, acts: Vec::new() }];
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        if let Some(name) = line.strip_prefix("<!-- world: ").and_then(|rest| rest.strip_suffix(" -->")) {
            scenes.push(Scene { world: Some(name.to_owned()), acts: Vec::new() });
        }
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty()) else { continue };
        let block: Vec<(usize, &str)> = lines.by_ref().take_while(|(_, line)| *line != "```").collect();
        let acts = &mut scenes.last_mut().unwrap().acts;
        match language {
            "console" => acts.extend(commands(&block)),
            "yaml" => acts.extend(file(&block)),
            _ => {}
        }
    }
    scenes
}

fn commands(block: &[(usize, &str)]) -> Vec<Act> {
    let mut acts = Vec::new();
    for (at, text) in block {
        if let Some(typed) = text.strip_prefix("$ ") {
            let (command, exit) = match typed.rsplit_once("# exit ") {
                Some((command, code)) => (command.trim_end(), code.trim().parse().expect("an exit code")),
                None => (typed, 0),
            };
            acts.push(Act::Type { line: at + 1, command: command.to_owned(), exit, shown: Vec::new() });
        } else if let Some(Act::Type { command, shown, .. }) = acts.last_mut() {
            match text.strip_prefix("> ") {
                Some(more) if shown.is_empty() => *command += &format!("\n{more}"),
                _ => shown.push((*text).to_owned()),
            }
        } else {
            panic!("line {}: a console block begins with `$ `", at + 1);
        }
    }
    acts
}

fn file(block: &[(usize, &str)]) -> Option<Act> {
    let path = block.first()?.1.strip_prefix("# ").filter(|path| path.ends_with(".yaml") && !path.contains(' '))?;
    let text: String = block.iter().flat_map(|(_, line)| [line, "\n"]).collect();
    Some(Act::Save { path: path.to_owned(), text })
}

/// The environment of a person with a fresh home.
fn command(program: &str, home: &Path, dir: &Path) -> Command {
    let bin = assert_cmd::cargo::cargo_bin("aam");
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([bin.parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path)));
    let mut command = Command::new(program);
    command.env_clear().current_dir(dir).stdin(Stdio::null());
    command.env("PATH", path.unwrap()).env("HOME", home).env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
    command.env("GIT_PAGER", "cat").env("GIT_EDITOR", "true").env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

/// A home folder for a person, open to walk through: the private PostgreSQL may run as another user.
fn home() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::Builder::new().prefix("aam-docs.").tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    write(
        home.path(),
        ".gitconfig",
        "[user]\n\tname = Maria Weber\n\temail = maria@example.com\n[init]\n\tdefaultBranch = main\n",
    );
    home
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Plays one scene in one shell and says what was not as shown.
fn play(page: &str, world: &str, acts: &[Act]) -> Vec<String> {
    let home = home();
    let dir = home.path().join("desk");
    std::fs::create_dir(&dir).unwrap();
    let log = home.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let mut script =
        String::from("trap 'kill $(jobs -p) 2>/dev/null; wait; aam status >/dev/null 2>&1' EXIT; trap 'exit 1' TERM\n");
    let mut airbyte = None;
    let mut forge = None;
    match world {
        "empty" => {}
        "github" | "gitlab" | "gitea" => {
            let kind = match world {
                "github" => Kind::GitHub,
                "gitlab" => Kind::GitLab,
                _ => Kind::Gitea,
            };
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let bare = home.path().join("config.git");
            let standin = runtime.block_on(forge_standin::Standin::start(kind, &bare));
            let _ =
                writeln!(script, "git init -q --bare {} && git init -q . || exit 9", quoted(bare.to_str().unwrap()));
            let _ = writeln!(script, "export FORGE_URL={} TOKEN={}", standin.url, forge_standin::TOKEN);
            forge = Some((standin, runtime));
        }
        "airbyte" => {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let standin = runtime.block_on(Standin::start("1.8"));
            let _ = writeln!(
                script,
                "export AIRBYTE_URL={} AIRBYTE_CLIENT_ID=client AIRBYTE_CLIENT_SECRET=secret",
                standin.url
            );
            // as its connectors want the settings; for files it has none
            script += "aam -q playground init . || exit 9\n\
                       git rm -q connectors.d/exports.yaml mappings/exports.yaml\n\
                       sed -i 's/^\\( *\\)\\(host: .*\\)/\\1\\2\\n\\1port: 5432/' connectors.d/*.yaml\n\
                       git commit -qam 'Airbyte moves the data'\n";
            airbyte = Some((standin, runtime));
        }
        "playground" => script += "aam -q playground init . || exit 9\n",
        "remote" => {
            script += "git init -q --bare \"$HOME/config.git\" && export REMOTE=\"$HOME/config.git\"\n\
                       aam -q playground init . || exit 9\n";
        }
        "server" | "several" => {
            let (folder, database) = server();
            let url = quoted(&format!("postgres://postgres@localhost/{database}?host={folder}"));
            let warehouse = format!(
                "kind: destination\ntype: postgres\nconfig: {{host: {folder}, database: {database}, username: postgres}}\n"
            );
            let _ = writeln!(
                script,
                "export REGISTRY_URL={url}\naam -q playground init . || exit 9\ngit rm -q connectors.d/crm.yaml mappings/crm.yaml"
            );
            let _ = writeln!(
                script,
                "printf %s {} >connectors.d/warehouse.yaml\ngit commit -qam 'a server of our own'",
                quoted(&warehouse)
            );
            if world == "several" {
                script += "git init -q --bare \"$HOME/config.git\" && export REMOTE=\"$HOME/config.git\"\n\
                           git push -q \"$REMOTE\" main || exit 9\n";
            }
        }
        other => panic!("{page}: no world is called {other}"),
    }
    if matches!(world, "playground" | "server" | "airbyte") {
        // Kept up between the commands of a page, the private PostgreSQL need not be started for each of them; `aam status`
        // at the end is the last to use it and stops it.
        script += "flock --no-fork --shared .aam/postgres.users sleep 900 >/dev/null 2>&1 </dev/null &\n";
    }
    for (n, act) in acts.iter().enumerate() {
        match act {
            Act::Type { command, .. } => {
                let out = log.join(format!("{n}.out"));
                let out = quoted(out.to_str().unwrap());
                let code = quoted(log.join(format!("{n}.code")).to_str().unwrap());
                let _ = writeln!(script, "{{\n{command}\n}} >{out} 2>&1 </dev/null\necho $? >{code}");
            }
            Act::Save { path, text } => {
                let _ = writeln!(script, "mkdir -p \"$(dirname {0})\"; printf %s {1} >{0}", quoted(path), quoted(text));
            }
        }
    }
    let mut shell = command("timeout", home.path(), &dir);
    let ended = shell
        .args(["-k", "20", "300", "bash", "-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    drop(forge);
    let mut wrong = Vec::new();
    if let Some((standin, _runtime)) = airbyte {
        wrong.extend(standin.violations());
    }
    if !ended.status.success() {
        wrong.push(format!(
            "{page}: the shell ended with {}: {}",
            ended.status,
            String::from_utf8_lossy(&ended.stderr)
        ));
    }
    for (n, act) in acts.iter().enumerate() {
        let Act::Type { line, command, exit, shown } = act else { continue };
        let code = std::fs::read_to_string(log.join(format!("{n}.code"))).unwrap_or_default();
        let out = std::fs::read(log.join(format!("{n}.out"))).unwrap_or_default();
        let out = String::from_utf8_lossy(&out);
        if code.trim() != exit.to_string() {
            wrong.push(format!(
                "{page}:{line}: `{command}` exited with `{}`, not {exit}; it printed\n{out}",
                code.trim()
            ));
        } else if let Err(missing) = occurs(shown, &out) {
            wrong.push(format!("{page}:{line}: `{command}` did not print\n{missing}\nin its place; it printed\n{out}"));
        }
    }
    wrong
}

/// The socket folder of the tests' own server, and an empty database of it.
fn server() -> (String, String) {
    let options = tokio::runtime::Runtime::new().unwrap().block_on(crate::support::database());
    (crate::support::cluster().to_str().unwrap().to_owned(), options.get_database().unwrap().to_owned())
}

/// Whether the shown lines occur in the output, in order.
fn occurs(shown: &[String], out: &str) -> Result<(), String> {
    let mut rest = out.lines();
    for line in shown.iter().filter(|line| !matches!(line.trim(), "" | "…")) {
        if !rest.any(|printed| fits(line.trim_end(), printed.trim_end())) {
            return Err(line.clone());
        }
    }
    Ok(())
}

/// Whether a shown line stands for a printed one; `…` stands for anything.
fn fits(shown: &str, printed: &str) -> bool {
    let Some((head, tail)) = shown.split_once('…') else { return shown == printed };
    let Some(mut rest) = printed.strip_prefix(head) else { return false };
    let pieces: Vec<&str> = tail.split('…').collect();
    let (last, middle) = pieces.split_last().expect("a split has at least one piece");
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Checks the files of a page beside the samples of this project.
fn check(page: &str, files: &BTreeMap<String, String>) -> Vec<String> {
    let home = home();
    for dir in ["connectors.d", "mappings", "mappings/entities"] {
        for entry in std::fs::read_dir(Path::new(ROOT).join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = format!("{dir}/{}", path.file_name().unwrap().to_str().unwrap());
                write(home.path(), &name, &std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files.iter().for_each(|(path, text)| write(home.path(), path, text));
    let ended = command("aam", home.path(), home.path()).arg("check").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if ended.status.success() && said.contains("0 errors, 0 warnings") {
        Vec::new()
    } else {
        vec![format!("{page}: its files are not clean\n{said}")]
    }
}

/// Does everything that a page says.
fn holds(page: &str) {
    let mut wrong = Vec::new();
    let mut files = BTreeMap::new();
    for scene in scenes(&read(page)) {
        match scene.world {
            Some(world) => wrong.extend(play(page, &world, &scene.acts)),
            None => {
                for act in scene.acts {
                    match act {
                        Act::Save { path, text } => drop(files.insert(path, text)),
                        Act::Type { line, .. } => {
                            wrong.push(format!("{page}:{line}: a command outside of a world is not run"))
                        }
                    }
                }
            }
        }
    }
    if !files.is_empty() {
        wrong.extend(check(page, &files));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

macro_rules! pages {
    ($($name:ident $page:literal)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(#[test] fn $name() { holds($page); })*
    };
}

pages! {
    readme "README.md"
    install_and_try "docs/install-and-try.md"
    declare_a_connection "docs/declare-a-connection.md"
    map_to_entities "docs/map-to-entities.md"
    review_a_drift "docs/review-a-drift.md"
    approvals "docs/approvals.md"
    rollback "docs/rollback.md"
    drift_evidence "docs/drift-evidence.md"
    sync_and_events "docs/sync-and-events.md"
    airbyte_connectors "docs/airbyte-connectors.md"
    airbyte_engine "docs/airbyte-engine.md"
    import_airbyte "docs/import-airbyte.md"
    when_something_fails "docs/when-something-fails.md"
    run_as_a_service "docs/run-as-a-service.md"
    spec_reference "docs/spec-reference.md"
    lock_and_fingerprint "docs/lock-and-fingerprint.md"
    command_line "docs/command-line.md"
    landing_and_canonical "docs/landing-and-canonical.md"
}

/// Every Markdown file that people read.
fn markdown() -> Vec<String> {
    let mut all: Vec<String> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    for entry in walkdir::WalkDir::new(Path::new(ROOT).join("docs")).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|e| e == "md") {
            all.push(path.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned());
        }
    }
    all
}

#[test]
fn every_page_is_run_and_every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in markdown() {
        let text = read(&page);
        let is_adr = page.starts_with("docs/adr/");
        if page.starts_with("docs/") && !is_adr && !PAGES.contains(&page.as_str()) {
            wrong.push(format!("{page} is not run: add it to `pages!`"));
        }
        for (n, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = target.split('#').next().unwrap();
                let file: PathBuf = Path::new(ROOT).join(&page).parent().unwrap().join(target);
                if !target.is_empty() && !target.contains("://") && !file.exists() {
                    wrong.push(format!("{page}:{}: {target} is not there", n + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What stands between backquotes.
fn code_words(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_spec_reference_names_every_key() {
    let page = read("docs/spec-reference.md");
    let words = code_words(&page);
    let mut keys = BTreeSet::new();
    for kind in aam::spec::schema::SchemaKind::ALL {
        collect_keys(&aam::spec::schema::schema(kind), &mut keys);
    }
    for connector in aam::spec::connectors::CONNECTORS {
        let settings = connector.source.into_iter().chain(connector.destination).flatten();
        keys.extend(settings.map(|setting| setting.key.to_owned()));
    }
    let missing: Vec<_> = keys.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "docs/spec-reference.md does not name {missing:?}");
}

fn collect_keys(schema: &serde_json::Value, into: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Object(properties)) = map.get("properties") {
                into.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_keys(value, into));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_keys(item, into)),
        _ => {}
    }
}

#[test]
fn the_command_line_page_names_every_command_and_option() {
    let page = read("docs/command-line.md");
    let words = code_words(&page);
    let mut missing = Vec::new();
    let mut todo = vec![(String::from("aam"), aam::cli::Cli::command())];
    while let Some((name, command)) = todo.pop() {
        if name != "aam" && !words.iter().any(|word| *word == name || word.starts_with(&format!("{name} "))) {
            missing.push(name.clone());
        }
        for option in
            command.get_arguments().filter_map(clap::Arg::get_long).filter(|long| !matches!(*long, "help" | "version"))
        {
            if !words
                .iter()
                .any(|word| word.split([' ', '[']).any(|part| part.trim_end_matches(']') == format!("--{option}")))
            {
                missing.push(format!("{name} --{option}"));
            }
        }
        let below = command.get_subcommands().filter(|sub| sub.get_name() != "help");
        todo.extend(below.map(|sub| (format!("{name} {}", sub.get_name()), sub.clone())));
    }
    assert!(missing.is_empty(), "docs/command-line.md does not name {missing:?}");
}

#[test]
fn the_code_map_is_the_tested_one() {
    let page = read("ARCHITECTURE.md");
    let mut shown = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let Some(Ok(layer)) = cells.get(1).and_then(|cell| cell.split(' ').next()).map(str::parse::<u8>) {
            shown.extend(code_words(cells[2]).into_iter().map(|module| (module.to_owned(), layer)));
        }
    }
    let tested: BTreeSet<_> =
        crate::tidy::LAYERS.iter().map(|(module, layer)| ((*module).to_owned(), *layer)).collect();
    assert_eq!(shown, tested, "the table in ARCHITECTURE.md and LAYERS in tests/it/tidy.rs differ");
    for (module, _) in tested {
        assert!(
            page.lines().any(|line| line.starts_with(&format!("**`{module}`**"))),
            "ARCHITECTURE.md has no paragraph on `{module}`"
        );
    }
}

#[tokio::test]
async fn the_tables_of_the_canonical_page_are_the_real_ones() {
    let options = crate::support::database().await;
    drop(aam::registry::PgRegistry::open(options.clone()).await.unwrap());
    let pool = sqlx::PgPool::connect_with(options).await.unwrap();
    let page = read("docs/landing-and-canonical.md");
    let mut seen = 0;
    for section in page.split("\n### `").skip(1) {
        let (table, rest) = section.split_once('`').unwrap();
        let shown: Vec<String> = rest
            .lines()
            .take_while(|line| !line.starts_with('#'))
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
            .collect();
        let sql = "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public' ORDER BY ordinal_position";
        let real: Vec<String> = sqlx::query_scalar(sql).bind(table).fetch_all(&pool).await.unwrap();
        if real.is_empty() && table.starts_with("_") {
            continue;
        }
        assert_eq!(shown, real, "docs/landing-and-canonical.md, table {table}");
        seen += 1;
    }
    assert!(seen >= 5, "the page describes only {seen} tables");
}

#[test]
fn every_code_can_be_explained() {
    let mut codes = BTreeSet::new();
    for entry in walkdir::WalkDir::new(Path::new(ROOT).join("src")) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            codes
                .extend(text.match_indices("\"AAM-").filter_map(|(at, _)| text.get(at + 1..at + 9)).map(str::to_owned));
        }
    }
    codes.retain(|code| code[5..].bytes().all(|b| b.is_ascii_digit()));
    assert!(codes.len() > 50, "{codes:?}");
    let home = home();
    let explained = command("aam", home.path(), home.path()).arg("explain").output().unwrap();
    let listed = String::from_utf8(explained.stdout).unwrap();
    let missing: Vec<_> = codes.iter().filter(|code| !listed.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "`aam explain` does not know {missing:?}");
}
