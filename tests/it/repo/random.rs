//! Random sequences of what a person and `aam` do: no commit is lost, no uncommitted byte changes.

use aam::model::CommitId;
use aam::ports::{CommitOutcome, Repo};
use proptest::prelude::*;

use super::desk::{Desk, draft, try_git};

const FILES: [&str; 3] = ["connectors.d/a.yaml", "connectors.d/b.yaml", "notes.txt"];
const BRANCH: &str = "aam/drift/default/crm";

/// One move of the person or of `aam`; numbers choose files and contents.
#[derive(Debug, Clone)]
enum Step {
    Edit(usize, u8),
    Remove(usize),
    Stage(usize),
    CommitAll,
    CommitStaged,
    Switch(bool),
    Merge,
    Bot(usize, u8),
    BotRemoves(usize),
    Propose(usize, u8),
    Approve,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..FILES.len();
    let ours = 0..2_usize;
    prop_oneof![
        3 => (file.clone(), 0..4_u8).prop_map(|(f, n)| Step::Edit(f, n)),
        1 => file.clone().prop_map(Step::Remove),
        2 => file.prop_map(Step::Stage),
        1 => Just(Step::CommitAll),
        1 => Just(Step::CommitStaged),
        1 => any::<bool>().prop_map(Step::Switch),
        1 => Just(Step::Merge),
        4 => (ours.clone(), 0..4_u8).prop_map(|(f, n)| Step::Bot(f, n)),
        1 => ours.clone().prop_map(Step::BotRemoves),
        2 => (ours, 0..4_u8).prop_map(|(f, n)| Step::Propose(f, n)),
        1 => Just(Step::Approve),
        1 => Just(Step::Reopen),
    ]
}

/// What the person has that no commit holds: diffs of index and files against their own base, and untracked files.
fn uncommitted(desk: &Desk) -> (String, String, String, String) {
    let untracked = desk.git(&["ls-files", "--others"]);
    let contents: String = untracked.lines().map(|f| format!("{f}={}\n", desk.read(f))).collect();
    (desk.status(), desk.git(&["diff", "--cached"]), desk.git(&["diff"]), contents)
}

fn committed_text(desk: &Desk, file: &str) -> Option<String> {
    let (there, text) = try_git(&desk.top, &["show", &format!("refs/heads/main:{file}")]);
    there.then(|| format!("{text}\n"))
}

async fn play(steps: Vec<Step>) {
    let desk = Desk::new();
    for (i, file) in FILES.iter().enumerate() {
        desk.write(file, &format!("first {i}\n"));
    }
    desk.commit_all("files");
    desk.git(&["branch", "feature"]);
    let mut repo = desk.open().await;
    for step in steps {
        let (main, before) = (desk.main(), uncommitted(&desk));
        let text = |n: u8| format!("content {n}\n{}", "more\n".repeat(usize::from(n)));
        let outcome = match &step {
            Step::Edit(f, n) => {
                desk.write(FILES[*f], &text(*n));
                None
            }
            Step::Remove(f) => {
                let _ = std::fs::remove_file(desk.top.join(FILES[*f]));
                None
            }
            Step::Stage(f) => {
                try_git(&desk.top, &["add", "--all", "--", FILES[*f]]);
                None
            }
            Step::CommitAll => {
                try_git(&desk.top, &["commit", "--quiet", "-a", "-m", "all"]);
                None
            }
            Step::CommitStaged => {
                try_git(&desk.top, &["commit", "--quiet", "-m", "staged"]);
                None
            }
            Step::Switch(main) => {
                try_git(&desk.top, &["switch", "--quiet", if *main { "main" } else { "feature" }]);
                None
            }
            Step::Merge => {
                if !try_git(&desk.top, &["merge", "--quiet", "-m", "merge", BRANCH]).0 {
                    try_git(&desk.top, &["merge", "--abort"]);
                }
                None
            }
            Step::Bot(f, _) | Step::BotRemoves(f) | Step::Propose(f, _) => {
                let now = committed_text(&desk, FILES[*f]);
                let after = match &step {
                    Step::Bot(_, n) | Step::Propose(_, n) => Some(text(*n)),
                    _ => None,
                };
                let draft = draft(&[(FILES[*f], now.as_deref(), after.as_deref())]);
                if matches!(step, Step::Propose(..)) {
                    let _ = repo.propose(BRANCH, &draft).await;
                    assert_eq!(desk.main(), main, "a proposal moved main");
                    Some(CommitOutcome::Refused(String::new()))
                } else {
                    Some(repo.commit(&draft).await.unwrap())
                }
            }
            Step::Approve => Some(repo.approve(BRANCH, "Pat").await.unwrap()),
            Step::Reopen => {
                // The branch of HEAD may be another by now.
                repo = aam::repo::git::GitRepo::open(&desk.top, Some("main"), &desk.state)
                    .await
                    .unwrap()
                    .with_own(desk.own.clone());
                None
            }
        };
        assert!(try_git(&desk.top, &["merge-base", "--is-ancestor", &main, "main"]).0, "{step:?} lost a commit");
        if let Some(outcome) = outcome {
            assert_eq!(uncommitted(&desk), before, "{step:?} touched the person's work: {outcome:?}");
            match outcome {
                CommitOutcome::Committed(CommitId(id)) => {
                    assert!(try_git(&desk.top, &["merge-base", "--is-ancestor", &id, "main"]).0);
                }
                _ => assert_eq!(desk.main(), main, "{step:?} moved the branch: {outcome:?}"),
            }
        }
    }
    assert!(desk.git(&["fsck", "--no-dangling"]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_commit_is_lost_and_no_uncommitted_byte_changes(steps in prop::collection::vec(step(), 1..25)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(steps));
    }
}
