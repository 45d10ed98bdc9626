//! The same story on each forge.

use aam::forge::Kind;
use aam::model::CommitId;
use aam::ports::{
    CheckState, CommitStatus, ForgeAccess, ForgeError, Merging, Remark, RequestDraft, RequestState, WITHDRAWN, mark,
};

use super::tool::{BRANCH, Bed, KINDS, draft};
use crate::forge_standin::{Fault, READER};

const PREFIX: &str = "aam/drift/";
/// Everything that may be brought up to date.
const ALL: [&str; 4] = ["title", "text", "labels", "base"];

#[tokio::test]
async fn a_request_is_opened_brought_up_to_date_and_closed() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        let forge = &bed.forge;
        assert_eq!(forge.open_requests(PREFIX).await.unwrap(), []);
        let opened = forge.open(&draft("one")).await.unwrap();
        let listed = forge.open_requests(PREFIX).await.unwrap();
        assert_eq!((listed.len(), &listed[0].head, &listed[0].base), (1, &BRANCH.to_owned(), &"main".to_owned()));
        assert_eq!((listed[0].number, &listed[0].title), (opened.number, &"Drift of crm: one".to_owned()), "{kind:?}");
        assert_eq!((&listed[0].labels, &listed[0].body), (&draft("").labels, &draft("one").body), "{kind:?}");
        assert!(listed[0].url.starts_with(&bed.standin.url), "{}", listed[0].url);
        assert_eq!(forge.open_requests("aam/other/").await.unwrap(), []);
        // An own label of a person stays, and another base is followed.
        bed.standin.edit(|state| state.request(1).labels.push("mine".to_owned()));
        bed.branch("trunk", "main");
        let trunk = RequestDraft { base: "trunk".to_owned(), ..draft("two") };
        forge.update(opened.number, &trunk, &["labels"]).await.unwrap();
        let now = forge.request(opened.number).await.unwrap().unwrap();
        let one = draft("one");
        assert_eq!(
            (now.title, now.body, now.base),
            (one.title, one.body, "main".to_owned()),
            "{kind:?}: not asked for"
        );
        forge.update(opened.number, &trunk, &ALL).await.unwrap();
        let now = forge.request(opened.number).await.unwrap().unwrap();
        assert_eq!((&now.title, &now.body, &now.base), (&draft("two").title, &draft("two").body, &"trunk".to_owned()));
        let labels: Vec<&str> = now.labels.iter().map(String::as_str).collect();
        assert_eq!(labels, ["aam", "drift", "mine"], "{kind:?}");
        forge.comment(opened.number, "gone").await.unwrap();
        forge.close(opened.number).await.unwrap();
        forge.close(opened.number).await.unwrap();
        let closed = forge.request(opened.number).await.unwrap().unwrap();
        assert_eq!(
            closed.state,
            RequestState::Closed { by: Some("aam-bot".to_owned()), branch_deleted: false },
            "{kind:?}"
        );
        assert_eq!(forge.open_requests(PREFIX).await.unwrap(), []);
        assert_eq!(forge.request(99).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_draft_stays_one_until_people_say_it_is_ready() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        let opened = bed.forge.open(&RequestDraft { draft: true, ..draft("one") }).await.unwrap();
        let (title, is_draft) = bed.standin.edit(|state| (state.request(1).title.clone(), state.request(1).draft));
        let shown = match kind {
            Kind::GitHub => "Drift of crm: one",
            Kind::GitLab => "Draft: Drift of crm: one",
            Kind::Gitea => "WIP: Drift of crm: one",
        };
        assert_eq!((title.as_str(), is_draft), (shown, kind == Kind::GitHub));
        assert_eq!(opened.title, "Drift of crm: one");
        bed.forge.update(1, &draft("two"), &ALL).await.unwrap();
        let title = bed.standin.edit(|state| state.request(1).title.clone());
        assert_eq!(title, shown.replace("one", "two"), "{kind:?}");
    }
}

