//! The plan of a merge: from two revisions and what is known of what runs, without a write.

use crate::support::world::{MAPPING, World};

fn review<'a>(base: &'a str, head: &'a str) -> Vec<&'a str> {
    vec!["plan", "--format", "markdown", "--base", base, "--head", head]
}

fn refs(world: &World) -> String {
    world.git(&["for-each-ref"]) + &world.git(&["status", "--porcelain"]) + &world.git(&["count-objects", "-v"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_told_with_and_without_a_registry_and_nothing_is_written() {
    let world = World::with_crm("").await;
    world.aam_is(0, &["apply"]);
    world.git(&["switch", "--quiet", "--create", "feature"]);
    let spec = world.read("connectors.d/crm.yaml");
    world.write("connectors.d/crm.yaml", &spec.replace("schedule: manual", "schedule: {every: 6h}"));
    world.write("mappings/crm.yaml", &MAPPING.replace("name:   name", "name:   {expr: 'name ~ \"<b>|@team\"'}"));
    world.commit("feature");
    world.git(&["switch", "--quiet", "main"]);
    // the base moved on in another file, which the merge keeps
    world.write(
        "connectors.d/other.yaml",
        &world.connection("on_delete: delete\n").replace("schedule", "streams: [accounts]\nschedule"),
    );
    world.commit("another one");

    let before = (refs(&world), world.registry.fingerprint(&[]).await);
    let text = world.aam_is(0, &review("main", "feature"));
    let short = |rev: &str| world.git(&["rev-parse", "--short=10", rev]);
    let shown = text.replace(&short("main"), "BASE").replace(&short("feature"), "HEAD");
    let (shown, digest) = shown.rsplit_once("Digest of the plan: ").unwrap();
    assert_eq!(digest.trim().len(), 66);
    insta::assert_snapshot!(shown, @r#"
    ### aam plan

    Merging `feature` (`HEAD`) into `main` (`BASE`).

    #### What the files change

    - `connection crm`
      - schedule: manual → every 6h
    - `mapping crm`
      - account.name: name → name \~ "\<b\>\|\@&#8203;team"

    #### What would be done

    - crm: update settings from its spec
    "#);
    assert_eq!((refs(&world), world.registry.fingerprint(&[]).await), before, "nothing is written");
    assert_eq!(world.aam_is(0, &review("main", "feature")), text, "the same again");

    // a CI runner: a clone, HEAD detached, no registry
    let clone = world.dir().join("clone");
    let clone = clone.to_str().unwrap();
    world.git(&["clone", "--quiet", ".", clone]);
    world.git(&["-C", clone, "checkout", "--quiet", "--detach", "origin/feature"]);
    std::fs::write(world.dir().join("ci.toml"), "").unwrap();
    let ci = world.dir().join("ci.toml");
    let there = ["--repository", clone, "--config", ci.to_str().unwrap()];
    let text = world.aam_is(0, &[&there[..], &review("origin/main", "HEAD")].concat());
    assert!(text.contains("#### What the files change") && text.contains("schedule: manual → every 6h"), "{text}");
    assert!(text.contains("could not be looked at: no registry is configured"), "{text}");
    assert!(text.contains("Digest of the changes: `") && !text.contains("What would be done"), "{text}");
    assert!(!std::path::Path::new(clone).join(".aam").exists(), "no state of any kind");

    // broken by the merge
    world.git(&["switch", "--quiet", "feature"]);
    world.write("connectors.d/crm.yaml", &spec.replace("kind: connection", "kind: conection"));
    world.commit("a typo");
    let ran = world.aam(&review("main", "feature"));
    assert!(ran.code == 1 && ran.out.contains("- error AAM\\-S007") | ran.out.contains("- error AAM-S007"), "{ran:?}");

    for (args, code, why) in [
        (review("main", "--upload-pack=x"), 64, ""),
        (vec!["plan", "--base=main", "--head=--output=/tmp/x"], 1, "this clone has no such commit"),
        (review("main", "nowhere"), 1, "this clone has no such commit"),
        (vec!["status", "--format", "markdown"], 64, "only `aam plan --base REF --head REF` prints Markdown"),
        (vec!["plan", "--base", "main"], 64, ""),
    ] {
        let ran = world.aam(&args);
        assert!(ran.code == code && ran.talk.contains(why), "{args:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_change_stays_a_comment() {
    let world = World::with_crm("").await;
    world.git(&["switch", "--quiet", "--create", "feature"]);
    for n in 0..700 {
        let long = "x".repeat(60);
        world.write(&format!("connectors.d/{long}{n}.yaml"), &world.connection("streams: [accounts]\n"));
    }
    world.commit("many");
    let ci = world.dir().join("ci.toml");
    std::fs::write(&ci, "").unwrap();
    let text = world.aam_is(0, &[&["--config", ci.to_str().unwrap()][..], &review("main", "feature")].concat());
    assert!(text.len() <= 60_000 && text.contains("more lines") && text.contains("Digest of"), "{}", text.len());
}
