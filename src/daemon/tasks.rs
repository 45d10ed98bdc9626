//! The items under way: which connections they keep busy, and what became of them, a panic included.
//!
//! Looks have places of their own: a discover may take minutes, and must keep neither a sync nor a merge waiting.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};

use futures_util::future::BoxFuture;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::looks::{Look, Looks};
use crate::model::ConnectionRef;
use crate::reconcile::{Outcome, OutcomeKind, WorkItem};

/// An ended item.
pub(super) struct Finished {
    pub(super) connections: Vec<ConnectionRef>,
    pub(super) outcomes: Vec<Outcome>,
    /// A bug ended it.
    pub(super) panicked: bool,
}

/// How many items other than looks run side by side; the rest waits for a place.
const WORK_AT_ONCE: usize = 16;

/// Carries out a look.
type DoLook = Box<dyn Fn(WorkItem) -> BoxFuture<'static, Vec<Outcome>> + Send>;

/// Items under way, each a task, and looks that wait for a place.
pub(super) struct Tasks {
    set: JoinSet<Vec<Outcome>>,
    /// Each with when it began.
    running: HashMap<Id, (WorkItem, Instant)>,
    looks_at_once: usize,
    looks: Looks,
    /// How those that wait are carried out; absent before the first turn.
    do_look: Option<DoLook>,
}

impl Tasks {
    /// Nothing runs yet.
    pub(super) fn new(looks_at_once: usize) -> Self {
        Self { set: JoinSet::new(), running: HashMap::new(), looks_at_once, looks: Looks::default(), do_look: None }
    }

    /// Starts carrying an item out; its connections are busy from here on until [`Tasks::next`] gives it back.
    pub(super) fn start(&mut self, item: WorkItem, work: impl Future<Output = Vec<Outcome>> + Send + 'static) {
        let id = self.set.spawn(work).id();
        self.running.insert(id, (item, Instant::now()));
    }

    /// Takes the looks that a turn found due, in place of those that the last one did: they begin as places come free,
    /// without a turn in between. A look needs of the turn only where the source is.
    pub(super) fn look(&mut self, looks: Vec<Look>, carry_out: DoLook) {
        self.looks.wait(looks);
        self.do_look = Some(carry_out);
        self.fill();
    }

    fn fill(&mut self) {
        let looking = self.running.values().filter(|(item, _)| matches!(item, WorkItem::Look(_))).count();
        for _ in looking..self.looks_at_once {
            let (Some(carry_out), Some(look)) = (&self.do_look, self.looks.next()) else { return };
            let item = WorkItem::Look(look);
            let work = carry_out(item.clone());
            self.start(item, work);
        }
    }

    /// Whether other items than looks have to wait.
    pub(super) fn is_full(&self) -> bool {
        self.running.values().filter(|(item, _)| !matches!(item, WorkItem::Look(_))).count() >= WORK_AT_ONCE
    }

    /// Whether nothing runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Connections that an item works on.
    pub(super) fn busy(&self) -> BTreeSet<ConnectionRef> {
        self.running.values().flat_map(|(item, _)| item.connections()).collect()
    }

    /// The next ended item; pending for ever while none runs.
    pub(super) async fn next(&mut self) -> Finished {
        let (id, ended) = match self.set.join_next_with_id().await {
            Some(Ok((id, outcomes))) => (id, Ok(outcomes)),
            Some(Err(error)) => (error.id(), Err(error)),
            None => std::future::pending().await,
        };
        let (item, began) = self.running.remove(&id).expect("every task is noted when it starts");
        if let WorkItem::Look(look) = &item {
            self.looks.note(look, began.elapsed());
            self.fill();
        }
        let connections = item.connections();
        match ended {
            Ok(outcomes) => Finished { connections, outcomes, panicked: false },
            Err(error) => {
                let why = words(error);
                let step = item.describe();
                let outcome = |name: &ConnectionRef| {
                    tracing::error!(connection.name = %name, "connection {name}: {step}: {why}");
                    let kind = OutcomeKind::Failed(why.clone());
                    Outcome { connection: name.clone(), step: step.clone(), kind, retry_at: None }
                };
                Finished { outcomes: connections.iter().map(outcome).collect(), connections, panicked: true }
            }
        }
    }

    /// Waits until none runs; what waits for a place is forgotten.
    pub(super) async fn drain(&mut self) {
        self.looks.wait(Vec::new());
        while self.set.join_next().await.is_some() {}
    }
}

