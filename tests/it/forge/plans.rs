//! The plan on the requests that people open.

use aam::forge::Kind;
use aam::wiring::App;

use super::team::Team;
use super::tool::BRANCH;
use crate::forge_standin::{Fault, State, Status};

/// So that every call is a look.
const ALWAYS: &str = "check = \"1ms\"\n";

impl Team {
    /// Commits on a branch of the person's that begins at `main`, and pushes it.
    fn push(&self, branch: &str, path: &str, text: &str) -> String {
        let there = self.world.try_git(&["switch", "--quiet", branch]).0;
        if !there {
            self.world.git(&["switch", "--quiet", "--create", branch, "main"]);
        }
        self.world.write(path, text);
        let commit = self.world.commit(path);
        self.world.git(&["push", "--quiet", "origin", branch]);
        self.world.git(&["switch", "--quiet", "main"]);
        commit
    }

    /// A person asks to merge a branch.
    fn ask(&self, branch: &str) -> u64 {
        self.forge.edit(|state| state.open("pat", "mine", "", branch, "main"))
    }

    /// What is said below a request, but by the forge itself.
    fn said(&self, number: u64) -> Vec<String> {
        let all = self.forge.edit(|state| state.request(number).comments.clone());
        all.into_iter().filter(|comment| !comment.system).map(|comment| comment.body).collect()
    }

    /// The states of a commit, the oldest first.
    fn states(&self, commit: &str) -> Vec<(String, String)> {
        let of = |s: &&Status| s.commit == commit && s.context == "aam/plan";
        let state = |state: &mut State| state.statuses.iter().filter(of).cloned().collect::<Vec<_>>();
        self.forge.edit(state).into_iter().map(|s| (s.state, s.description)).collect()
    }
}

async fn look(app: &App) {
    app.reconciler.requests().await.unwrap();
}

/// The words beside a digest.
fn digest(text: &str) -> &str {
    let (_, rest) = text.rsplit_once("Digest of the plan: `").unwrap();
    rest.split_once('`').unwrap().0
}

