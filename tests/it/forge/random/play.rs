//! The world of a random story, and what its source, its forge and `aam` do in it.

use super::{COLUMNS, Move, TYPES};
use crate::forge::office::Office;
use crate::forge_standin::{Fault, Kind};

/// How the calls begin that fail.
pub const CALLS: [&str; 4] = ["", "GET ", "POST ", "P"];
/// How many ways to fail there are.
pub const FAULTS: usize = 9;

fn fault(way: usize) -> Fault {
    let answer = |status| Fault::Answer(status, Vec::new(), r#"{"message":"no"}"#.to_owned());
    match way {
        0 => answer(401),
        1 => answer(403),
        2 => answer(404),
        3 => answer(422),
        // For a moment: the client keeps its own time.
        4 => Fault::Answer(429, vec![("retry-after", "1".to_owned())], "{}".to_owned()),
        5 => answer(503),
        6 => Fault::Cut,
        7 => Fault::CutAfter,
        _ => Fault::Lost,
    }
}

/// A story as it goes on.
pub struct Play {
    pub office: Office,
    /// The tracked branch after the last move.
    pub tip: String,
    /// Commits of people on repair branches that they did not take away themselves.
    pub theirs: Vec<String>,
    /// Whether somebody decided against a repair.
    pub declined: bool,
    /// How often something happened, so that no two texts are the same.
    pub count: usize,
}

impl Play {
    /// `crm` is onboarded.
    pub async fn begin(kind: Kind) -> Self {
        let office = Office::open(kind).await;
        let tip = office.world.git(&["rev-parse", "HEAD"]);
        Self { office, tip, theirs: Vec::new(), declined: false, count: 0 }
    }

    /// Runs a statement; what the table's shape does not allow is no move.
    async fn alter(&mut self, sql: String) {
        let sql = format!("ALTER TABLE accounts {sql}");
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&self.office.world.source.pool).await;
        self.office.tell(format!("    {sql}: {}", done.map_or_else(|e| e.to_string(), |_| "done".to_owned())));
    }

    pub async fn carry_out(&mut self, step: &Move) {
        self.office.tell(format!("- {step:?}"));
        self.count += 1;
        match step {
            Move::Edit(edit) => self.edit(*edit),
            Move::Toggle => self.toggle(),
            Move::Review(review) => self.review(*review),
            Move::MergeByGit(how) => self.merge_by_git(*how),
            Move::Merge(how) => self.merge(*how),
            Move::Close(word) => self.close(*word),
            Move::Reopen => self.reopen(),
            Move::DeleteBranch => self.delete_branch(),
            Move::Command(command) => self.command(*command).await,
            Move::AddColumn(c) => self.alter(format!("ADD COLUMN {} text", COLUMNS[*c])).await,
            Move::DropColumn(c) => self.alter(format!("DROP COLUMN {}", COLUMNS[*c])).await,
            Move::RenameColumn(a, b) => self.alter(format!("RENAME COLUMN {} TO {}", COLUMNS[*a], COLUMNS[*b])).await,
            Move::RetypeColumn(c, t) => {
                let (column, to) = (COLUMNS[*c], TYPES[*t]);
                self.alter(format!("ALTER COLUMN {column} TYPE {to} USING length({column}::text)")).await;
            }
            Move::Plug => self.office.plug(!self.office.is_plugged()),
            Move::Fault(call, times, way) => self.office.forge.script(CALLS[*call], *times, fault(*way)),
            Move::Heal => self.office.forge.heal(),
            Move::Look => self.office.look().await,
            Move::Turn => self.office.turn().await,
            Move::Stale => {
                self.office.settle().await;
                self.office.requests().await;
            }
            Move::Requests => drop(self.office.requests().await),
            Move::Restart => self.office.stop().await,
            Move::Pass(minutes) => self.office.pass(i64::from(*minutes) * 60),
        }
        self.check().await;
    }

    /// Everything answers again, people rest, and `aam` goes on until nothing is to be done.
    pub async fn end(mut self) {
        self.office.tell("- the end");
        self.office.forge.heal();
        self.office.plug(true);
        self.office.stop().await;
        self.mend();
        let mut before = Vec::new();
        for round in 0.. {
            self.office.tell(format!("- round {round}"));
            self.office.pass(2 * 3600);
            self.office.look().await;
            self.check().await;
            let now = self.everything().await;
            if now == before {
                break;
            }
            assert!(round < 10, "it does not come to rest:\n{}", super::check::unlike(&before, &now));
            before = now;
        }
        self.check_end().await;
        self.office.stop().await;
    }
}
