//! A forge that takes labels and does not give them.

use aam::forge::Kind;

use super::team::Team;
use crate::forge_standin::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_a_forge_does_not_give_are_sent_once_for_what_it_shows() {
    let team = Team::start(Kind::GitHub, "check = \"1ms\"\nplan = false\n").await;
    team.world.aam_is(0, &["apply"]);
    team.world.git(&["push", "--quiet", "origin", "main"]);
    let labels = "POST /repos/acme/config/issues/1/labels";
    team.forge.script(labels, 99, Fault::Answer(200, Vec::new(), "[]".to_owned()));
    team.drift("ALTER TABLE accounts DROP COLUMN billing_state", 3).await;
    assert_eq!((team.known().await.as_str(), team.forge.calls(labels)), ("1 open -", 1));

    let app = team.world.open().await;
    let look = async || app.reconciler.requests().await.unwrap();
    for _ in 0..4 {
        look().await;
    }
    assert_eq!(team.forge.calls(labels), 2, "once more, to see it");
    team.forge.edit(|state| state.request(1).labels.push("mine".to_owned()));
    for _ in 0..3 {
        look().await;
    }
    assert_eq!(team.forge.calls(labels), 3, "something changed there");
    team.forge.heal();
    team.forge.edit(|state| state.request(1).labels.clear());
    look().await;
    look().await;
    assert_eq!(team.forge.edit(|state| state.request(1).labels.clone()), ["aam"]);
    app.close().await.unwrap();
}
