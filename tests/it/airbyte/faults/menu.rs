//! The faults of a call (fault plan, section 3.1), each with the calls that it makes sense at.
//!
//! What is below a call (no connection, a body of another length, a stall at any byte, what is inflated) is in `airbyte::wire`,
//! long pauses that a server wants in `airbyte::client`, lists of several pages in `airbyte::standin::faults`, what is made late or
//! twice in `late` and `doubled`, and a million streams in `airbyte::standin::discover`.

use std::time::Duration;

use crate::standin::answer::Shape;
use crate::standin::faults::Fault;

/// One fault.
pub struct Dish {
    pub name: &'static str,
    pub fault: Fault,
    at: At,
    /// Lists lack for so long what was made.
    pub lag: Option<Duration>,
}

/// What goes back to Airbyte as it came, with all that is not known of it: catalogs and tags.
const SENT_BACK: [&str; 3] = ["catalog", "syncCatalog", "tags"];

/// Where a fault can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Any,
    /// An answer of lists.
    Lists,
    /// A call that makes something new.
    Creates,
    /// Any, but where that answer is a truth of older versions.
    NotOfOld,
    /// Any, but where the answer goes back whole.
    NotTags,
    /// A call that only asks for what is there.
    Reads,
    /// The answer that has a source's catalog.
    Catalogs,
}

impl Dish {
    /// Whether it makes sense at this call.
    pub fn fits(&self, call: &str) -> bool {
        match self.at {
            At::Any => true,
            At::Lists => call.contains("/list") && !call.contains("/jobs") || call.ends_with("/workspaces"),
            At::Creates => call.ends_with("/create"),
            At::NotOfOld => !call.ends_with("/tags/list"),
            At::NotTags => !call.contains("/tags/"),
            At::Reads => {
                let asks =
                    ["/get", "/status", "/output/discover", "/discover_schema"].iter().any(|end| call.ends_with(end));
                asks || call.contains("/list") || call.starts_with("GET ")
            }
            At::Catalogs => call.ends_with("/output/discover") || call.ends_with("/discover_schema"),
        }
    }
}

impl Dish {
    /// Whether the call may have had its effect without an answer that says so.
    pub fn loses_answers(&self) -> bool {
        matches!(
            self.fault,
            Fault::CutAfter
                | Fault::HangInBody(_)
                | Fault::CutInBody(_)
                | Fault::CutInChunk(_)
                | Fault::Deny(..)
                | Fault::Exists(_)
                | Fault::ApplyLate(_)
                | Fault::Hang
        )
    }
}

/// All of them.
pub fn menu() -> Vec<Dish> {
    let dish = |at: At| move |name: &'static str, fault: Fault| Dish { name, fault, at, lag: None };
    let (any, lists, creates) = (dish(At::Any), dish(At::Lists), dish(At::Creates));
    let (reads, catalogs) = (dish(At::Reads), dish(At::Catalogs));
    let lagging = |made: Dish| Dish { lag: Some(Duration::from_secs(5)), ..made };
    let body = |text: &str| Fault::Body(text.to_owned());
    let after = |status: u16, after: &str| Fault::RetryAfter(status, after.to_owned());
    vec![
        any("500 with a known error", Fault::Refuse(500, Shape::Known)),
        any("no answer", Fault::Hang),
        creates("applied, and then 504 with a page", Fault::Deny(504, Shape::Page)),
        any("503 with an empty body", Fault::Refuse(503, Shape::Empty)),
        any("applied, and the connection cut", Fault::CutAfter),
        any("null", body("null")),
        creates("applied 1.5 s after the client gave up", Fault::ApplyLate(Duration::from_millis(1500))),
        any("the connection cut before it", Fault::CutBefore),
        any("another object's answer", Fault::Other),
        any("the token refused", Fault::RefuseToken),
        any("half a body, then nothing", Fault::HangInBody(9)),
        any("400 that repeats what was sent", Fault::Echo(400)),
        any("an array", body("[]")),
        any("502 with a page", Fault::Refuse(502, Shape::Page)),
        any("half a body, then cut", Fault::CutInBody(9)),
        any("404 with a page", Fault::Refuse(404, Shape::Page)),
        any("an empty object", body("{}")),
        any("429 with seconds", after(429, "1")),
        creates("applied, and then 500 with an error id", Fault::Deny(500, Shape::Hidden)),
        any("504 with a page", Fault::Refuse(504, Shape::Page)),
        any("the header, then nothing", Fault::HangInBody(0)),
        dish(At::NotOfOld)("404 of the framework", Fault::Refuse(404, Shape::Framework)),
        any("500 with an error id", Fault::Refuse(500, Shape::Hidden)),
        any("no JSON", body("{\"half\": ")),
        any("429 with a date of the past", after(429, "Wed, 21 Oct 2015 07:28:00 GMT")),
        any("500 that repeats what was sent", Fault::Echo(500)),
        lists("an item twice", Fault::RepeatItem),
        any("a body byte by byte", Fault::Drip(Duration::from_millis(300))),
        any("429 with a negative", after(429, "-5")),
        any("408", Fault::Refuse(408, Shape::Framework)),
        lists("an item missing", Fault::MissingItem(0)),
        any("503 with Retry-After", after(503, "0")),
        any("429 without a word", Fault::Refuse(429, Shape::Framework)),
        lists("a list that lags", Fault::Lag(Duration::from_secs(5))),
        any("403", Fault::Refuse(403, Shape::Framework)),
        any("429 with nonsense", after(429, "soon")),
        any("a chunk cut", Fault::CutInChunk(9)),
        any("gzip that nobody asked for", Fault::Gzip),
        any("numbers as text", Fault::NumbersAsText),
        any("lists 10,000 deep", Fault::Body(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)))),
        creates("applied, and then 409 that it exists", Fault::Exists(409)),
        lagging(creates("applied, and then 409 that it exists, which no list shows yet", Fault::Exists(409))),
        lagging(creates("applied, and then 422 that it exists, which no list shows yet", Fault::Exists(422))),
        dish(At::NotTags)("fields of a later version", Fault::Newer(&SENT_BACK)),
        any("words of a later version", Fault::NewWords),
        any("ids by other keys", Fault::Renamed),
        reads("what was answered first", Fault::Stale),
        catalogs("a catalog without streams", Fault::NoStreams),
        catalogs("a catalog after 2 s", Fault::Latency(Duration::from_secs(2))),
    ]
}
