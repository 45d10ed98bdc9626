//! The items under way: which connections they keep busy, and what became of them, a panic included.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};

use tokio::task::{Id, JoinError, JoinSet};

use crate::model::ConnectionRef;
use crate::reconcile::{Outcome, OutcomeKind, WorkItem};

/// An ended item.
pub(super) struct Finished {
    pub(super) connections: Vec<ConnectionRef>,
    pub(super) outcomes: Vec<Outcome>,
    /// A bug ended it.
    pub(super) panicked: bool,
}

/// Items under way, each a task.
#[derive(Default)]
pub(super) struct Tasks {
    set: JoinSet<Vec<Outcome>>,
    running: HashMap<Id, WorkItem>,
}

impl Tasks {
    /// Starts carrying an item out; its connections are busy from here on until [`Tasks::next`] gives it back.
    pub(super) fn start(&mut self, item: WorkItem, work: impl Future<Output = Vec<Outcome>> + Send + 'static) {
        let id = self.set.spawn(work).id();
        self.running.insert(id, item);
    }

    /// How many run.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Connections that an item works on.
    pub(super) fn busy(&self) -> BTreeSet<ConnectionRef> {
        self.running.values().flat_map(WorkItem::connections).collect()
    }

    /// The next ended item; pending for ever while none runs.
    pub(super) async fn next(&mut self) -> Finished {
        let (id, ended) = match self.set.join_next_with_id().await {
            Some(Ok((id, outcomes))) => (id, Ok(outcomes)),
            Some(Err(error)) => (error.id(), Err(error)),
            None => std::future::pending().await,
        };
        let item = self.running.remove(&id).expect("every task is noted when it starts");
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

    /// Waits until none runs.
    pub(super) async fn drain(&mut self) {
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

    #[tokio::test]
    async fn a_panic_is_a_failure_of_its_own_connection_and_frees_no_other() {
        let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect::<Vec<ConnectionRef>>();
        let (sender, held) = tokio::sync::oneshot::channel::<()>();
        let mut tasks = Tasks::default();
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
