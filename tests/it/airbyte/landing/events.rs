//! Rows that are read again make no second event.

use aam::canonical::StreamWork;
use aam::spec::MappingSpec;

use super::*;
use crate::canonical::{World, mapping, work_of, world};

type Mapping = (MappingSpec, aam::mapping::CompiledMapping);

async fn normalize(world: &World, desk: &Desk, mapping: &Mapping) {
    let stream = StreamWork { fields: desk.fields.clone(), ..work_of(desk.stream.clone(), mapping) };
    world.run_over(&AirbyteLanding, &desk.place, mapping, stream).await.unwrap();
}

/// Several versions of a record, read again from the first: each would differ from the last event.
#[tokio::test]
async fn a_rewritten_history_makes_no_event_again() {
    let (world, desk) = (world().await, Desk::with_users().await);
    let mapping = mapping(&["id"], &[("name", "name")], None);
    for (n, name) in ["A", "B", "A"].into_iter().enumerate() {
        desk.run(&user(&format!("r{n}"), n as u32, n as i64 + 1, 1, name)).await;
    }
    normalize(&world, &desk, &mapping).await;
    desk.run("ALTER TABLE landed.users ALTER id TYPE numeric").await;
    desk.run(&user("r3", 9, 4, 1, "C")).await;
    normalize(&world, &desk, &mapping).await;
    normalize(&world, &desk, &mapping).await;
    insta::assert_snapshot!(world.events().await, @r#"
    users 1 upsert [1] data {"name":"A"} unknown {} from r0 of job 1
    users 2 upsert [1] data {"name":"B"} unknown {} from r1 of job 2
    users 3 upsert [1] data {"name":"A"} unknown {} from r2 of job 3
    users 4 upsert [1] data {"name":"C"} unknown {} from r3 of job 4
    "#);
}

/// Without a key the raw id tells records apart, also where the destination wrote one twice.
#[tokio::test]
async fn rows_without_a_key_make_one_event_for_each_raw_id() {
    let (world, desk) = (world().await, Desk::with_users().await);
    let mapping = mapping(&[], &[("name", "name")], None);
    for raw in ["a", "b", "b"] {
        desk.run(&user(raw, 1, 1, 1, "Ann")).await;
    }
    normalize(&world, &desk, &mapping).await;
    desk.run("VACUUM FULL landed.users").await;
    normalize(&world, &desk, &mapping).await;
    desk.run("UPDATE landed.users SET _airbyte_generation_id = 1").await;
    normalize(&world, &desk, &mapping).await;
    insta::assert_snapshot!(world.events().await, @r#"
    users 1 upsert a data {"name":"Ann"} unknown {"id":1} from a of job 1
    users 2 upsert b data {"name":"Ann"} unknown {"id":1} from b of job 1
    "#);
}