#[tokio::test]
async fn merges_closings_approvals_and_words_are_told_with_their_authors() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.forge.open(&draft("one")).await.unwrap();
        bed.forge.comment(1, &format!("ours\n{}", mark("told"))).await.unwrap();
        bed.standin.edit(|state| {
            state.review(1, "grace", false, "");
            state.review(1, "linus", true, "");
            state.comment(1, "ada", "why now?");
            state.comment(1, "grace", "it is wrong: `x`\nask Linus");
        });
        bed.standin.edit(|state| state.comment(1, "mallory", &mark(WITHDRAWN)));
        bed.forge.comment(1, &format!("ours again\n{}", mark("told"))).await.unwrap();
        let review = bed.forge.review(1).await.unwrap();
        let last = Remark { author: "grace".to_owned(), text: "it is wrong: `x`\nask Linus".to_owned() };
        assert_eq!((review.approvals, review.last_comment), (vec!["linus".to_owned()], Some(last)), "{kind:?}");
        assert_eq!(review.withdrawn, None, "a mark that somebody copied is not our word");
        bed.forge.comment(1, &mark(WITHDRAWN)).await.unwrap();
        assert_eq!(bed.forge.review(1).await.unwrap().withdrawn.as_deref(), Some("aam-bot"), "{kind:?}");
        bed.standin.edit(|state| state.close(1, "grace"));
        let closed = bed.forge.request(1).await.unwrap().unwrap();
        let by_grace = RequestState::Closed { by: Some("grace".to_owned()), branch_deleted: false };
        assert_eq!(closed.state, by_grace, "{kind:?}");

        bed.forge.open(&draft("two")).await.unwrap();
        bed.standin.edit(|state| assert!(state.merge(2, "linus", true)));
        let merged = bed.forge.request(2).await.unwrap().unwrap();
        let main = bed.forge.tip("main").await.unwrap();
        assert_eq!(merged.state, RequestState::Merged { by: Some("linus".to_owned()), commit: main }, "{kind:?}");
        assert_eq!((merged.head.as_str(), bed.forge.tip(BRANCH).await.unwrap()), (BRANCH, None), "{kind:?}");
    }
}

#[tokio::test]
async fn a_deleted_branch_is_told_even_when_it_is_there_again() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.forge.open(&draft("one")).await.unwrap();
        bed.branch("kept", BRANCH);
        bed.standin.edit(|state| state.bare.delete(BRANCH));
        bed.branch(BRANCH, "kept");
        let state = bed.forge.request(1).await.unwrap().unwrap().state;
        let told = RequestState::Closed { by: Some("aam-bot".to_owned()), branch_deleted: true };
        assert_eq!(state, told, "{kind:?}");
    }
}

#[tokio::test]
async fn a_closing_is_a_persons_though_the_branch_went_before_or_after() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.forge.open(&draft("one")).await.unwrap();
        bed.branch("kept", BRANCH);
        let by_grace = RequestState::Closed { by: Some("grace".to_owned()), branch_deleted: false };
        // Closed, and then "Delete branch".
        bed.standin.edit(|state| {
            state.close(1, "grace");
            state.wait(60);
            state.bare.delete(BRANCH);
        });
        assert_eq!(bed.forge.request(1).await.unwrap().unwrap().state, by_grace, "{kind:?}");
        // Deleted, pushed and opened again, and closed a day later.
        bed.branch(BRANCH, "kept");
        bed.forge.open(&draft("two")).await.unwrap();
        bed.standin.edit(|state| state.bare.delete(BRANCH));
        bed.branch(BRANCH, "kept");
        bed.standin.edit(|state| {
            assert!(state.reopen(2));
            state.wait(3600);
            state.close(2, "grace");
        });
        assert_eq!(bed.forge.request(2).await.unwrap().unwrap().state, by_grace, "{kind:?}");
    }
}

#[tokio::test]
async fn events_that_github_does_not_show_for_a_moment_are_asked_again() {
    let bed = Bed::new(Kind::GitHub).await;
    bed.forge.open(&draft("one")).await.unwrap();
    bed.standin.edit(|state| state.bare.delete(BRANCH));
    let gone = Fault::Answer(404, Vec::new(), r#"{"message":"Not Found"}"#.to_owned());
    bed.standin.script("GET /repos/acme/config/issues/1/events", 1, gone);
    let error = bed.forge.request(1).await.unwrap_err();
    assert!(matches!(error, ForgeError::NotFound { .. }), "{error}");
    let told = RequestState::Closed { by: Some("aam-bot".to_owned()), branch_deleted: true };
    assert_eq!(bed.forge.request(1).await.unwrap().unwrap().state, told);
}

#[tokio::test]
async fn who_does_not_know_their_own_name_takes_no_comment_for_theirs() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        let forbidden = Fault::Answer(403, Vec::new(), r#"{"message":"not for this token"}"#.to_owned());
        bed.standin.script("GET /user", 9, forbidden);
        bed.forge.open(&draft("one")).await.unwrap();
        bed.standin.edit(|state| state.comment(1, "mallory", &mark(WITHDRAWN)));
        assert_eq!(bed.forge.review(1).await.unwrap().withdrawn, None, "{kind:?}");
        assert_eq!(bed.forge.own_comments(1).await.unwrap(), None, "{kind:?}");
    }
}

