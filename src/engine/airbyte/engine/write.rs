//! Changing what is in Airbyte. Whatever may have happened without an answer is said to be so ([`Remedy::Look`]); nothing here
//! writes twice.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{AirbyteEngine, engine_id, failed_run, person, unread, uuid};
use crate::engine::airbyte::api::{ApiJob, Connection as Live, Discovery, Kept};
use crate::engine::airbyte::catalog;
use crate::engine::airbyte::error::{ApiError, Fate};
use crate::engine::airbyte::told::{flat, moves_rows, named, told, told_job};
use crate::model::StreamName;
use crate::ports::{
    Ask, ClearOrder, ConfiguredStream, ConnectionDraft, EndpointHandle, EngineError, EngineId, EngineWrite, Job,
    MASKED, ObjectKind, OwnerKey, Remedy, ResolvedConfig, SyncOrder, applied,
};

/// The colour of our tag in Airbyte's web page.
const COLOR: &str = "2E7D6B";

/// Our tag in a workspace.
enum Tag {
    /// The server has no tags, or none is wanted.
    Unwanted,
    /// It has to be made.
    Lacking,
    /// Whole.
    There(Value),
}

/// A failed call that changes something.
fn unwritten(what: &str, error: &ApiError) -> EngineError {
    let remedy = if error.may_have_happened() { Remedy::Look } else { error.remedy() };
    EngineError { remedy, ..unread(what, error) }
}

/// A create that failed. No name has to be unique in Airbyte: if it says that there is one already, something in between sent
/// the ask twice.
fn unmade(what: &str, error: &ApiError) -> EngineError {
    let exists = match error.fate {
        Fate::Answered(409) => true,
        Fate::Answered(422) => error.sentence.to_lowercase().contains("already exist"),
        _ => false,
    };
    if exists { EngineError { remedy: Remedy::Look, ..unread(what, error) } } else { unwritten(what, error) }
}

impl AirbyteEngine {
    /// Our tag in a workspace, as far as looking tells.
    async fn look_for_tag(&self, workspace: Uuid) -> Result<Tag, ApiError> {
        if self.place.tag.is_empty() {
            return Ok(Tag::Unwanted);
        }
        let Some(tags) = self.api.tags(workspace).await? else { return Ok(Tag::Unwanted) };
        Ok(tags.into_iter().find(|tag| tag["name"] == json!(self.place.tag)).map_or(Tag::Lacking, Tag::There))
    }

    /// Our tag, whole, made if need be.
    async fn tag(&self, workspace: Uuid, seen: Tag) -> Result<Option<Value>, ApiError> {
        match seen {
            Tag::Unwanted => return Ok(None),
            Tag::There(tag) => return Ok(Some(tag)),
            Tag::Lacking => {}
        }
        match self.api.create_tag(workspace, &self.place.tag, COLOR).await {
            Ok(tag) => Ok(Some(tag)),
            // somebody made it meanwhile, or it was made without an answer
            Err(e) if e.fate == Fate::Answered(409) || e.may_have_happened() => {
                match self.look_for_tag(workspace).await? {
                    Tag::There(tag) => Ok(Some(tag)),
                    _ => Err(e),
                }
            }
            Err(e) => Err(e),
        }
    }

    /// Refuses streams in a mode that the destination's connector does not know. Those that are in it already are Airbyte's
    /// own affair.
    async fn refuse_modes(
        &self,
        draft: &ConnectionDraft,
        live: &[ConfiguredStream],
        what: &str,
    ) -> Result<(), EngineError> {
        let is_new = |new: &&ConfiguredStream| !live.iter().any(|old| old.name == new.name && old.mode == new.mode);
        let new: Vec<_> = draft.streams.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let (kind, id) = (ObjectKind::Destination, uuid(what, &draft.destination)?);
        let actor = self.api.actor(kind, id).await.map_err(|e| unread(what, &e))?;
        let actor = actor.ok_or_else(|| person(what, format!("its destination {id} is gone from Airbyte")))?.known;
        let known = self.api.destination_modes(actor.workspace_id, actor.definition).await;
        let Some(known) = known.map_err(|e| unread(what, &e))? else { return Ok(()) };
        match new.iter().find(|stream| !known.iter().any(|mode| mode == catalog::modes(stream.mode).1)) {
            None => Ok(()),
            Some(stream) => {
                let (mode, known) =
                    (catalog::modes(stream.mode).1, crate::diag::escape(&known.join(", ")).into_owned());
                let why = format!(
                    "stream {} is to be written by {mode}, but its destination knows only {known}",
                    stream.name
                );
                Err(person(what, why))
            }
        }
    }

