//! What the engine shows of everything it holds, for engines that other people use too: how each connection stands to what
//! was agreed, jobs that the engine started by itself, what nobody declared, and since when it does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::json;

use super::ends::{ENDS, is_of, live_end};
use super::live::properties;
use super::{Reconciler, TurnError, by_aam};
use crate::model::{ConnectionId, TenantId};
use crate::plan::{Agreed, Live, Part, Properties};
use crate::ports::{
    ConnectionRow, ConnectionStatus, EngineConnection, EngineEndpoint, EngineId, Job, ObjectKind, Survey,
};

/// An engine that does not answer is asked again this soon; what asks it holds back by itself while it is in trouble.
const WHILE_DOWN: TimeDelta = TimeDelta::seconds(10);

/// The last survey, worked out.
#[derive(Debug, Clone, Default)]
pub(super) struct Surveyed {
    /// When it was tried last.
    tried: Option<DateTime<Utc>>,
    /// When it succeeded last.
    seen: Option<DateTime<Utc>>,
    /// Since when it fails, and why.
    down: Option<(DateTime<Utc>, String)>,
    connections: BTreeMap<ConnectionId, Seen>,
    /// Its sources and destinations.
    endpoints: Arc<BTreeMap<(ObjectKind, EngineId), EngineEndpoint>>,
    /// What no row of the registry knows.
    unowned: Vec<(ObjectKind, EngineId, String)>,
}

/// A connection as the engine showed it.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) live: Live,
    /// What git owns of it, as it is.
    pub(super) properties: Arc<Properties>,
    /// What the properties were worked out from.
    of: Option<Arc<EngineConnection>>,
    /// What was agreed about it then.
    pub(super) agreed: Option<Agreed>,
    /// Its newest job that moves rows.
    pub(super) job: Option<Job>,
}

impl Surveyed {
    /// Why nothing can be said of the engine now, if so.
    pub(super) fn down(&self) -> Option<String> {
        let (since, why) = self.down.as_ref()?;
        let since = self.seen.unwrap_or(*since).to_rfc3339_opts(SecondsFormat::Secs, true);
        Some(format!("the engine was not seen since {since}: {why}"))
    }

    /// A source or destination as it was seen.
    pub(super) fn endpoint(&self, kind: ObjectKind, id: &EngineId) -> Option<&EngineEndpoint> {
        self.endpoints.get(&(kind, id.clone()))
    }

    pub(super) fn of(&self, id: ConnectionId) -> Option<&Seen> {
        self.connections.get(&id)
    }

    fn is_due(&self, now: DateTime<Utc>, every: TimeDelta) -> bool {
        let every = if self.down.is_some() { every.min(WHILE_DOWN) } else { every };
        self.tried.is_none_or(|tried| now >= tried + every || now < tried)
    }
}

impl Reconciler {
    /// Looks at the whole engine if that is due; whether it was.
    pub async fn survey(&self) -> Result<bool, TurnError> {
        if !self.doors.engine.manner().drives_itself {
            return Ok(false);
        }
        let (now, every) = (self.doors.clock.now(), self.policy().survey);
        let before = {
            let mut cache = self.cache.lock().expect("no panic while held");
            if !cache.surveyed.is_due(now, every) {
                return Ok(false);
            }
            // whatever fails from here on, it is not tried again at once
            Arc::make_mut(&mut cache.surveyed).tried = Some(now);
            cache.written.clear();
            cache.surveyed.clone()
        };
        let mut after = match self.doors.engine.survey().await {
            Ok(survey) => {
                let surveyed = self.work_out_survey(now, survey, &before).await?;
                if let Some((since, _)) = &before.down {
                    let text = format!("the engine answers again after {} s", (now - *since).num_seconds());
                    self.notice("engine.back", &text).await?;
                }
                surveyed
            }
            Err(error) => {
                if before.down.is_none() {
                    self.notice("engine.unreachable", &format!("the engine cannot be looked at: {error}")).await?;
                }
                let since = before.down.as_ref().map_or(now, |(since, _)| *since);
                Surveyed { tried: Some(now), down: Some((since, error.to_string())), ..Surveyed::clone(&before) }
            }
        };
        let mut cache = self.cache.lock().expect("no panic while held");
        // what was written meanwhile was seen as it had been before
        for id in &cache.written {
            after.connections.remove(id);
            after.connections.extend(cache.surveyed.of(*id).map(|seen| (*id, seen.clone())));
        }
        cache.surveyed = Arc::new(after);
        Ok(true)
    }

    /// Why nothing can be said of the engine now, if so.
    pub(super) fn engine_down(&self) -> Option<String> {
        let surveyed = self.surveyed();
        let apart = self.surveys_apart.load(Ordering::Relaxed) && self.doors.engine.manner().drives_itself;
        let unseen = (apart && surveyed.seen.is_none()).then(|| "the engine was not looked at yet".to_owned());
        surveyed.down().or(unseen)
    }

    pub(super) fn surveyed(&self) -> Arc<Surveyed> {
        self.cache.lock().expect("no panic while held").surveyed.clone()
    }

    /// Objects of the engine that nobody declared: they are listed and never touched.
    pub fn unowned(&self) -> Vec<(ObjectKind, EngineId, String)> {
        self.surveyed().unowned.clone()
    }

    /// What was just written was read back: these properties in place of those that they replace.
    pub(super) fn note_live(&self, id: ConnectionId, agreed: Agreed, replaced: impl Fn(&str) -> bool, is: Properties) {
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.written.insert(id);
        let before = cache.surveyed.of(id).filter(|seen| !seen.properties.is_empty());
        let job = before.and_then(|seen| seen.job.clone());
        let mut properties = before.map_or_else(|| agreed.applied.clone(), |seen| (*seen.properties).clone());
        properties.retain(|name, _| !replaced(name));
        properties.extend(is);
        let live = agreed.compare(&properties);
        let seen = Seen { live, properties: properties.into(), of: None, agreed: Some(agreed), job };
        Arc::make_mut(&mut cache.surveyed).connections.insert(id, seen);
    }

