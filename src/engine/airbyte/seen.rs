//! Connections as surveys saw them: what came in the same words as the last time is not worked out again. Of a thousand
//! connections few change between two looks, and each is kilobytes of catalog.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::api::{Connection as Live, Kept};
use super::engine::engine_id;
use super::told::told;
use crate::ports::{EngineConnection, EngineId};

/// A connection of a list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) id: EngineId,
    pub(super) name: String,
    /// Whether it is deleted: Airbyte lists it all the same.
    pub(super) is_gone: bool,
    /// What it is in our words, or why we have none.
    pub(super) is: Result<Arc<EngineConnection>, String>,
}

/// What the last survey saw, by the SHA-256 of the words in which it came.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<[u8; 32], Arc<Listed>>);

impl Seen {
    /// The connection of this text, and remembers it in `now`.
    pub(super) fn read(&self, text: &RawValue, now: &mut Self) -> Result<Arc<Listed>, serde_json::Error> {
        let digest: [u8; 32] = Sha256::digest(text.get()).into();
        let listed = match self.0.get(&digest) {
            Some(known) => known.clone(),
            None => {
                let live: Kept<Live> = serde_json::from_str(text.get())?;
                let (id, name) = (engine_id(live.known.connection_id), live.known.name.clone());
                let is_gone = live.known.status == "deprecated";
                Arc::new(Listed { id, name, is_gone, is: told(&live).map(Arc::new) })
            }
        };
        now.0.insert(digest, listed.clone());
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(status: &str) -> Box<RawValue> {
        let id = "0195b6f0-7c1e-7d44-9a53-1f0d6c2b8e11";
        let json = format!(
            r#"{{"connectionId":"{id}","name":"crm","sourceId":"{id}","destinationId":"{id}","status":"{status}"}}"#
        );
        RawValue::from_string(json).unwrap()
    }

    #[test]
    fn only_what_comes_in_other_words_is_worked_out_anew() {
        let (nothing, mut first, mut second) = (Seen::default(), Seen::default(), Seen::default());
        let one = nothing.read(&text("active"), &mut first).unwrap();
        let same = first.read(&text("active"), &mut second).unwrap();
        let (Ok(before), Ok(after)) = (&one.is, &same.is) else { panic!("{one:?}") };
        assert!(Arc::ptr_eq(before, after));
        let other = second.read(&text("inactive"), &mut Seen::default()).unwrap();
        assert!(other.is.as_ref().is_ok_and(|is| !is.is.enabled) && !other.is_gone);
        assert!(first.read(&text("deprecated"), &mut second).unwrap().is_gone);
    }
}