    /// What the source of a draft shows, for the entries of a catalog to send: no schema is ever made up where it is known. The
    /// server answers from its store where the source was discovered before, and else runs the connector for minutes. What
    /// lacks its id, or what is wanted beside what is `carried`, may be empty or old: then the source itself is asked. Where
    /// only the id is lacking, a source that cannot be asked holds nothing up.
    async fn stored(
        &self,
        draft: &ConnectionDraft,
        carried: &[ConfiguredStream],
        config: &ResolvedConfig,
        what: &str,
    ) -> Result<Discovery, EngineError> {
        let source = uuid(what, &draft.source)?;
        let _alone = self.turn_of(source).await;
        let failed = |e| failed_run(what, &e, config);
        let stored = self.api.stored_catalog(source).await.map_err(failed)?;
        let is_known = catalog::shows(&stored.catalog.streams, &draft.streams, carried);
        if is_known && stored.catalog_id.is_some() {
            return Ok(stored);
        }
        match self.api.discover(source).await {
            Err(_) if is_known => Ok(stored),
            found => found.map_err(failed),
        }
    }

    /// A connection as it is now, in Airbyte's words and in ours.
    async fn read(&self, id: Uuid, what: &str) -> Result<(Kept<Live>, ConnectionDraft), EngineError> {
        let live = self.api.connection(id).await.map_err(|e| unread(what, &e))?;
        let live = live.ok_or_else(|| person(what, "Airbyte has no such connection"))?;
        let is = told(&live).map_err(|why| person(what, why))?.is;
        Ok((live, is))
    }

    /// The job that answers an ask for a sync: the one that came after it, or a new one.
    async fn start_or_follow(&self, order: &SyncOrder) -> Result<ApiJob, EngineError> {
        let what = format!("starting a sync of {}", order.source.name);
        let id = uuid(&what, &order.engine_id)?;
        // Airbyte knows no ids of asks: the first job after the ask answers it
        let jobs = self.api.jobs(id, 20).await.map_err(|e| unread(&what, &e))?;
        let answers = |job: &ApiJob| match order.refresh.is_empty() {
            true => moves_rows(job),
            false => job.kind == "refresh",
        };
        let answer = jobs.into_iter().filter(|job| job.id > order.after && answers(job)).min_by_key(|job| job.id);
        if let Some(job) = answer {
            return Ok(job);
        }
        let asked = async {
            match order.refresh.is_empty() {
                true => self.api.sync(id).await.map(Some),
                false => self.api.refresh(id, &named(&order.refresh)).await,
            }
        };
        match applied("start_sync", asked).await {
            Ok(Some(job)) => Ok(job),
            Ok(None) => {
                let why = "its destination cannot refresh in Airbyte: `aam clear CONNECTION STREAM…` deletes what landed, and the \
                           next sync reads it from the beginning";
                Err(person(&what, why))
            }
            Err(e) if e.fate == Fate::Answered(409) => {
                let running =
                    self.api.jobs(id, 1).await.map_err(|e| unread(&what, &e))?.into_iter().find(|job| !job.has_ended());
                match running {
                    Some(job) if moves_rows(&job) && order.refresh.is_empty() => Ok(job),
                    Some(job) => {
                        let why = format!("job {} ({}) runs: it is waited for", job.id, crate::diag::escape(&job.kind));
                        Err(EngineError { what, why, remedy: Remedy::Retry, retry_after: None })
                    }
                    None => Err(unread(&what, &e)),
                }
            }
            Err(e) => Err(unwritten(&what, &e)),
        }
    }
}