    /// What was read of a connection when it was adopted is what a survey would have shown.
    pub(super) async fn note_adopted(
        &self,
        row: &ConnectionRow,
        id: &EngineId,
        (connection, ends): (EngineConnection, Properties),
        agreed: &Agreed,
    ) {
        let live = (Some(Ok(Arc::new(connection))), ends);
        let seen = self.compare(row, id, live, None, Some(agreed), &Surveyed::default()).await;
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.written.insert(row.id);
        Arc::make_mut(&mut cache.surveyed).connections.insert(row.id, seen);
    }

    /// What was seen of a connection is out of date.
    pub(super) fn forget_live(&self, id: ConnectionId) {
        let mut cache = self.cache.lock().expect("no panic while held");
        cache.written.insert(id);
        Arc::make_mut(&mut cache.surveyed).connections.remove(&id);
    }

    /// A command that looks for itself tells its person; a daemon keeps a row.
    async fn notice(&self, action: &str, text: &str) -> Result<(), TurnError> {
        tracing::warn!("{text}");
        if !self.surveys_apart.load(Ordering::Relaxed) {
            return Ok(());
        }
        Ok(self.doors.registry.audit(&TenantId::default(), action, None, &by_aam(text, json!({}))).await?)
    }

    async fn work_out_survey(
        &self,
        now: DateTime<Utc>,
        mut survey: Survey,
        before: &Surveyed,
    ) -> Result<Surveyed, TurnError> {
        let agreed = self.doors.registry.agreed(None).await?;
        let rows = self.doors.registry.connections().await?;
        // many share them
        let ends: Ends =
            survey.endpoints.iter().map(|(object, live)| (object.clone(), live_end(object.0, live))).collect();
        let mut connections = BTreeMap::new();
        let mut ours: BTreeSet<(ObjectKind, EngineId)> = BTreeSet::new();
        for row in &rows {
            ours.extend(row.objects.iter().map(|(kind, id)| (*kind, id.clone())));
            let Some(id) = row.objects.get(&ObjectKind::Connection) else { continue };
            let job = survey.jobs.remove(id);
            let live = survey.connections.remove(id);
            let ends = seen_ends(row, &ends, agreed.get(&row.id));
            connections.insert(row.id, self.compare(row, id, (live, ends), job, agreed.get(&row.id), before).await);
        }
        survey.names.retain(|object, _| !ours.contains(object));
        let unowned = survey.names.into_iter().map(|((kind, id), name)| (kind, id, name)).collect();
        let endpoints = Arc::new(survey.endpoints);
        Ok(Surveyed { tried: Some(now), seen: Some(now), down: None, connections, endpoints, unowned })
    }

    async fn compare(
        &self,
        row: &ConnectionRow,
        id: &EngineId,
        (live, ends): (Option<Result<Arc<EngineConnection>, String>>, Properties),
        job: Option<Job>,
        agreed: Option<&Agreed>,
        before: &Surveyed,
    ) -> Seen {
        let connection = match live {
            Some(Ok(connection)) => connection,
            Some(Err(why)) => return Seen { live: Live::Stopped(why), job, ..Seen::default() },
            None if row.status == ConnectionStatus::Retired => return Seen::default(),
            // A list may lack what is there: the object itself decides.
            None => {
                let live = match self.doors.engine.connection(id).await {
                    Ok(None) => Live::Gone,
                    Ok(Some(_)) => Live::Unknown,
                    Err(error) => Live::Unseen(error.to_string()),
                };
                return Seen { live, job, ..Seen::default() };
            }
        };
        let known = before.of(row.id).filter(|b| b.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &connection)));
        let is_end = |name: &&String| Part::of(name) == Part::Ends;
        let same_ends = |known: &&Seen| known.properties.iter().filter(|(name, _)| is_end(name)).eq(&ends);
        let properties = match known.filter(same_ends) {
            Some(known) => known.properties.clone(),
            None => {
                let mut properties = properties(&connection.is);
                properties.extend(ends);
                Arc::new(properties)
            }
        };
        let rests = agreed.is_some_and(|agreed| agreed.applied.get(super::live::STATUS) == Some(&json!("inactive")));
        let live = match (agreed.map(|agreed| agreed.compare(&properties)), &connection.stopped) {
            (Some(Live::Edited(_) | Live::Same), Some(why)) if !connection.is.enabled && !rests => {
                Live::Stopped(why.clone())
            }
            (Some(live), _) => live,
            (None, _) => Live::Unknown,
        };
        Seen { live, properties, of: Some(connection), agreed: agreed.cloned(), job }
    }
}

/// What git may own of each source and destination.
type Ends = BTreeMap<(ObjectKind, EngineId), Properties>;

/// What the survey showed of source and destination; what it did not show is as it was agreed.
fn seen_ends(row: &ConnectionRow, ends: &Ends, agreed: Option<&Agreed>) -> Properties {
    let mut all = Properties::new();
    for kind in ENDS {
        match row.objects.get(&kind).and_then(|id| ends.get(&(kind, id.clone()))) {
            Some(live) => all.extend(live.clone()),
            None => {
                let known = agreed.into_iter().flat_map(|agreed| &agreed.applied);
                all.extend(known.filter(|(name, _)| is_of(kind, name)).map(|(n, v)| (n.clone(), v.clone())));
            }
        }
    }
    all
}
