//! Random stories of a team: people push, review, merge, close and delete on a forge, the source changes, remote and forge fail
//! for a while, `aam` stops and starts. After each move nothing is lost and nothing is there twice; at the end all of it comes
//! to rest.

mod check;
mod people;
mod play;

use proptest::prelude::*;

use crate::forge_standin::Kind;
use play::Play;

/// One move; numbers choose files, columns, types, ways and moments.
#[derive(Debug, Clone)]
enum Move {
    /// A person pushes to the tracked branch.
    Edit(usize),
    /// A person pushes a second connection, or takes it away.
    Toggle,
    /// A person pushes to a repair branch.
    Review(usize),
    /// A person merges a repair branch with git and pushes.
    MergeByGit(u8),
    /// A person merges an open request on the forge.
    Merge(u8),
    /// A person closes an open request, with a word or without.
    Close(bool),
    /// A person opens a closed request again.
    Reopen,
    /// A person deletes a repair branch.
    DeleteBranch,
    /// A person decides by a command.
    Command(usize),
    AddColumn(usize),
    DropColumn(usize),
    RenameColumn(usize, usize),
    RetypeColumn(usize, usize),
    /// The remote goes, or is back.
    Plug,
    /// So many calls of the forge fail in this way.
    Fault(usize, usize, usize),
    /// The forge answers well again.
    Heal,
    Look,
    Turn,
    /// A turn on what was fetched before.
    Stale,
    /// A look at the forge alone.
    Requests,
    Restart,
    /// Minutes pass.
    Pass(u8),
}

const COLUMNS: [&str; 5] = ["name", "billing_state", "employees", "website", "fax"];
const TYPES: [&str; 3] = ["text", "integer", "bigint"];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let column = || 0..COLUMNS.len();
    let one = prop_oneof![
        3 => (0..people::EDITS).prop_map(Move::Edit),
        1 => Just(Move::Toggle),
        2 => (0..people::REVIEWS).prop_map(Move::Review),
        2 => (0..4_u8).prop_map(Move::MergeByGit),
        4 => (0..3_u8).prop_map(Move::Merge),
        2 => any::<bool>().prop_map(Move::Close),
        1 => Just(Move::Reopen),
        1 => Just(Move::DeleteBranch),
        2 => (0..people::COMMANDS).prop_map(Move::Command),
        2 => column().prop_map(Move::AddColumn),
        3 => column().prop_map(Move::DropColumn),
        2 => (column(), column()).prop_map(|(a, b)| Move::RenameColumn(a, b)),
        2 => (column(), 0..TYPES.len()).prop_map(|(c, t)| Move::RetypeColumn(c, t)),
        1 => Just(Move::Plug),
        2 => (0..play::CALLS.len(), 1..5_usize, 0..play::FAULTS).prop_map(|(c, n, f)| Move::Fault(c, n, f)),
        1 => Just(Move::Heal),
        7 => Just(Move::Look),
        4 => Just(Move::Turn),
        1 => Just(Move::Stale),
        2 => Just(Move::Requests),
        1 => Just(Move::Restart),
        1 => (1..90_u8).prop_map(Move::Pass),
    ];
    // Nothing of a request's life happens before the first drift was seen.
    prop::collection::vec(one, 6..22).prop_map(|more| [vec![Move::DropColumn(1), Move::Look], more].concat())
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::GitHub), Just(Kind::GitLab), Just(Kind::Gitea)]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 8, failure_persistence: None, ..ProptestConfig::with_cases(2) })]

    #[test]
    fn whatever_a_team_does_nothing_is_lost_or_there_twice_and_all_of_it_comes_to_rest(kind in kinds(), moves in moves()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut play = Play::begin(kind).await;
            for step in &moves {
                play.carry_out(step).await;
            }
            play.end().await;
        });
    }
}