#[async_trait]
impl EngineWrite for AirbyteEngine {
    async fn create_endpoint<'a>(
        &'a self,
        kind: ObjectKind,
        _: &'a OwnerKey,
        handle: &'a EndpointHandle,
    ) -> Result<Ask<'a>, EngineError> {
        let what = format!("creating {} {}", kind.word(), handle.name);
        let (workspace, definition) = self.parts(kind, handle).await?;
        Ok(Box::pin(async move {
            let made = self.api.create_actor(kind, workspace, definition, self.name_of(handle), handle.config.expose());
            let made = applied(&format!("create_{}", kind.word()), made).await;
            let made = made.map_err(|e| unmade(&what, &e.masked(|text| handle.config.mask(text))))?;
            Ok(engine_id(made.known.id))
        }))
    }

    async fn update_endpoint(
        &self,
        kind: ObjectKind,
        id: &EngineId,
        handle: &EndpointHandle,
    ) -> Result<(), EngineError> {
        let what = format!("updating {} {}", kind.word(), handle.name);
        let id = uuid(&what, id)?;
        let (_, definition) = self.parts(kind, handle).await?;
        let live = self.api.actor(kind, id).await.map_err(|e| unread(&what, &e))?;
        if live.is_some_and(|live| live.known.definition != definition) {
            let why = format!(
                "it is of another connector in Airbyte than {}, and that cannot be changed there: declare a new one beside it \
                 and remove the old one",
                crate::diag::escape(&handle.connector)
            );
            return Err(person(&what, why));
        }
        let sent = self.api.update_actor(kind, id, self.name_of(handle), handle.config.expose());
        let sent = applied(&format!("update_{}", kind.word()), sent).await;
        sent.map_err(|e| unwritten(&what, &e.masked(|text| handle.config.mask(text))))?;
        // before, the settings were tried by themselves; now as Airbyte keeps them
        self.api.check(kind, id).await.map_err(|e| failed_run(&what, &e, &handle.config))
    }

    async fn create_connection<'a>(
        &'a self,
        _: &'a OwnerKey,
        draft: &'a ConnectionDraft,
        of_source: &'a ResolvedConfig,
    ) -> Result<Ask<'a>, EngineError> {
        let what = format!("creating connection {}", draft.name);
        let source = uuid(&what, &draft.source)?;
        let actor = self.api.actor(ObjectKind::Source, source).await.map_err(|e| unread(&what, &e))?;
        let actor = actor.ok_or_else(|| person(&what, format!("its source {source} is gone from Airbyte")))?;
        self.refuse_modes(draft, &[], &what).await?;
        let stored = self.stored(draft, &[], of_source, &what).await?;
        let streams = catalog::entries(&draft.streams, &stored.catalog.streams, &[], &draft.options);
        let workspace = actor.known.workspace_id;
        let tag = self.look_for_tag(workspace).await.map_err(|e| unread(&what, &e))?;
        let mut body = flat(&draft.settings, |_, _| true);
        body.extend(object(json!({
            "name": draft.name, "sourceId": draft.source, "destinationId": draft.destination,
            "status": status(draft.enabled), "syncCatalog": {"streams": streams},
        })));
        body.extend(stored.catalog_id.map(|id| ("sourceCatalogId".to_owned(), json!(id))));
        Ok(Box::pin(async move {
            let tag = self.tag(workspace, tag).await.map_err(|e| unread(&what, &e))?;
            body.extend(tag.map(|tag| ("tags".to_owned(), json!([tag]))));
            let made = applied("create_connection", self.api.create_connection(&Value::Object(body))).await;
            Ok(engine_id(made.map_err(|e| unmade(&what, &e))?.known.connection_id))
        }))
    }

    async fn update_connection(
        &self,
        id: &EngineId,
        draft: &ConnectionDraft,
        of_source: &ResolvedConfig,
    ) -> Result<(), EngineError> {
        let what = format!("updating connection {}", draft.name);
        let live_id = uuid(&what, id)?;
        let (_, is) = self.read(live_id, &what).await?;
        // a patch: only what differs is sent, so that nobody's edit of the rest is lost
        let mut body = flat(&draft.settings, |key, value| is.settings.get(key) != Some(value));
        body.insert("connectionId".into(), json!(id));
        if is.name != draft.name {
            body.insert("name".into(), json!(draft.name));
        }
        if is.enabled != draft.enabled {
            body.insert("status".into(), json!(status(draft.enabled)));
        }
        if !catalog::same(&is.streams, &draft.streams) {
            // Airbyte forgets the mappers of a stream that is left out: they are given back with it, if they can be
            let left_out = |name: &StreamName| !draft.streams.iter().any(|stream| stream.name == *name);
            let kept = |name: &StreamName| draft.options.get(name).is_some_and(|of| !of.to_string().contains(MASKED));
            if let Some(stream) = is.options.keys().find(|name| left_out(name) && !kept(name)) {
                let why = format!(
                    "stream {stream} has mappers with a secret in Airbyte, which Airbyte forgets with a stream that is left \
                     out: take them out there first, or leave the stream out there yourself"
                );
                return Err(person(&what, why));
            }
            self.refuse_modes(draft, &is.streams, &what).await?;
            let is_new = |name: &StreamName| !left_out(name) && !is.streams.iter().any(|stream| stream.name == *name);
            if let Some((stream, _)) = draft.options.iter().find(|(name, _)| is_new(name) && !kept(name)) {
                let why = format!(
                    "stream {stream} had mappers with a secret in Airbyte, which cannot be given back: take the stream in again \
                     there, with its mappers"
                );
                return Err(person(&what, why));
            }
            let stored = self.stored(draft, &is.streams, of_source, &what).await?;
            // that took its time, and the draft knows nothing of what a person did meanwhile
            let (live, now) = self.read(live_id, &what).await?;
            if now != is {
                let why = "somebody changed it in Airbyte meanwhile: nothing was written, and the next try begins with what is there now";
                return Err(EngineError { what, why: why.into(), remedy: Remedy::Retry, retry_after: None });
            }
            let entries = &live.known.sync_catalog.streams;
            let streams = catalog::entries(&draft.streams, &stored.catalog.streams, entries, &draft.options);
            body.insert("syncCatalog".into(), json!({ "streams": streams }));
            body.extend(stored.catalog_id.map(|id| ("sourceCatalogId".to_owned(), json!(id))));
        }
        let sent = applied("update_connection", self.api.update_connection(Value::Object(body))).await;
        sent.map_err(|e| unwritten(&what, &e))
    }

    async fn delete(&self, kind: ObjectKind, id: &EngineId) -> Result<(), EngineError> {
        let what = format!("deleting {} {}", kind.word(), id.0);
        let gone = applied(&format!("delete_{}", kind.word()), self.api.delete(kind, uuid(&what, id)?)).await;
        gone.map_err(|e| unwritten(&what, &e))
    }

    async fn start_sync(&self, order: &SyncOrder) -> Result<Job, EngineError> {
        // what a connector says of its failure may repeat settings
        let mask = |text: &str| order.source.config.mask(&order.destination.config.mask(text));
        Ok(told_job(&self.start_or_follow(order).await?, mask))
    }

    async fn clear(&self, order: &ClearOrder) -> Result<Option<i64>, EngineError> {
        let what = format!("clearing streams of connection {}", order.engine_id.0);
        let (id, streams) = (uuid(&what, &order.engine_id)?, named(&order.streams));
        let cleared = applied("clear", self.api.clear(id, &streams)).await;
        cleared.map(|job| Some(job.id)).map_err(|e| unwritten(&what, &e))
    }

    async fn cancel(&self, id: &EngineId, job: i64) -> Result<bool, EngineError> {
        let what = format!("cancelling job {job}");
        self.api.cancel(uuid(&what, id)?, job).await.map_err(|e| unwritten(&what, &e))
    }
}

fn status(enabled: bool) -> &'static str {
    if enabled { "active" } else { "inactive" }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
