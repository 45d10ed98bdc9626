//! Another daemon at the same repository and registry, with a clone of its own; and what a person says while a step is under way.

use std::sync::Arc;

use aam::reconcile::work_items;

use super::office::Office;
use crate::forge_standin::Kind;

const BACK: &str = "aam/drift/rollback-of/default/crm";

/// As the other one, which has fetched.
fn beside(office: &mut Office, commands: &[&[&str]]) {
    let state = office.world.dir().canonicalize().unwrap().join("state-beside");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::copy(office.world.root.join(".aam/fingerprint.key"), state.join("fingerprint.key")).unwrap();
    let state = state.to_str().unwrap().to_owned();
    office.world.env.push(("AAM_STATE__DIRECTORY".to_owned(), state));
    for command in commands {
        let ran = office.world.aam(command);
        office.tell(format!("    beside: {ran:?}"));
    }
    office.world.env.pop();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_fetched_a_branch_does_not_meddle_with_its_request() {
    let mut office = Office::open(Kind::GitLab).await;
    office.world.source.run("ALTER TABLE accounts ADD COLUMN website text").await;
    office.look().await;
    let back = |reason| ["rollback", "crm", "--to", "1", "--reason", reason, "--branch"];
    beside(&mut office, &[&back("it broke a report"), &["apply"]]);
    assert_eq!(office.open_requests(), [(1, BACK.to_owned())]);
    // Long after whatever was committed.
    office.pass(300);
    for reached in [false, true] {
        office.plug(reached);
        office.requests().await;
        assert_eq!(office.open_requests(), [(1, BACK.to_owned())], "reached: {reached}");
    }
    beside(&mut office, &[&back("it broke another one"), &["apply"]]);
    let said = |office: &Office| office.forge.edit(|state| state.request(1).body.clone());
    let told = said(&office);
    assert!(told.contains("it broke another one"), "{told}");
    for reached in [false, true] {
        office.plug(reached);
        office.requests().await;
        assert_eq!(said(&office), told, "reached: {reached}");
    }
    office.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_while_another_rejection_is_forgotten_stays() {
    let mut office = Office::open(Kind::GitLab).await;
    let rejection = |digit: &str| {
        let fingerprint = format!("s1:{}", digit.repeat(64));
        serde_json::json!({
            "fingerprint": fingerprint, "by": "Ada", "at": "2026-01-02T03:04:05Z", "reason": "no",
            "changes": [format!("- public/accounts.{digit}: string")],
        })
    };
    let (written, new) = (rejection("a"), rejection("b"));
    office.world.git(&["pull", "--quiet"]);
    // a flow mapping is YAML, too
    office.world.write("drift/default/crm/rejected.yaml", &format!("- {written}\n"));
    office.world.commit("no");
    office.world.git(&["push", "--quiet"]);
    let set = |rejections: &[&serde_json::Value]| {
        format!("UPDATE connections SET rejections = '{}'", serde_json::to_string(rejections).unwrap())
    };
    office.world.registry.run(&set(&[&written])).await;
    office.reconciler().await.doors().repo.fetch().await.unwrap();
    let planned = Arc::new(office.reconciler().await.gather(None).await.unwrap());
    office.world.registry.run(&set(&[&written, &new])).await;
    for item in work_items(&planned, &planned.plan()) {
        office.reconciler().await.execute(&planned, &item).await;
    }
    let held =
        "SELECT string_agg(left(one->>'fingerprint', 4), ' ') FROM connections, json_array_elements(rejections) one";
    assert_eq!(office.world.registry.one(held).await, "s1:a s1:b");
    office.settle().await;
    assert_eq!(office.world.registry.one(held).await, "s1:b", "planned again, only that goes which git holds");
    office.stop().await;
}
