//! A forge that fails: what a caller learns, and that nothing is there twice.

use std::time::Duration;

use aam::forge::{Credentials, Kind};
use aam::ports::{ForgeError, Remedy};

use super::tool::{BRANCH, Bed, KINDS, adapter, draft};
use crate::forge_standin::{Fault, READER};

/// How a call that opens a request begins.
fn open_call(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub | Kind::Gitea => "POST /repos/acme/config/pulls",
        Kind::GitLab => "POST /projects/acme%2Fconfig/merge_requests",
    }
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Fault {
    Fault::Answer(status, headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), body.to_owned())
}

#[tokio::test]
async fn an_open_whose_answer_is_lost_is_found_again_and_sent_once() {
    for kind in KINDS {
        for fault in [Fault::CutAfter, Fault::Lost] {
            let bed = Bed::new(kind).await;
            bed.standin.script(open_call(kind), 1, fault);
            let opened = bed.forge.open(&draft("one")).await.unwrap();
            assert_eq!((opened.number, bed.standin.edit(|state| state.requests.len())), (1, 1), "{kind:?}");
            assert_eq!(bed.standin.calls(open_call(kind)), 1, "{kind:?}: sent once");
        }
    }
}

#[tokio::test]
async fn an_open_without_an_answer_and_without_an_effect_is_not_sent_again() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.standin.script(open_call(kind), 1, Fault::Cut);
        let error = bed.forge.open(&draft("one")).await.unwrap_err();
        assert!(matches!(error, ForgeError::Unreachable { sent: true, .. }), "{kind:?}: {error}");
        assert_eq!((error.remedy(), bed.standin.calls(open_call(kind))), (Remedy::Look, 1), "{kind:?}");
    }
}

#[tokio::test]
async fn one_that_is_there_already_is_taken_over() {
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        bed.standin.edit(|state| state.open("ada", "by hand", "", BRANCH, "main"));
        let opened = bed.forge.open(&draft("one")).await.unwrap();
        assert_eq!((opened.number, opened.title.as_str()), (1, "by hand"), "{kind:?}");
        assert_eq!(bed.standin.edit(|state| state.requests.len()), 1, "{kind:?}");
        assert!(bed.standin.edit(|state| state.request(1).labels.is_empty()) == (kind == Kind::GitLab), "{kind:?}");
    }
}

#[tokio::test]
async fn a_request_of_a_missing_branch_is_refused_in_the_forges_words() {
    let mut said = Vec::new();
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        let missing = aam::ports::RequestDraft { head: "aam/drift/default/none".to_owned(), ..draft("one") };
        said.push(bed.forge.open(&missing).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    POST /repos/acme/config/pulls: the forge does not take it: Validation Failed; head: invalid
    POST /projects/acme%2Fconfig/merge_requests: the forge does not take it: Source branch "aam/drift/default/none" does not exist
    POST /repos/acme/config/pulls: not found: The target couldn't be found.
    "#);
}

#[tokio::test]
async fn refusals_are_told_apart_and_never_hold_the_token() {
    let secret = "tok-nobody-4711";
    for kind in KINDS {
        let bed = Bed::new(kind).await;
        let call = "GET ";
        let gone = bed.standin.url.replace("127.0.0.1", "127.0.0.2");
        let stranger = adapter(kind, &bed.standin.url, Credentials::Token(secret.to_owned().into()));
        let error = stranger.open_requests("aam/").await.unwrap_err();
        assert!(matches!(error, ForgeError::Credentials { .. }), "{kind:?}: {error}");
        let reader = adapter(kind, &bed.standin.url, Credentials::Token(READER.to_owned().into()));
        let error = reader.open(&draft("one")).await.unwrap_err();
        assert!(matches!(error, ForgeError::Forbidden { .. }), "{kind:?}: {error}");
        bed.standin.script(call, 1, answer(401, &[], &format!(r#"{{"message":"no such token {secret}"}}"#)));
        let error = stranger.tip("main").await.unwrap_err().to_string();
        assert!(!error.contains(secret) && error.contains("no such token ***"), "{error}");
        let nobody = adapter(kind, &gone, Credentials::Token(secret.to_owned().into()));
        let error = nobody.close(1).await.unwrap_err();
        assert!(matches!(error, ForgeError::Unreachable { sent: false, .. }), "{kind:?}: {error}");
        bed.standin.script(call, 1, answer(301, &[("location", "https://elsewhere.example.org/")], ""));
        bed.standin.script(call, 1, answer(503, &[("content-type", "text/html")], "<html>"));
        assert_eq!(bed.forge.open_requests("aam/").await.unwrap(), [], "a read is tried again: {kind:?}");
    }
}

#[tokio::test]
async fn a_forge_that_asks_for_rest_is_left_alone() {
    let soon = chrono::Utc::now().timestamp() + 90;
    for (kind, status, headers, body, least) in [
        (Kind::GitHub, 403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "SOON")], "API rate limit", 80),
        (Kind::GitHub, 403, vec![("retry-after", "7")], "You have exceeded a secondary rate limit", 6),
        (Kind::GitHub, 429, vec![], "secondary rate limit", 59),
        (Kind::GitLab, 429, vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "SOON")], "Retry later", 80),
        (Kind::Gitea, 429, vec![("retry-after", "9")], "slow down", 8),
    ] {
        let bed = Bed::new(kind).await;
        let soon = soon.to_string();
        let headers: Vec<_> = headers
            .into_iter()
            .map(|(name, value)| (name, if value == "SOON" { soon.as_str() } else { value }))
            .collect();
        bed.standin.script("", 1, answer(status, &headers, &format!(r#"{{"message":"{body}"}}"#)));
        let error = bed.forge.open_requests("aam/").await.unwrap_err();
        let wait = error.wait().unwrap_or_else(|| panic!("{kind:?}: {error}"));
        assert!(wait >= Duration::from_secs(least) && wait <= Duration::from_secs(95), "{kind:?}: {wait:?}");
        assert_eq!(error.remedy(), Remedy::Retry);
        let calls = bed.standin.calls("");
        let again = bed.forge.open(&draft("one")).await.unwrap_err();
        assert!(matches!(again, ForgeError::RateLimited { .. }), "{again}");
        assert_eq!(bed.standin.calls(""), calls, "{kind:?}: nothing is sent meanwhile");
    }
}