async fn told_in_place(kind: Kind) {
    let team = Team::start(kind, ALWAYS).await;
    team.world.git(&["push", "--quiet", "origin", "main", "main:staging"]);
    let spec = team.world.read("connectors.d/crm.yaml");
    let first =
        team.push("feature", "connectors.d/crm.yaml", &spec.replace("schedule: manual", "schedule: {every: 6h}"));
    let app = team.world.open().await;
    let one = team.ask("feature");
    let (fork, staging) = (team.ask("feature"), team.ask("feature"));
    let bare = team.world.dir().join("config.git").to_string_lossy().into_owned();
    let who = ["-C", &bare, "-c", "user.name=x", "-c", "user.email=x@example.org"];
    let elsewhere = team.world.git(&[&who[..], &["commit-tree", "main^{tree}", "-p", "main", "-m", "x"]].concat());
    team.world.git(&["-C", &bare, "update-ref", "refs/heads/elsewhere", &elsewhere]);
    let unknown = team.ask("elsewhere");
    let notes = team.push("notes", "notes.txt", "none of ours");
    let other = team.ask("notes");
    team.forge.edit(|state| {
        state.request(fork).fork = true;
        state.request(staging).base = "staging".to_owned();
        state.comment(one, "pat", "please");
    });
    look(&app).await;
    let said = team.said(one);
    assert_eq!(said.len(), 2, "{kind:?}: {said:?}");
    let shown = said[1].replace(&first[..10], "HEAD").replace(digest(&said[1]), "DIGEST");
    insta::allow_duplicates! {
        insta::assert_snapshot!(shown, @"
        ### aam plan

        Merging `feature` (`HEAD`) into `main`.

        #### What the files change

        - `connection crm`
          - schedule: manual → every 6h

        Nothing more would be done than is planned already.

        Digest of the plan: `DIGEST`

        <!-- aam:plan -->
        ");
    }
    let (good, bad) = ("success".to_owned(), if kind == Kind::GitLab { "failed" } else { "failure" });
    let words = format!("plan {}: nothing more to do", digest(&said[1]));
    assert_eq!(team.states(&first), [(good.clone(), words)], "{kind:?}");
    assert_eq!([fork, staging, unknown, other].map(|number| team.said(number).len()), [0; 4], "{kind:?}");
    let states = team.states(&notes);
    assert!(states.len() == 1 && states[0].1.ends_with(": nothing more to do"), "{kind:?}: {states:?}");
    assert!(team.states(&elsewhere).is_empty(), "{kind:?}: it is not here");

    // Nothing new is not told, now or by whoever starts next.
    let writes = team.writes();
    look(&app).await;
    app.close().await.unwrap();
    team.push("main", "notes.txt", "the base moves, and the plan does not");
    let app = team.world.open().await;
    look(&app).await;
    look(&app).await;
    assert_eq!(team.writes(), writes, "{kind:?}");

    // Another push, another plan, the same comment.
    let new = team.world.connection("streams: [accounts]\n");
    let second = team.push("feature", "connectors.d/other.yaml", &new);
    look(&app).await;
    let said = team.said(one);
    assert!(said.len() == 2 && said[1].contains("new connection") && said[1].contains(&second[..10]), "{said:?}");
    let words = format!("plan {}: 1 step", digest(&said[1]));
    assert_eq!(team.states(&second), [(good, words)], "{kind:?}");

    // Files that would be broken, with their places.
    let third = team.push("feature", "connectors.d/crm.yaml", &spec.replace("schedule: manual", "schedule: [manual"));
    look(&app).await;
    let said = team.said(one);
    let wrong = said[1].lines().find(|line| line.starts_with("- error ")).unwrap_or_default();
    assert!(said.len() == 2 && wrong.contains(": connectors.d/crm.yaml:7:"), "{kind:?}: {}", said[1]);
    let states = team.states(&third);
    assert!(states.len() == 1 && states[0].0 == bad && states[0].1.ends_with(": 1 error"), "{kind:?}: {states:?}");

    // What is closed, or whose branch is gone, is left alone.
    team.forge.edit(|state| state.close(one, "pat"));
    team.forge.edit(|state| state.bare.delete("elsewhere"));
    let last = team.push("feature", "connectors.d/crm.yaml", &spec);
    let writes = team.writes();
    look(&app).await;
    assert_eq!((team.writes(), team.said(one), team.states(&last).len()), (writes, said, 0), "{kind:?}");
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_and_a_status_follow_a_persons_branch() {
    tokio::join!(told_in_place(Kind::GitHub), told_in_place(Kind::GitLab), told_in_place(Kind::Gitea));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_persons_branch_is_run_or_calls_anybody() {
    let team = Team::start(Kind::GitHub, ALWAYS).await;
    team.world.git(&["push", "--quiet", "origin", "main"]);
    let secret = team.world.dir().join("secret");
    std::fs::write(&secret, "hunter22").unwrap();
    let branch = "fix-@acme/team-#1-<img>";
    let hostile = format!(
        "kind: connection\nsource:\n  type: postgres\n  config:\n    host: h\n    database: '@acme/team'\n    username: x\n    \
         password: ${{file:{}}}\ndestination: warehouse\nschedule: manual\nmapping: '@acme/team'\n\
         streams: ['@acme/team', 'fixes #12', 'https://evil.example/x', '<img src=x>', \"a\\n/close\"]\n",
        secret.display()
    );
    team.push(branch, "connectors.d/@team.yaml", &hostile);
    let mapping = crate::support::world::MAPPING
        .replace("name:   name", "name:   {expr: '\"@acme/team !5 https://evil.example\"'}");
    let tip = team.push(branch, "mappings/crm.yaml", &mapping);
    // One branch is called like an option.
    team.world.git(&["push", "--quiet", "origin", &format!("{tip}:refs/heads/--upload-pack=x")]);
    let (one, two) = (team.ask(branch), team.ask("--upload-pack=x"));
    let app = team.world.open().await;
    look(&app).await;
    look(&app).await;
    for number in [one, two] {
        let said = team.said(number).join("\n");
        assert!(said.contains("acme/team") && said.contains("evil.example"), "{said}");
        assert!(!said.contains("hunter22"), "{said}");
        // Outside of code nothing is left that a forge would read.
        for line in said.lines().filter(|line| !line.starts_with("<!-- aam:")) {
            let prose: String = line.replace("\\`", "").split('`').step_by(2).collect();
            for sign in ["@a", "@t", "#1", "!5", "://", "<"] {
                assert!(!prose.replace("\\<", "").contains(sign), "{sign} in {line}");
            }
        }
    }
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_their_own_name_sets_the_status_alone() {
    let team = Team::start(Kind::GitHub, ALWAYS).await;
    team.world.git(&["push", "--quiet", "origin", "main"]);
    let tip = team.push("feature", "connectors.d/other.yaml", &team.world.connection("streams: [accounts]\n"));
    let one = team.ask("feature");
    let copied = format!("theirs\n{}", aam::ports::mark("plan"));
    team.forge.edit(|state| state.comment(one, "mallory", &copied));
    let forbidden =
        Fault::Answer(403, Vec::new(), r#"{"message":"Resource not accessible by integration"}"#.to_owned());
    team.forge.script("GET /user", 99, forbidden);
    let app = team.world.open().await;
    look(&app).await;
    assert_eq!((team.said(one), team.states(&tip).len()), (vec![copied], 1));
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_add_one_comment() {
    let team = Team::start(Kind::Gitea, ALWAYS).await;
    team.world.git(&["push", "--quiet", "origin", "main"]);
    team.push("feature", "connectors.d/other.yaml", &team.world.connection("streams: [accounts]\n"));
    let one = team.ask("feature");
    let (a, b) = (team.world.open().await, team.world.open().await);
    for _ in 0..3 {
        tokio::join!(look(&a), look(&b));
    }
    assert_eq!(team.said(one).len(), 1);
    a.close().await.unwrap();
    b.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_tells_nothing_until_it_has_it_again() {
    let team = Team::start(Kind::Gitea, ALWAYS).await;
    team.world.git(&["push", "--quiet", "origin", "main"]);
    let commit = team.push("feature", "notes.txt", "none of ours");
    team.ask("feature");
    let app = team.world.open().await;
    let lose = "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                CREATE TRIGGER lose BEFORE UPDATE ON leases FOR EACH ROW
                WHEN (OLD.holder LIKE '%:plans' AND NEW.holder = OLD.holder) EXECUTE FUNCTION lose()";
    team.world.registry.run(lose).await;
    look(&app).await;
    assert_eq!(team.states(&commit).len(), 0);
    team.world.registry.run("DROP TRIGGER lose ON leases").await;
    look(&app).await;
    assert_eq!(team.states(&commit).len(), 1);
    app.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_remote_the_commit_is_fetched_and_a_forbidden_status_is_told() {
    let mut team = Team::remote(Kind::Gitea, "").await;
    let fresh = team.world.dir().join("desk");
    team.world.git(&["clone", "--quiet", "--branch", "main", "../config.git", &fresh.to_string_lossy()]);
    std::fs::write(fresh.join("connectors.d/other.yaml"), team.world.connection("streams: [accounts]\n")).unwrap();
    let desk = fresh.to_string_lossy().into_owned();
    let at_desk = |args: &[&str]| {
        let who = ["-C", &desk, "-c", "user.name=Pat", "-c", "user.email=pat@example.org"];
        team.world.git(&[&who[..], args].concat())
    };
    at_desk(&["add", "--all"]);
    at_desk(&["commit", "--quiet", "-m", "another one"]);
    at_desk(&["push", "--quiet", "origin", "HEAD:feature"]);
    let tip = at_desk(&["rev-parse", "HEAD"]);
    let one = team.ask("feature");
    team.world.env.push(("AAM_FORGE__PLAN".to_owned(), "false".to_owned()));
    team.world.aam_is(0, &["apply"]);
    assert_eq!(team.said(one).len(), 0, "settings may say no");
    team.world.env.pop();

    let call = format!("POST /repos/acme/config/statuses/{tip}");
    let no = r#"{"message":"token does not have the scope"}"#.to_owned();
    team.forge.script(&call, 99, Fault::Answer(403, Vec::new(), no));
    let clone = team.world.root.join(".aam/repository.git").to_string_lossy().into_owned();
    let refs = |team: &Team| team.world.git(&["-C", &clone, "for-each-ref", "--format=%(refname)"]);
    let ran = team.world.aam(&["apply"]);
    assert!(ran.code == 1 && ran.talk.contains("tell plans on the requests of "), "{ran:?}");
    assert!(team.said(one).len() == 1 && team.said(one)[0].contains("new connection"), "{:?}", team.said(one));
    assert_eq!(refs(&team), "refs/remotes/origin/main", "what a person pushed gets no name here");
    let status = team.world.aam(&["status"]);
    let line = status.out.lines().find(|line| line.starts_with("! tell plans")).unwrap_or_default();
    let line = line.replace(&team.forge.url.replace("http://", ""), "FORGE").replace(&tip, "TIP");
    let timeless: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    insta::assert_snapshot!(timeless, @"! tell plans on the requests of FORGE/acme/config failed once since 0000-00-00 00:00:00: request 0: POST /repos/acme/config/statuses/TIP: the forge forbids it: token does not have the scope; give the token the rights that docs/approvals.md names, or set [forge] plan = false; `aam run` tries again at 0000-00-00 00:00:00, `aam apply` now");
    assert_eq!(status.code, 1);

    team.forge.heal();
    team.world.aam_is(0, &["apply"]);
    let states = team.states(&tip);
    assert!(states.len() == 1 && states[0].0 == "success", "{states:?}");
    assert!(!team.world.aam_is(0, &["status"]).contains("tell plans"));

    // Our own request gets the status and no comment.
    team.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    team.world.aam_is(3, &["apply", "--look"]);
    let own = team.world.git(&["-C", &clone, "rev-parse", &format!("refs/remotes/origin/{BRANCH}")]);
    let states = team.states(&own);
    assert!(states.len() == 1 && states[0].0 == "success" && states[0].1.starts_with("plan "), "{states:?}");
    assert_eq!((team.requests(), team.said(2).len()), (2, 0));
    let writes = team.writes();
    team.world.aam_is(3, &["apply"]);
    assert_eq!(team.writes(), writes);
}
