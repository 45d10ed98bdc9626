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
