//! What a drift reaches, through the binary: in plans, lists, reports and the drift file, and the same until something changes.

use serde_json::Value;

use crate::support::world::World;

/// With every time of this run replaced.
fn steady(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    while let Some(at) = words.iter().position(|word| word.starts_with("UTC")) {
        let time = words[at].replacen("UTC", "TIME", 1);
        words.splice(at - 2..=at, [time]);
    }
    words.join(" ")
}

fn lines_with<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.lines().skip_while(|line| !line.starts_with(from)).take_while(|line| !line.starts_with(to)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drift_says_what_it_starves_and_keeps_saying_the_same() {
    let world = World::with_crm("").await;
    world.write("connectors.d/crm.yaml", &world.connection("  when_breaking: continue\nmapping: crm\n"));
    world.commit("go on");
    world.aam_is(0, &["apply"]);
    world.aam_is(0, &["sync", "crm"]);
    world.source.run("ALTER TABLE accounts DROP COLUMN billing_state").await;
    world.aam_is(3, &["apply", "--look"]);

    let plan = world.aam_is(3, &["plan"]);
    insta::assert_snapshot!(steady(&lines_with(&plan, "      ", "Plan").join("\n")), @r#"
    mappings/crm.yaml:11  canonical field account.region reads billing_state: starves; about 3 events a day carried it
    public.accounts  column billing_state: dropped by the first sync after approval, with the values
    public/accounts  goes on syncing (`when_breaking: continue`); what is missing is null; last synced TIME
    "#);
    let file = world.aam_is(0, &["drift", "show", "crm"]);
    insta::assert_snapshot!(steady(&lines_with(&file, "## What it touches", "## What it means").join("\n")), @"
    ## What it touches

    ```text
    mappings/crm.yaml:11  canonical field account.region reads billing_state: starves
        about 3 events a day carried it
    public.accounts  column billing_state: dropped by the first sync after approval, with the values
    public/accounts  goes on syncing (`when_breaking: continue`); what is missing is null
        last synced TIME
    ```

    Events are counted in the day before TIME, when this was first seen.

    ## Tried on landed records

    ```text
    public/accounts as account: 3 landed records
        before the change                    3 mapped
        since then, by the mapping as it is  3 mapped, 1 as before; another value or none: region 2
        since then, with this repair         3 mapped, 0 as before; another value or none: region 3
    ```
    ");
    assert_eq!(lines_with(&world.aam_is(3, &["drift", "list"]), "      ", "!"), lines_with(&plan, "      ", "Plan"));

    // What is written and shown stays as it is while events go on and time goes by.
    let branch = "aam/drift/default/crm";
    let tip = world.git(&["rev-parse", branch]);
    let radius = |args: &[&str], at: &str| {
        let ran = world.aam(&[args, &["--format", "json"]].concat());
        serde_json::from_str::<Value>(&ran.out).unwrap().pointer(at).unwrap().clone()
    };
    let before = radius(&["drift", "show", "crm"], "/radius");
    world.source.run("UPDATE accounts SET employees = employees + 1, updated_at = now()").await;
    world.aam(&["sync", "crm"]);
    world.aam_is(3, &["apply", "--look"]);
    assert_eq!(world.git(&["rev-parse", branch]), tip);
    assert_eq!(world.aam_is(0, &["drift", "show", "crm"]), file);
    assert_eq!(world.git(&["show", &format!("{branch}:{}", drift_path(&world, branch))]), file.trim_end());
    for (args, at) in [
        (&["drift", "show", "crm"][..], "/radius"),
        (&["drift", "list"], "/0/radius"),
        (&["status"], "/connections/0/radius"),
        (&["plan"], "/plan/connections/0/radius"),
    ] {
        assert_eq!(radius(args, at), before, "{args:?}");
    }
    insta::assert_snapshot!(steady_json(before), @r#"
    {
      "columns": [
        {
          "column": "billing_state",
          "fate": "dropped",
          "table": "public.accounts"
        }
      ],
      "counted": null,
      "places": [
        {
          "also_fed_by": [],
          "effect": "starves",
          "events_per_day": 3.0,
          "file": "mappings/crm.yaml",
          "hit": {
            "entity": "account",
            "kind": "canonical",
            "reads": "billing_state",
            "target": "region"
          },
          "line": 11,
          "required": false,
          "stream": "public/accounts"
        }
      ],
      "streams": [
        {
          "entities": [
            "account"
          ],
          "stream": "public/accounts",
          "synced_at": null,
          "syncs": "goes_on"
        }
      ]
    }
    "#);
}

fn drift_path(world: &World, branch: &str) -> String {
    world.git(&["diff", "--name-only", &format!("main...{branch}"), "--", "drift"])
}

/// With every time left out.
fn steady_json(mut radius: Value) -> String {
    radius["counted"] = Value::Null;
    radius["streams"][0]["synced_at"] = Value::Null;
    serde_json::to_string_pretty(&radius).unwrap()
}
