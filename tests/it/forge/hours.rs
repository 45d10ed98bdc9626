//! An hour without the remote, and clocks that disagree.

use super::office::Office;
use super::tool::BRANCH;
use crate::forge_standin::{Kind, Standing};

async fn known(office: &Office) -> String {
    let known = "SELECT format('%s %s', number, state) FROM requests ORDER BY number";
    office.world.registry.list(known).await.join(", ")
}

async fn versions(office: &Office) -> String {
    office.world.registry.list("SELECT version::text FROM sync_catalog_versions ORDER BY version").await.join(" ")
}

async fn rests(office: &Office) -> bool {
    !office.world.registry.has("SELECT FROM intents").await
        && office.world.registry.one("SELECT troubles::text FROM connections").await == "{}"
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_the_remote_is_told_and_caught_up_with() {
    let mut office = Office::open(Kind::Gitea).await;
    office.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    office.look().await;
    office.plug(false);
    for ten_minutes in 0..6 {
        match ten_minutes {
            // What only adds waits for the remote as well.
            1 => office.world.source.run("ALTER TABLE accounts ADD COLUMN website text").await,
            2 => office.world.source.run("ALTER TABLE accounts DROP COLUMN employees").await,
            3 => office.forge.edit(|state| assert!(state.merge(1, "grace", true))),
            _ => {}
        }
        office.look().await;
        let status = office.world.aam(&["status"]);
        assert_eq!(status.code, 4, "{status:?}");
        assert!(status.out.contains("stays in force, `aam run` tries again at 2"), "{status:?}");
        office.pass(600);
    }
    assert_eq!((known(&office).await.as_str(), office.forge.calls("POST /repos/acme/config/pulls")), ("1 open", 1));
    office.plug(true);
    for _ in 0..2 {
        office.look().await;
        office.pass(600);
    }
    office.look().await;
    assert_eq!(known(&office).await, "1 merged, 2 open");
    let merged = "SELECT split_part(actor, ' ', 1) FROM audit_log WHERE action = 'request.merged'";
    assert_eq!(
        (office.world.registry.one(merged).await.as_str(), versions(&office).await.as_str()),
        ("grace", "1 2 3")
    );
    assert!(rests(&office).await);
    office.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_disagree_change_nothing() {
    // The forge's is months behind, that of `aam` far ahead, and those of people are anywhere.
    let mut office = Office::open(Kind::GitLab).await;
    office.pass(400 * 86_400);
    let at = |office: &mut Office, date: &str| {
        for name in ["GIT_COMMITTER_DATE", "GIT_AUTHOR_DATE"] {
            office.world.env.retain(|(known, _)| known != name);
            office.world.env.push((name.to_owned(), date.to_owned()));
        }
    };
    office.world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    office.look().await;
    at(&mut office, "2090-01-01T00:00:00Z");
    office.world.git(&["pull", "--quiet", "origin", "main"]);
    office.world.write("notes.txt", "from far ahead\n");
    office.world.commit("notes");
    at(&mut office, "1971-01-01T00:00:00Z");
    office.world.git(&["fetch", "--quiet", "origin"]);
    office.world.git(&["merge", "--quiet", "--no-ff", "--no-edit", &format!("origin/{BRANCH}")]);
    office.world.git(&["push", "--quiet", "origin", "main"]);
    office.forge.edit(|state| assert_eq!(state.request(1).state, Standing::Merged, "a forge sees that"));
    office.turn().await;
    assert_eq!((known(&office).await.as_str(), versions(&office).await.as_str()), ("1 merged", "1 2"));
    office.world.source.run("ALTER TABLE accounts DROP COLUMN employees").await;
    office.look().await;
    office.forge.edit(|state| {
        state.comment(2, "grace", "keep it");
        state.close(2, "grace");
    });
    office.turn().await;
    // Taken all the same, by somebody whose clock is behind.
    let approved = office.world.aam_is(0, &["drift", "approve", "crm"]);
    office.turn().await;
    assert_eq!(known(&office).await, "1 merged, 2 rejected", "{approved}");
    let by = "SELECT approved_by FROM sync_catalog_versions WHERE version = 3";
    assert!(office.world.registry.one(by).await.starts_with("Pat "), "{}", office.world.registry.one(by).await);
    assert!(rests(&office).await);
    office.stop().await;
}