#[tokio::test]
async fn one_comment_is_kept_up_to_date_and_a_copied_mark_is_not_ours() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.forge.open(&draft("one")).await.unwrap();
        let text = |words: &str| format!("{words}\n{}", mark("plan"));
        bed.standin.edit(|state| state.comment(1, "mallory", &text("theirs")));
        for words in ["first", "second", "second"] {
            bed.forge.upsert_comment(1, "plan", &text(words)).await.unwrap();
        }
        let comments: Vec<String> =
            bed.standin.edit(|state| state.request(1).comments.iter().map(|c| c.body.clone()).collect());
        assert_eq!(comments, [text("theirs"), text("second")], "{kind:?}");
        let writes = |standin: &crate::forge_standin::Standin| {
            standin.edit(|s| s.calls.iter().filter(|call| !call.starts_with("GET") && call.contains("note")).count())
        };
        if kind == Kind::GitLab {
            assert_eq!(writes(&bed.standin), 2, "what is there already is not sent again");
        }
    }
}

#[tokio::test]
async fn a_commit_has_one_status_that_is_sent_when_it_is_news() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        let tip = bed.forge.tip(BRANCH).await.unwrap().unwrap();
        let status = |state, description: &str| CommitStatus {
            context: "aam/plan".to_owned(),
            state,
            description: description.to_owned(),
        };
        for (state, words) in [
            (CheckState::Pending, "one"),
            (CheckState::Pending, "one"),
            (CheckState::Success, "plan 1f2e"),
            (CheckState::Success, "plan 1f2e"),
            (CheckState::Failure, &"long ".repeat(60)),
        ] {
            bed.forge.set_status(&tip, &status(state, words)).await.unwrap();
        }
        let shown: Vec<(String, usize)> = bed
            .standin
            .edit(|state| state.statuses.iter().map(|s| (s.state.clone(), s.description.chars().count())).collect());
        let failed = if kind == Kind::GitLab { "failed" } else { "failure" };
        let all = [("pending", 3), ("success", 9), (failed, 140)].map(|(word, count)| (word.to_owned(), count));
        assert_eq!(shown, all, "{kind:?}");
        // GitLab keeps the words of a check that waits.
        bed.forge.set_status(&tip, &status(CheckState::Pending, "a")).await.unwrap();
        bed.forge.set_status(&tip, &status(CheckState::Pending, "b")).await.unwrap();
        let unknown = CommitId("1".repeat(40));
        assert!(bed.forge.set_status(&unknown, &status(CheckState::Pending, "x")).await.is_err(), "{kind:?}");
    }
}

#[tokio::test]
async fn lists_are_read_to_their_end_and_forks_are_no_requests_of_ours() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.standin.edit(|state| {
            state.page = 3;
            // What an answer says where the next page is, is not followed: the token would go there.
            state.links = Some("https://elsewhere.example.org/".to_owned());
            for n in 0..7 {
                state.open("ada", &format!("other {n}"), "", "main", "main");
            }
            let fork = state.open("mallory", "trap", "", BRANCH, "main");
            state.request(fork).fork = true;
        });
        assert_eq!(bed.forge.request(8).await.unwrap(), None, "{kind:?}: read one by one, too");
        bed.forge.open(&draft("one")).await.unwrap();
        let found = bed.forge.open_requests(PREFIX).await.unwrap();
        assert_eq!(found.iter().map(|request| request.number).collect::<Vec<_>>(), [9], "{kind:?}");
        bed.standin.edit(|state| {
            for n in 0..8 {
                state.comment(9, "ada", &format!("word {n}"));
            }
        });
        assert_eq!(bed.forge.review(9).await.unwrap().last_comment.unwrap().text, "word 7", "{kind:?}");
    }
}

#[tokio::test]
async fn who_we_are_and_what_we_may() {
    for kind in KINDS {
        let version = match kind {
            Kind::GitHub => None,
            Kind::GitLab => Some("17.5.0".to_owned()),
            Kind::Gitea => Some("1.22.0".to_owned()),
        };
        let access = |login: &str, may_write| ForgeAccess {
            login: Some(login.to_owned()),
            may_write: Some(may_write),
            default_branch: Some("main".to_owned()),
            version: version.clone(),
        };
        assert_eq!(Bed::new(kind).await.forge.access().await.unwrap(), access("aam-bot", true), "{kind:?}");
        assert_eq!(Bed::with(kind, READER).await.forge.access().await.unwrap(), access("reader", false), "{kind:?}");
    }
}

