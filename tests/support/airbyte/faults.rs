//! Faults by script: rules that say which call fails, when and how. Counted, never drawn: the same calls in the same
//! order fail in the same way.

use std::time::{Duration, Instant};

use super::answer::{Answer, Payload, Shape};

/// The members of a JSON object.
type Fields = serde_json::Map<String, serde_json::Value>;

/// A rule. The first that fits a call and is due decides.
#[derive(Debug, Clone)]
pub struct Rule {
    call: String,
    when: When,
    fault: Fault,
    seen: u32,
    since: Option<Instant>,
}

/// Which of the calls that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The nth only, counted from 1.
    Nth(u32),
    /// The first so many.
    First(u32),
    /// From the first on for this long.
    For(Duration),
    /// All.
    Always,
}

/// What happens instead.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Refused with this status and shape; nothing is applied.
    Refuse(u16, Shape),
    /// Refused so, with a `Retry-After`.
    RetryAfter(u16, String),
    /// Applied, and answered with this status and shape all the same.
    Deny(u16, Shape),
    /// Applied, and answered with this status and that there is one already.
    Exists(u16),
    /// The token is refused with 401.
    RefuseToken,
    /// Answered later.
    Latency(Duration),
    /// Not applied, never answered.
    Hang,
    /// Applied; the header and so many bytes of the body come, then nothing.
    HangInBody(usize),
    /// Applied; the header and so many bytes of the body come, then the connection ends.
    CutInBody(usize),
    /// The connection ends before anything is applied.
    CutBefore,
    /// Applied; the connection ends without an answer.
    CutAfter,
    /// Never answered; applied so long after the client gave up.
    ApplyLate(Duration),
    /// Never answered; applied when the test says so: [`super::Standin::apply_withheld`].
    Withhold,
    /// Applied; the body is this text instead.
    Body(String),
    /// Applied; the body is gzip, which nobody asked for.
    Gzip,
    /// Applied; the body comes in chunks and ends within one after so many bytes.
    CutInChunk(usize),
    /// Applied; every number of the answer is text.
    NumbersAsText,
    /// Applied; the first item of the list comes twice.
    RepeatItem,
    /// Applied; this item of the list, counted from 0, is missing.
    MissingItem(usize),
    /// Applied; the body comes byte by byte, with this pause before each.
    Drip(Duration),
    /// Applied twice; the answer is that of the second time.
    Twice,
    /// Applied twice; the connection ends without an answer.
    TwiceCut,
    /// Applied; the answer is that of another object of the kind.
    Other,
    /// Applied; every object of the answer has a key more, as those of later versions have; but for what is below these
    /// keys.
    Newer(&'static [&'static str]),
    /// Applied; every word of a closed list that is about the object itself is one of a later version.
    NewWords,
    /// Applied; every id of the answer has another key, as a later version might call it.
    Renamed,
    /// The answer is the one that the same question got first: a replica that stands still.
    Stale,
    /// Applied; the catalog of the answer has no stream.
    NoStreams,
    /// Refused with this status; its text repeats what was sent.
    Echo(u16),
    /// A list gives its first page again, whichever is asked for.
    FirstPage,
    /// The list lacks objects younger than this.
    Lag(Duration),
}

impl Rule {
    /// For calls of this name, `POST /v1/sources/list`; a `*` at its end stands for any rest.
    pub fn new(call: &str, when: When, fault: Fault) -> Self {
        Self { call: call.to_owned(), when, fault, seen: 0, since: None }
    }

    fn fits(&self, call: &str) -> bool {
        self.call.strip_suffix('*').map_or(self.call == call, |start| call.starts_with(start))
    }

    /// Counts the call; whether the rule is due for it.
    fn is_due(&mut self) -> bool {
        self.seen += 1;
        let since = *self.since.get_or_insert_with(Instant::now);
        match self.when {
            When::Nth(n) => self.seen == n,
            When::First(n) => self.seen <= n,
            When::For(time) => since.elapsed() < time,
            When::Always => true,
        }
    }
}

/// The fault of a call. Every rule that fits counts it.
pub fn due(rules: &mut [Rule], call: &str) -> Option<Fault> {
    let mut due =
        rules.iter_mut().filter(|rule| rule.fits(call)).filter_map(|rule| rule.is_due().then_some(&rule.fault));
    let first = due.next().cloned();
    due.for_each(drop);
    first
}

