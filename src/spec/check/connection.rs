//! `kind: connection` for itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Diagnostic, quoted};
use crate::model::SyncMode;
use crate::model::{ConnectionRef, FieldPath, StreamName};
use crate::spec::airbyte::{check_options, not_with};
use crate::spec::connectors::End;
use crate::spec::pin::check_pin;
use crate::spec::raw::{RawConnection, RawDrift, RawEndpoint, RawFields, RawStream, RawStreams};
use crate::spec::read::{OneOrMany, Text};
use crate::spec::schedule::{RunBy, check_schedule};
use crate::spec::source::Problems;
use crate::spec::{
    AirbyteOptions, At, EngineKind, FieldSelection, Mode, OnDelete, OnLiveEdit, Pin, RepairPolicy, Schedule, Selection,
    StreamChoice, StreamMode, WhenBreaking,
};

use super::{CheckedEndpoint, Program, Written, parse};

/// What is automatic below this confidence would be a coin toss.
const LEAST_THRESHOLD: f64 = 0.5;

/// A connection whose references are still names. Where a part is broken, its default stands in, so that the references
/// of a broken file are looked up too.
#[derive(Debug, Clone)]
pub(in crate::spec) struct CheckedConnection {
    pub mode: Mode,
    pub source: EndpointChoice,
    pub destination: EndpointChoice,
    pub schedule: Schedule,
    pub streams: Selection,
    pub mapping: Option<Text>,
    pub drift: CheckedDrift,
    pub on_delete: OnDelete,
    pub on_live_edit: OnLiveEdit,
    pub pin: Option<Pin>,
    pub airbyte: AirbyteOptions,
}

/// A name, or settings right here.
#[derive(Debug, Clone)]
pub(in crate::spec) enum EndpointChoice {
    Named(Text),
    Inline(CheckedEndpoint),
}

/// Drift policy; how often to look may follow the engine's default.
#[derive(Debug, Clone)]
pub(in crate::spec) struct CheckedDrift {
    pub check: Option<Schedule>,
    pub repair: RepairPolicy,
    pub threshold: f64,
    pub when_breaking: WhenBreaking,
}

pub(super) fn check_connection(
    name: &ConnectionRef,
    raw: &RawConnection,
    engine: EngineKind,
    to: &mut Problems<'_>,
) -> CheckedConnection {
    let source = check_endpoint(End::Source, name, &raw.source, engine, to);
    let destination = check_endpoint(End::Destination, name, &raw.destination, engine, to);
    let by = RunBy::Engine(engine);
    let schedule = raw.schedule.as_ref().and_then(|s| check_schedule(s, by, to)).unwrap_or(Schedule::Manual);
    let streams = raw.streams.as_ref().map_or(Selection::All, |s| check_streams(s, engine, to));
    let drift = check_drift(raw.drift.as_ref(), to);
    let airbyte = check_options(raw.airbyte.as_ref(), engine, to);
    CheckedConnection {
        mode: raw.mode.unwrap_or(Mode::Manage),
        source,
        destination,
        schedule,
        streams,
        mapping: raw.mapping.clone(),
        drift,
        on_delete: raw.on_delete.unwrap_or(OnDelete::Pause),
        on_live_edit: raw.on_live_edit.unwrap_or(OnLiveEdit::Propose),
        pin: raw.pin.as_ref().and_then(|pin| check_pin(pin, to)),
        airbyte,
    }
}

