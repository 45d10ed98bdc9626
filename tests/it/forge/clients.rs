//! The stand-ins, held to by other people's client libraries: what these read and write is what they read and write with the
//! real forges. `scripts/test-long` brings the libraries.

use std::path::Path;
use std::process::Command;

use aam::forge::Kind;

use super::tool::{BRANCH, Bed};
use crate::forge_standin::{Standing, TOKEN};

#[allow(clippy::print_stdout)] // SKIPPED lines are for scripts/test
async fn speak(kind: Kind, script: &str) {
    let Some(python) = std::env::var_os("AAM_FORGE_CLIENTS") else {
        println!("SKIPPED: clients of forges: AAM_FORGE_CLIENTS does not say where their Python is");
        return;
    };
    let bed = Bed::new(kind).await;
    bed.branch("aam/drift/default/hr", BRANCH);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forge").join(script);
    let url = bed.standin.url.clone();
    let spoken = tokio::task::spawn_blocking(move || {
        Command::new(python).arg(script).env("URL", url).env("TOKEN", TOKEN).env("BRANCH", BRANCH).output().unwrap()
    });
    let out = spoken.await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && said.contains("all of it was as the library wants it"), "{said}");
    // What the library made, our adapter reads.
    assert!(matches!(bed.standin.edit(|state| state.request(1).state), Standing::Merged), "{said}");
    let merged = bed.forge.request(1).await.unwrap().unwrap();
    assert!(matches!(merged.state, aam::ports::RequestState::Merged { .. }), "{merged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_gitlab_finds_a_gitlab() {
    speak(Kind::GitLab, "gitlab_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_made_from_giteas_document_finds_a_gitea() {
    speak(Kind::Gitea, "gitea_client.py").await;
}
