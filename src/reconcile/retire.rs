//! What happens when a connection's spec is gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::ask::{Found, effect, names};
use super::ends::ENDS;
use super::live::{STATUS, properties};
use super::{OutcomeKind, Reconciler, StepError, by_aam};
use crate::plan::{Agreed, Closing, Part};
use crate::ports::{
    ConnectionDraft, ConnectionRow, ConnectionStatus, DriftStatus, EngineId, Lease, ObjectKind, OwnerKey,
    ResolvedConfig, recorded,
};
use crate::spec::OnDelete;

/// The effect of an intent to pause a connection.
const PAUSE: &str = "pause_connection";
/// The effect of an intent to delete it.
const DELETE: &str = "delete_connection";

impl Reconciler {
    /// Pauses the engine's connection, or deletes it. Landed rows and events stay either way; shared sources and
    /// destinations stay too.
    pub(super) async fn retire(
        &self,
        row: &ConnectionRow,
        on_delete: OnDelete,
        lease: &Lease,
    ) -> Result<OutcomeKind, StepError> {
        let id = match row.objects.get(&ObjectKind::Connection) {
            Some(id) => Some(id.clone()),
            None => self.made_unanswered(row, lease).await?,
        };
        if let Some(id) = &id {
            // what was found just now is in the row, too
            let row = &self.fresh_row(row.id).await?.unwrap_or_else(|| row.clone());
            match on_delete {
                OnDelete::Pause => {
                    if let Some(live) = self.doors.engine.connection(id).await? {
                        self.pause(row, live.is, lease).await?;
                    } else {
                        let cause =
                            by_aam(format!("connection {} is gone from the engine", row.name), json!({"id": id}));
                        self.doors.registry.set_object(lease, ObjectKind::Connection, None, &cause).await?;
                    }
                }
                OnDelete::Delete => {
                    let begun = self.doors.registry.intents(Some(row.id)).await?;
                    if !begun.iter().any(|intent| intent.effect == DELETE) {
                        self.begin(lease, DELETE, &id.0, json!({})).await?;
                    }
                    self.sent_under(lease, DELETE, self.doors.engine.delete(ObjectKind::Connection, id)).await??;
                    let cause = by_aam(
                        format!("connection {} deleted from the engine: on_delete: delete", row.name),
                        json!({"id": id}),
                    );
                    self.doors.registry.set_object(lease, ObjectKind::Connection, None, &cause).await?;
                    recorded(DELETE);
                }
            }
        }
        for intent in self.doors.registry.intents(Some(row.id)).await? {
            if intent.effect == DELETE {
                self.doors.registry.settle(lease, intent.id).await?;
            }
        }
        self.let_go_of_asked_ends(row, lease).await?;
        self.forget_ends(row, lease).await?;
        self.leave_branches_of(&row.name).await?;
        let open = self.doors.registry.drifts(Some(row.id), true).await?;
        if let Some(drift) = open.iter().find(|drift| drift.status == DriftStatus::Pending) {
            self.close_drift(&row.name, Some(drift.id), None, &Closing::Removal, lease).await?;
        }
        self.doors.registry.set_arrivals(lease, &BTreeMap::new()).await?;
        let cause =
            by_aam(format!("connection {} retired: its spec is gone", row.name), json!({"on_delete": on_delete}));
        self.doors
            .registry
            .set_status(
                lease,
                ConnectionStatus::Retired,
                Some("its spec is gone"),
                None,
                on_delete == OnDelete::Pause,
                &cause,
            )
            .await?;
        Ok(OutcomeKind::Applied)
    }