/// The answer of a refusal.
pub fn refusal(status: u16, shape: Shape) -> Answer {
    shape.answer(status, "scripted", "a fault of the script")
}

/// The answer that says that there is one already.
pub fn exists(status: u16) -> Answer {
    Shape::Known.answer(status, "ValueConflictKnownException", "An object of that name already exists")
}

/// The answer without or with one more item of its list.
pub fn with_items(mut answer: Answer, fault: &Fault) -> Answer {
    let Payload::Json(body) = &mut answer.body else { return answer };
    let list = match body {
        serde_json::Value::Array(list) => Some(list),
        serde_json::Value::Object(fields) => fields.values_mut().find_map(|value| value.as_array_mut()),
        _ => None,
    };
    match (fault, list) {
        (Fault::RepeatItem, Some(list)) => list.extend(list.first().cloned()),
        (Fault::MissingItem(at), Some(list)) if *at < list.len() => drop(list.remove(*at)),
        _ => {}
    }
    answer
}

/// The answer as if it were about another object: its id, and the name that goes with it.
pub fn of_another(mut answer: Answer) -> Answer {
    let Payload::Json(serde_json::Value::Object(body)) = &mut answer.body else { return answer };
    let other = serde_json::json!("0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11");
    for id in ["sourceId", "destinationId", "connectionId", "tagId"] {
        if let Some(is) = body.get_mut(id) {
            *is = other.clone();
        }
    }
    if let Some(name) = body.get_mut("name") {
        *name = serde_json::json!("another");
    }
    if let Some(job) = body.get_mut("job").and_then(serde_json::Value::as_object_mut) {
        job.insert("configId".into(), other);
    }
    answer
}

/// The answer with every number as text.
pub fn numbers_as_text(mut answer: Answer) -> Answer {
    fn turn(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => fields.values_mut().for_each(turn),
            serde_json::Value::Array(items) => items.iter_mut().for_each(turn),
            serde_json::Value::Number(number) => *value = serde_json::Value::String(number.to_string()),
            _ => {}
        }
    }
    if let Payload::Json(body) = &mut answer.body {
        turn(body);
    }
    answer
}

/// The answer with every object of it changed, but for what is below these keys.
fn with_objects(mut answer: Answer, but: &[&str], change: fn(&mut Fields)) -> Answer {
    fn turn(value: &mut serde_json::Value, but: &[&str], change: fn(&mut Fields)) {
        match value {
            serde_json::Value::Object(fields) => {
                let inside = fields.iter_mut().filter(|(key, _)| !but.contains(&key.as_str()));
                inside.for_each(|(_, value)| turn(value, but, change));
                change(fields);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|value| turn(value, but, change)),
            _ => {}
        }
    }
    if let Payload::Json(body) = &mut answer.body {
        turn(body, but, change);
    }
    answer
}

/// The answer with a key that no version has, in every object of it but for what is below these keys.
pub fn newer(answer: Answer, but: &[&str]) -> Answer {
    with_objects(answer, but, |fields| drop(fields.insert("addedLater".into(), serde_json::json!({"a": [1]}))))
}

/// Keys whose values are words of closed lists: what Airbyte says of its own objects, not of the source.
const WORDS: [&str; 10] = [
    "status",
    "statusReason",
    "scheduleType",
    "namespaceDefinition",
    "nonBreakingChangesPreference",
    "backfillPreference",
    "configType",
    "syncMode",
    "destinationSyncMode",
    "edition",
];

/// The answer with words that no version has.
pub fn new_words(answer: Answer) -> Answer {
    with_objects(answer, &[], |fields| {
        for word in WORDS {
            if let Some(is) = fields.get_mut(word).filter(|is| is.is_string()) {
                *is = serde_json::json!("of_later_times");
            }
        }
    })
}

/// The answer with other keys for ids.
pub fn renamed(answer: Answer) -> Answer {
    with_objects(answer, &[], |fields| {
        let before = std::mem::take(fields);
        let key = |key: String| key.strip_suffix("Id").map(|start| format!("{start}Identifier")).unwrap_or(key);
        fields.extend(before.into_iter().map(|(name, value)| (key(name), value)));
    })
}

/// The answer with a catalog that has no stream.
pub fn without_streams(mut answer: Answer) -> Answer {
    let Payload::Json(body) = &mut answer.body else { return answer };
    if let Some(streams) = body.pointer_mut("/catalog/streams") {
        *streams = serde_json::json!([]);
    }
    answer
}