#[tokio::test]
async fn a_file_has_a_page() {
    let mut links = Vec::new();
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        links.push(bed.forge.link(BRANCH, "drift/default/crm/4f1c 9.md").replace(&bed.standin.url, ""));
    }
    insta::assert_snapshot!(links.join("\n"), @"
    /acme/config/blob/aam/drift/default/crm/deploy/drift/default/crm/4f1c%209.md
    /acme/config/-/blob/aam/drift/default/crm/deploy/drift/default/crm/4f1c%209.md
    /acme/config/src/branch/aam/drift/default/crm/deploy/drift/default/crm/4f1c%209.md
    ");
}

#[tokio::test]
async fn a_request_merges_by_itself_once_its_checks_are_good() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.standin.edit(|state| state.required = vec!["ci".to_owned()]);
        bed.forge.open(&draft("one")).await.unwrap();
        let tip = bed.forge.tip(BRANCH).await.unwrap().unwrap();
        assert_eq!(bed.forge.request(1).await.unwrap().unwrap().tip, Some(tip.clone()), "{kind:?}");
        let main = bed.forge.tip("main").await.unwrap().unwrap();
        assert_eq!(bed.forge.automate(1, &main).await.unwrap(), Merging::Later, "{kind:?}: another commit");
        for _ in 0..2 {
            assert_eq!(bed.forge.automate(1, &tip).await.unwrap(), Merging::ByItself, "{kind:?}");
        }
        assert_eq!(bed.standin.edit(|state| state.request(1).auto.clone()).as_deref(), Some("aam-bot"), "{kind:?}");
        for _ in 0..2 {
            bed.forge.leave_to_people(1).await.unwrap();
        }
        bed.standin.edit(|state| state.pass(BRANCH, "ci"));
        assert_eq!(bed.forge.request(1).await.unwrap().unwrap().state, RequestState::Open, "{kind:?}: taken back");
        // Nothing is left to wait for: it is merged at once.
        assert_eq!(bed.forge.automate(1, &tip).await.unwrap(), Merging::ByItself, "{kind:?}");
        let state = bed.forge.request(1).await.unwrap().unwrap().state;
        assert!(matches!(state, RequestState::Merged { by: Some(by), .. } if by == "aam-bot"), "{kind:?}");
    }
}

#[tokio::test]
async fn where_nothing_is_asked_of_a_merge_it_is_merged_at_once() {
    let unruled = r#"{"data":null,"errors":[{"type":"UNPROCESSABLE","message":"Pull request Protected branch rules not configured for this branch"}]}"#;
    let old = Some(Fault::Answer(200, Vec::new(), unruled.to_owned()));
    for (kind, fault) in [(Kind::GitHub, None), (Kind::GitHub, old), (Kind::GitLab, None), (Kind::Gitea, None)] {
        let bed = Bed::new(kind).await;
        bed.forge.open(&draft("one")).await.unwrap();
        let tip = bed.forge.tip(BRANCH).await.unwrap().unwrap();
        fault.into_iter().for_each(|fault| bed.standin.script("POST /graphql", 1, fault));
        assert_eq!(bed.forge.automate(1, &tip).await.unwrap(), Merging::ByItself, "{kind:?}");
        let state = bed.forge.request(1).await.unwrap().unwrap().state;
        assert!(matches!(state, RequestState::Merged { by: Some(by), .. } if by == "aam-bot"), "{kind:?}");
    }
}

#[tokio::test]
async fn where_nothing_merges_by_itself_that_is_said_in_words() {
    let mut said = Vec::new();
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.standin.edit(|state| (state.required, state.auto_merge) = (vec!["ci".to_owned()], false));
        bed.forge.open(&draft("one")).await.unwrap();
        let tip = bed.forge.tip(BRANCH).await.unwrap().unwrap();
        if kind == Kind::GitLab {
            assert_eq!(bed.forge.automate(1, &tip).await.unwrap(), Merging::Later, "its pipeline may come yet");
            bed.standin.edit(|state| state.pass(BRANCH, "ci"));
        }
        let error = bed.forge.automate(1, &tip).await.unwrap_err();
        assert!(matches!(error, ForgeError::Forbidden { .. } | ForgeError::Invalid { .. }), "{kind:?}: {error}");
        said.push(error.to_string());
    }
    insta::assert_snapshot!(said.join("\n"), @"
    POST /graphql: the forge forbids it: `Allow auto-merge` is off in the repository's settings (General, Pull Requests): turn it on, or merge the request by hand
    PUT /projects/acme%2Fconfig/merge_requests/1/merge: the forge does not take it: 405 Method Not Allowed (detailed_merge_status `mergeable`): merge it by hand, or mend that
    POST /repos/acme/config/pulls/1/merge: the forge does not take it: User not allowed to merge PR
    ");
}