    /// The connection that was asked for without an answer: it may be there all the same, and would run without a spec.
    async fn made_unanswered(&self, row: &ConnectionRow, lease: &Lease) -> Result<Option<EngineId>, StepError> {
        let mut asked = self.doors.registry.intents(Some(row.id)).await?;
        asked.retain(|intent| intent.effect == effect(ObjectKind::Connection));
        let (source, destination) = (row.objects.get(&ObjectKind::Source), row.objects.get(&ObjectKind::Destination));
        let (Some(intent), Some(source), Some(destination)) = (asked.last(), source, destination) else {
            return Ok(None);
        };
        let engine = &self.doors.engine;
        let shared = engine.manner().drives_itself;
        let mut found = Found::default();
        // a connection goes with its source
        if !shared || engine.endpoint(ObjectKind::Source, source).await?.is_some() {
            for name in names(&asked) {
                let draft = ConnectionDraft {
                    name: name.clone(),
                    source: source.clone(),
                    destination: destination.clone(),
                    streams: Vec::new(),
                    enabled: false,
                    settings: BTreeMap::new(),
                    options: BTreeMap::new(),
                };
                let owner = OwnerKey(intent.key.clone());
                found.add(&name, engine.find_connection(&owner, &draft, None).await?, &asked);
            }
        }
        let what = format!("connection {}", row.name);
        let found = found.but_others().ours(&what)?.map(|(id, _)| id);
        match &found {
            Some(id) => {
                let cause = by_aam(format!("{what} found after an ask without an answer"), json!({"id": id}));
                self.doors.registry.set_object(lease, ObjectKind::Connection, Some(id), &cause).await?;
            }
            None => self.refuse_to_let_go(&what, intent, "goes with its spec if it appears")?,
        }
        for intent in &asked {
            self.doors.registry.settle(lease, intent.id).await?;
        }
        Ok(found)
    }

    /// A source or destination that was asked for without an answer is let go of when it cannot appear any more: what is in the
    /// engine by its name later is not ours.
    async fn let_go_of_asked_ends(&self, row: &ConnectionRow, lease: &Lease) -> Result<(), StepError> {
        let asked = self.doors.registry.intents(Some(row.id)).await?;
        for kind in ENDS {
            for intent in asked.iter().filter(|intent| intent.effect == effect(kind)) {
                let what = format!("{} of {}", kind.word(), row.name);
                self.refuse_to_let_go(&what, intent, "stays in the engine if it appears")?;
                self.doors.registry.settle(lease, intent.id).await?;
            }
        }
        Ok(())
    }

    /// Forgets a source or destination that somebody deleted: if the spec comes back, it is made anew.
    async fn forget_ends(&self, row: &ConnectionRow, lease: &Lease) -> Result<(), StepError> {
        if !self.doors.engine.manner().drives_itself {
            return Ok(());
        }
        for kind in ENDS {
            let Some(id) = row.objects.get(&kind) else { continue };
            if self.doors.engine.endpoint(kind, id).await?.is_none() {
                let summary = format!("{} of {} is gone from the engine", kind.word(), row.name);
                self.doors.registry.set_object(lease, kind, None, &by_aam(summary, json!({"id": id}))).await?;
            }
        }
        Ok(())
    }

    /// Pauses a connection that runs. One that a person or the engine stopped before is not ours to start when the spec comes
    /// back; what a person had changed stays hers then. What is to be agreed afterwards is kept with the intent: a kill in
    /// between leaves a pause that nobody would know as ours.
    async fn pause(&self, row: &ConnectionRow, live: ConnectionDraft, lease: &Lease) -> Result<(), StepError> {
        let registry = &self.doors.registry;
        let nothing = ResolvedConfig::nothing();
        let draft = ConnectionDraft { enabled: false, ..live.clone() };
        if !self.doors.engine.manner().drives_itself {
            self.update_and_read_back(row, (&draft, &nothing), &row.held, lease).await?;
            return Ok(());
        }
        let begun = registry.intents(Some(row.id)).await?.into_iter().find(|intent| intent.effect == PAUSE);
        let begun = begun.and_then(|intent| Some((intent.id, serde_json::from_value(intent.detail).ok()?)));
        let (intent, after): (_, Agreed) = match begun {
            Some(begun) => begun,
            None if !live.enabled => return Ok(()),
            None => {
                let mut agreed = registry.agreed(Some(row.id)).await?.remove(&row.id).unwrap_or_default();
                if !agreed.applied.keys().any(|name| Part::of(name) == Part::Connection) {
                    // it was made without an answer: it is as it was asked for, and nobody's edit
                    agreed = Agreed::after(Some(&agreed), Part::Connection, &properties(&live), &BTreeSet::new());
                    registry.set_agreed(lease, &agreed, &row.held).await?;
                }
                agreed.applied.insert(STATUS.to_owned(), json!("inactive"));
                let detail = serde_json::to_value(&agreed).expect("properties are plain data");
                (self.begin(lease, PAUSE, &row.id.to_string(), detail).await?, agreed)
            }
        };
        self.update_and_read_back(row, (&draft, &nothing), &row.held, lease).await?;
        registry.set_agreed(lease, &after, &row.held).await?;
        self.forget_live(row.id);
        Ok(registry.settle(lease, intent).await?)
    }
}