fn check_endpoint(
    end: End,
    name: &ConnectionRef,
    raw: &RawEndpoint,
    engine: EngineKind,
    to: &mut Problems<'_>,
) -> EndpointChoice {
    match raw {
        RawEndpoint::Named(text) => {
            if text.value == name.name {
                let d = Diagnostic::error("AAM-S015", format!("the connection names itself as its {}", end.word()));
                to.add(&text.place(), d.label(format!("must be the name of a `kind: {}`", end.word())));
            }
            EndpointChoice::Named(text.clone())
        }
        RawEndpoint::Inline(inline) => {
            let config = inline.config.as_ref().map(|f| &f.0);
            let program = Program { command: inline.command.as_deref(), manifest: inline.manifest.as_ref() };
            let written = Written { connector: &inline.r#type, program, config, airbyte: inline.airbyte.as_ref() };
            EndpointChoice::Inline(CheckedEndpoint::read(end, engine, written, to))
        }
    }
}

fn check_streams(raw: &RawStreams, engine: EngineKind, to: &mut Problems<'_>) -> Selection {
    let mut listed: BTreeMap<StreamName, StreamChoice> = BTreeMap::new();
    for (text, choice) in &raw.0 {
        let Some(name) = parse::<StreamName>(text, to) else { continue };
        let choice = choice.as_ref().map(|c| check_choice(text, c, engine, to)).unwrap_or_default();
        if listed.insert(name, choice).is_some() {
            let d = Diagnostic::error("AAM-S006", format!("the stream {} is given twice", quoted(&text.value)));
            to.add(&text.place(), d.help("keep one of the two"));
        }
    }
    if raw.0.is_empty() {
        to.add_whole(
            Diagnostic::error("AAM-S027", "`streams` is empty: the connection would carry nothing")
                .help("remove the key to carry every stream, or list some"),
        );
    }
    Selection::Listed(listed)
}

fn check_choice(stream: &Text, raw: &RawStream, engine: EngineKind, to: &mut Problems<'_>) -> StreamChoice {
    let raw_mode = raw.mode.as_ref().map(|mode| &mode.0);
    if let (EngineKind::Embedded, Some(mode)) = (engine, raw_mode.filter(|mode| !mode.value.is_embedded())) {
        let why = format!("the embedded engine has no mode {} for {}", mode.value.word(), quoted(&stream.value));
        let near = match (mode.value.reads(), mode.value.dedups()) {
            (SyncMode::Incremental, _) => "incremental_append_dedup",
            (SyncMode::FullRefresh, _) => "full_refresh_overwrite",
        };
        not_with(engine, &mode.with(String::new()), &why, &format!("the nearest that it has is `{near}`"), to);
    }
    let cursor = raw.cursor.as_ref().and_then(|c| parse::<FieldPath>(c, to));
    let whole = |mode: &At<StreamMode>| mode.value.reads() == SyncMode::FullRefresh && !mode.value.dedups();
    if let (Some(_), Some(text)) = (raw_mode.filter(|mode| whole(mode)), &raw.cursor) {
        let d = Diagnostic::error("AAM-S027", "a full refresh has no cursor").label("no use here");
        to.add(&text.place(), d.help("remove `cursor`, or choose an incremental mode"));
    }
    let key = raw.key.as_ref().map(|OneOrMany(parts)| parts.iter().filter_map(|p| parse(p, to)).collect());
    StreamChoice {
        mode: raw_mode.map(|mode| mode.value),
        cursor,
        key,
        fields: raw.fields.as_ref().map(|f| check_fields(f, to)).unwrap_or_default(),
    }
}

fn check_fields(raw: &RawFields, to: &mut Problems<'_>) -> FieldSelection {
    match raw {
        RawFields { include: Some(include), exclude: None } => FieldSelection::Include(top_level(include, to)),
        RawFields { include: None, exclude: Some(exclude) } => FieldSelection::Exclude(top_level(exclude, to)),
        RawFields { include: None, exclude: None } => FieldSelection::All,
        RawFields { include: Some(include), exclude: Some(exclude) } => {
            let d = Diagnostic::error("AAM-S027", "`include` and `exclude` cannot stand together")
                .help("keep one of the two");
            match exclude.first().or(include.first()) {
                Some(first) => to.add(&first.place(), d),
                None => to.add_whole(d),
            }
            FieldSelection::All
        }
    }
}

fn top_level(names: &[Text], to: &mut Problems<'_>) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for text in names {
        let Some(path) = parse::<FieldPath>(text, to) else { continue };
        if path.segments().len() > 1 {
            let d = Diagnostic::error("AAM-S026", format!("{} is not a top-level field", quoted(&text.value)));
            let d = d.help(format!(
                "name `{}` to choose it with everything in it; quote a name that holds a dot",
                path.root()
            ));
            to.add(&text.place(), d);
        }
        out.insert(path.root().to_owned());
    }
    out
}

fn check_drift(raw: Option<&RawDrift>, to: &mut Problems<'_>) -> CheckedDrift {
    let mut drift = CheckedDrift {
        check: None,
        repair: RepairPolicy::Auto,
        threshold: DEFAULT_THRESHOLD,
        when_breaking: WhenBreaking::HoldStream,
    };
    let Some(raw) = raw else { return drift };
    drift.check = raw.check.as_ref().and_then(|schedule| check_schedule(schedule, RunBy::Aam, to));
    drift.repair = raw.repair.unwrap_or(drift.repair);
    drift.threshold = raw.threshold.as_ref().and_then(|t| check_threshold(t, to)).unwrap_or(drift.threshold);
    drift.when_breaking = raw.when_breaking.unwrap_or(drift.when_breaking);
    drift
}

/// The design's default.
const DEFAULT_THRESHOLD: f64 = 0.85;

fn check_threshold(text: &Text, to: &mut Problems<'_>) -> Option<f64> {
    let number = text.value.parse::<f64>().ok().filter(|n| (LEAST_THRESHOLD..=1.0).contains(n));
    if number.is_none() {
        let d = Diagnostic::error("AAM-S019", format!("{} is not between 0.5 and 1", quoted(&text.value)));
        to.add(&text.place(), d.label("expected a probability").help("`repair: propose` asks a person always"));
    }
    number
}