fn words(error: JoinError) -> String {
    let text = |panic: &(dyn Any + Send)| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned()
    };
    match error.try_into_panic() {
        Ok(panic) => format!("it panicked, which is a bug in aam: {}", text(&*panic)),
        Err(cancelled) => cancelled.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks of so many seconds each, at a source of one connection each.
    struct Round {
        seconds: Vec<u64>,
    }

    impl Round {
        /// A thousand, of 5 s each but for 5 % of `slow` seconds at places that the seed decides.
        fn of_a_thousand(slow: u64, seed: u64) -> Self {
            let mut seconds = vec![5; 1000];
            let mut random = seed;
            while seconds.iter().filter(|s| **s == slow).count() < 50 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seconds[(random >> 33) as usize % 1000] = slow;
            }
            Self { seconds }
        }

        /// No way to arrange them ends sooner than this.
        fn bound(&self, places: usize) -> f64 {
            let sum: u64 = self.seconds.iter().sum();
            (sum as f64 / places as f64).max(self.longest())
        }

        /// Every order that leaves no place empty ends within this.
        fn bound_of_any_order(&self, places: usize) -> f64 {
            let (sum, places): (u64, f64) = (self.seconds.iter().sum(), places as f64);
            sum as f64 / places + self.longest() * (1.0 - 1.0 / places)
        }

        fn longest(&self) -> f64 {
            self.seconds.iter().copied().max().unwrap_or(0) as f64
        }

        /// Looks at all, as the loop does: what ends is followed by a turn, which finds the others still due.
        async fn run(&self, tasks: &mut Tasks) -> f64 {
            let began = Instant::now();
            let name = |n: usize| -> ConnectionRef { format!("c{n:03}").parse().unwrap() };
            let mut due: BTreeSet<ConnectionRef> = (0..self.seconds.len()).map(name).collect();
            while !due.is_empty() {
                let busy = tasks.busy();
                let looks = due.iter().filter(|name| !busy.contains(name)).map(|name| vec![name.clone()]).collect();
                let seconds = self.seconds.clone();
                let look = move |item: WorkItem| -> BoxFuture<'static, Vec<Outcome>> {
                    let name = item.connections()[0].to_string();
                    let took = std::time::Duration::from_secs(seconds[name[1..].parse::<usize>().unwrap()]);
                    Box::pin(async move {
                        tokio::time::sleep(took).await;
                        Vec::new()
                    })
                };
                tasks.look(looks, Box::new(look));
                // a turn takes a while, in which others end
                for _ in 0..due.len().min(50) {
                    for name in tasks.next().await.connections {
                        due.remove(&name);
                    }
                }
            }
            began.elapsed().as_secs_f64()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_looks_end_little_later_than_they_must() {
        for (places, slow, seed) in [(16, 60, 1), (16, 60, 2), (16, 60, 3), (4, 60, 4), (4, 300, 5), (60, 1500, 6)] {
            let round = Round::of_a_thousand(slow, seed);
            let mut tasks = Tasks::new(places);
            let first = round.run(&mut tasks).await;
            let bound = round.bound_of_any_order(places);
            assert!(first <= bound, "nothing is known yet: {places} places, slow {slow} s: {first} s, bound {bound} s");
            let then = round.run(&mut tasks).await;
            let bound = round.bound(places);
            assert!(then <= 1.05 * bound, "{places} places, slow {slow} s: {then} s, bound {bound} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_ones_may_come_last_while_nothing_is_known() {
        // the default's four places make up for that, sixteen cannot
        for (places, slow, within) in [(4, 60, 1.05), (4, 475, 1.05), (16, 60, 1.12)] {
            let mut round = Round::of_a_thousand(slow, 7);
            round.seconds.sort_unstable();
            let mut tasks = Tasks::new(places);
            let (first, bound) = (round.run(&mut tasks).await, round.bound(places));
            assert!(first <= within * bound, "{places} places, slow {slow} s: {first} s, bound {bound} s");
            let then = round.run(&mut tasks).await;
            assert!(then <= 1.05 * bound, "{places} places, slow {slow} s: {then} s, bound {bound} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn looks_and_other_work_keep_no_places_from_each_other() {
        let plan = |name: &str| crate::plan::ConnectionPlan {
            name: name.parse().unwrap(),
            id: None,
            standing: crate::plan::Standing::InSync,
            steps: vec![crate::plan::Step::Normalize { job: 1 }],
            radius: None,
        };
        let hang = || -> BoxFuture<'static, Vec<Outcome>> { Box::pin(std::future::pending()) };
        let mut tasks = Tasks::new(2);
        let looks = ["a", "b", "c"].map(|name| vec![name.parse().unwrap()]).into();
        tasks.look(looks, Box::new(move |_| hang()));
        assert_eq!(tasks.busy().len(), 2, "the third waits");
        for n in 0..WORK_AT_ONCE {
            assert!(!tasks.is_full());
            tasks.start(WorkItem::Connection(plan(&format!("w{n}"))), hang());
        }
        assert!(tasks.is_full());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_of_its_own_connection_and_frees_no_other() {
        let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect::<Vec<ConnectionRef>>();
        let (sender, held) = tokio::sync::oneshot::channel::<()>();
        let mut tasks = Tasks::new(2);
        tasks.start(WorkItem::Look(names(&["slow"])), async {
            let _ = held.await;
            Vec::new()
        });
        tasks.start(WorkItem::Look(names(&["crm", "shop"])), async { panic!("no {}", "luck") });
        let ended = tasks.next().await;
        assert!(ended.panicked);
        assert_eq!(ended.connections, names(&["crm", "shop"]));
        assert_eq!(ended.outcomes.len(), 2);
        assert_eq!(ended.outcomes[1].connection.to_string(), "shop");
        let why = "it panicked, which is a bug in aam: no luck";
        assert_eq!(ended.outcomes[1].kind, OutcomeKind::Failed(why.into()));
        assert_eq!(tasks.busy(), names(&["slow"]).into_iter().collect());
        drop(sender);
        assert_eq!(tasks.next().await.connections, names(&["slow"]));
        assert!(tasks.busy().is_empty());
    }
}
