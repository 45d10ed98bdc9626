//! Lists: read to their last page, and an answer that is not what was asked for.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::engine::airbyte::error::{ApiError, Fate};

/// Objects per page of a list; the servers' default of 20 would hide the rest from a careless reader.
pub(super) const PAGE: usize = 100;
/// More pages than any installation has: a list that goes on for longer goes in circles.
pub(super) const PAGES_MAX: usize = 10_000;
/// Said of a list that gives a page again: what is missing from it may exist.
pub(super) const ENDLESS: &str = "the list goes in circles, so that some of it was not seen";

/// The answer is about something else than what was asked for.
pub(super) fn another(call: &str) -> ApiError {
    ApiError::new(call, Fate::Garbled, "the answer is about another object than the one that was asked for")
}

/// The list below a key; an answer without it is broken, never empty.
pub(super) fn list<T: DeserializeOwned>(key: &str, mut answer: Value, call: &str) -> Result<Vec<T>, ApiError> {
    let found = answer.get_mut(key).map(Value::take).filter(Value::is_array).ok_or_else(|| broken(key, call))?;
    serde_json::from_value(found).map_err(|_| lacking(call))
}

pub(super) fn broken(key: &str, call: &str) -> ApiError {
    ApiError::new(call, Fate::Garbled, format!("the answer has no list `{key}`"))
}

/// Of an object of a list; serde's text repeats values, which may be settings.
pub(in crate::engine::airbyte) fn lacking(call: &str) -> ApiError {
    ApiError::new(call, Fate::Garbled, "an object of the list lacks what it must have")
}

/// Pages of the public API until one is short. Objects that come twice count once.
pub(super) async fn pages<T, K: Ord, F: Future<Output = Result<Vec<T>, ApiError>>>(
    page: impl Fn(usize) -> F,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, ApiError> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for number in 0..PAGES_MAX {
        let found = page(number * PAGE).await?;
        let (count, before) = (found.len(), all.len());
        all.extend(found.into_iter().filter(|one| seen.insert(key(one))));
        match count.cmp(&PAGE) {
            Ordering::Equal if all.len() > before => {}
            Ordering::Equal => break,
            // short, or from a server without pages
            _ => return Ok(all),
        }
    }
    Err(ApiError::new("a list", Fate::Garbled, ENDLESS))
}
