//! Crash points of what is asked of Airbyte (fault plan, section 2): `kill -9` of the real binary at each, run again, and
//! the end is as if nothing had been. One world is killed at the same point of every effect.

use super::faults::bed::{Bed, PHASES, Phase};
use super::faults::block_on;

/// The effects of each phase.
fn effects(phase: Phase) -> &'static [&'static str] {
    match phase {
        Phase::Onboard => &["create_source", "create_destination", "create_connection"],
        Phase::Heal => &["update_connection"],
        Phase::Sync => &["start_sync"],
    }
}

/// Tells the phases, killed at this point of every effect; the end of each. `None` kills nowhere.
async fn tell(place: Option<u8>) -> Vec<String> {
    let mut bed = Bed::new().await;
    let mut ends = Vec::new();
    for phase in PHASES {
        bed.before(phase).await;
        for effect in place.iter().flat_map(|_| effects(phase)) {
            let point = format!("{effect}.k{}", place.unwrap_or_default());
            bed.world.env.push(("AAM_FAILPOINT".into(), point.clone()));
            let mut ran = bed.aam_or_killed(bed.command(phase).await);
            // what a kill cut off may still come, says the next run: then time passes
            if ran.code >= 0 {
                bed.the_wait_passes().await;
                ran = bed.aam_or_killed(bed.command(phase).await);
            }
            assert!(ran.code == -1, "{point} was not passed: {ran:#?}");
            bed.world.env.pop();
        }
        bed.recover(phase).await;
        ends.push(bed.end_state().await);
    }
    bed.finish().await;
    ends
}

#[test]
fn killed_at_any_point_there_is_one_of_each() {
    let undisturbed = block_on(tell(None));
    std::thread::scope(|scope| {
        let runs: Vec<_> = (1..=5).map(|place| scope.spawn(move || block_on(tell(Some(place))))).collect();
        for (place, run) in (1..).zip(runs) {
            for (phase, (is, end)) in PHASES.iter().zip(undisturbed.iter().zip(run.join().unwrap())) {
                assert!(*is == end, "k{place} {phase:?}:\n{is}\nbut after the kills:\n{end}");
            }
        }
    });
}

/// A setting of the source changes, then the spec goes; killed at this point of each effect. The end in Airbyte and in the
/// registry.
async fn tell_the_rest(place: Option<u8>, on_delete: &str) -> String {
    let mut bed = Bed::new().await;
    bed.recover(Phase::Onboard).await;
    let path = "connectors.d/crm.yaml";
    let spec = bed.world.read(path).replace("schemas: [public]", "schemas: [public], ssl: false");
    bed.world.write(path, &format!("{spec}on_delete: {on_delete}\n"));
    bed.world.commit("another setting");
    killed_once(&mut bed, "update_source", place).await;
    bed.recover(Phase::Onboard).await;
    for file in [path, "connectors.d/crm.lock.yaml"] {
        std::fs::remove_file(bed.world.root.join(file)).unwrap();
    }
    bed.world.commit("crm goes");
    let effect = if on_delete == "delete" { "delete_connection" } else { "update_connection" };
    killed_once(&mut bed, effect, place).await;
    let ran = bed.aam(&GOES);
    assert_eq!(ran.code, 0, "{effect} k{place:?}: {ran:#?}");
    let rows = "SELECT concat_ws('|', name, status, paused, (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(objects) AS k),
                (SELECT count(*) FROM intents)) FROM connections";
    let rows = bed.world.registry.one(rows).await;
    let statuses = bed.standin.edit(|s| s.connections.iter().map(|c| c.status.clone()).collect::<Vec<_>>());
    let sources = bed.standin.edit(|s| {
        s.actors.iter().filter(|a| !a.deleted).map(|a| (a.name.clone(), a.settings["ssl"].clone())).collect::<Vec<_>>()
    });
    bed.finish().await;
    format!("{rows}\n{statuses:?}\n{sources:?}")
}

const GOES: [&str; 2] = ["apply", "--confirm-removals"];

/// Kills the next run at this point of the effect.
async fn killed_once(bed: &mut Bed, effect: &str, place: Option<u8>) {
    let Some(place) = place else { return };
    bed.world.env.push(("AAM_FAILPOINT".into(), format!("{effect}.k{place}")));
    let ran = bed.aam_or_killed(&GOES);
    assert!(ran.code == -1, "{effect}.k{place} was not passed: {ran:#?}");
    bed.world.env.pop();
}

#[test]
fn killed_while_settings_change_or_the_spec_goes_the_end_is_the_same() {
    std::thread::scope(|scope| {
        let run = |place, on_delete| scope.spawn(move || block_on(tell_the_rest(place, on_delete)));
        for on_delete in ["pause", "delete"] {
            let undisturbed = run(None, on_delete).join().unwrap();
            let runs: Vec<_> = (1..=5).map(|place| run(Some(place), on_delete)).collect();
            for (place, end) in (1..).zip(runs) {
                assert_eq!(end.join().unwrap(), undisturbed, "{on_delete} k{place}");
            }
        }
    });
}
