//! The table of rules: how each kind of change is judged, and the words that `aam explain` prints.

/// How much a change can break. Ordered from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing that is in use.
    None,
    /// Only something more is there.
    Additive,
    /// A mapping reads what is no longer there, or no longer what it was.
    BreakingForMapping,
    /// Rows can no longer be read or told apart as before.
    BreakingForSync,
}

impl Severity {
    /// Whether it breaks what is in use.
    pub fn is_breaking(self) -> bool {
        matches!(self, Self::BreakingForMapping | Self::BreakingForSync)
    }
}

/// A rule: code, what it is about, the probability that a reviewer takes such a change as it is (for renames the score
/// of the pair takes its place), and its explanation.
#[derive(Debug)]
pub(super) struct Rule {
    pub code: &'static str,
    pub confidence: f64,
}

macro_rules! rules {
    ($($name:ident $code:literal $confidence:literal $title:literal $text:literal)*) => {
        $(pub(super) const $name: Rule = Rule { code: $code, confidence: $confidence };)*
        /// Every rule: code, title, explanation with an example. `aam explain AAM-D006` prints it.
        pub const CODES: &[(&str, &str, &str)] = &[$(($code, $title, $text)),*];
    };
}

rules! {
    STREAM_ADDED "AAM-D001" 0.95 "a stream appeared"
        "The source shows a stream that the lock does not have. When the spec lists no streams, every stream is carried, so it is \
         taken in by itself; its table appears in landing with the next sync.\n\n\
         Example: `+ public/invoices  stream with 12 fields`"
    STREAM_REMOVED "AAM-D002" 0.6 "a stream is gone"
        "The source no longer shows a stream of the lock. It may be dropped, renamed, or out of sight because a permission was \
         taken away, so a person decides. Landed rows stay either way.\n\n\
         Example: `- public/invoices  stream`"
    FIELD_ADDED "AAM-D003" 0.98 "a field appeared"
        "The source shows a field more, and it may be null. Nothing that is in use can break, so it is taken in by itself. Until a \
         mapping takes it, its values are kept in `unknown_fields`.\n\n\
         Example: `+ public/accounts.website: string`"
    FIELD_ADDED_REQUIRED "AAM-D004" 0.93 "a field appeared that is never null"
        "The source shows a field more, and it is never null. Nothing breaks, but rows landed before have no value for it, so a \
         person looks at it once.\n\n\
         Example: `+ public/accounts.region: string!`"
    FIELD_REMOVED "AAM-D005" 0.6 "a field is gone"
        "The source no longer shows a field of the lock, and no added field resembles it enough to be its new name. Canonical \
         fields that are fed by it starve; the drift file names them with their lines.\n\n\
         Example: `- public/accounts.fax: string`"
    FIELD_RENAMED "AAM-D006" 0.0 "a field goes by another name"
        "A field went and another came whose name, type and place fit it, clearly better than any other pair. The repair changes \
         the lock and every place in mapping and spec that uses the old name. Names and types propose; only the values of the same \
         records, before and now, make it automatic: nearly all equal, telling enough, and held by no other field.\n\n\
         Example: `~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)`"
    WIDENED "AAM-D007" 0.97 "a field takes more values than before"
        "Every old value is a value of the new type, unchanged. An integer that becomes a number or a decimal is taken in by itself; \
         other widened types are proposed, since the column in landing may change its type.\n\n\
         Example: `~ public/orders.total: integer -> decimal(21,2)`"
    NARROWED "AAM-D008" 0.75 "a field takes fewer values than before"
        "Only some of the old values are values of the new type. Rows landed before may not fit it.\n\n\
         Example: `~ public/orders.total: number -> integer`"
    REINTERPRETED "AAM-D009" 0.7 "the values of a field must be read in another way"
        "Old and new type have no values in common that mean the same, so casts, value tables and expressions that use the field \
         need a look.\n\n\
         Example: `~ public/orders.placed: string -> timestamp_tz`"
    NULLABLE "AAM-D010" 0.9 "a field may be null now"
        "Landing takes it as it is. A mapping without `default`, or a required canonical field, may now meet a record without a \
         value.\n\n\
         Example: `~ public/accounts.name: may be null now`"
    NOT_NULL "AAM-D011" 0.95 "a field is never null now"
        "The source promises more than before; nothing that is in use breaks.\n\n\
         Example: `~ public/accounts.name: never null now`"
    KEY_CHANGED "AAM-D012" 0.5 "the source defines another key"
        "Records are told apart by the key: with another one, deduplication and the history of records begin anew. Never taken in by \
         itself.\n\n\
         Example: `~ public/orders  key: [id] -> [id, region]`"
    CURSOR_CHANGED "AAM-D013" 0.7 "the source says something else about cursors"
        "Incremental reading goes on, but its default or its rules are different. Never taken in by itself.\n\n\
         Example: `~ public/orders  cursor: any(updated_at) -> any(changed_at)`"
    CURSOR_LOST "AAM-D014" 0.5 "nothing can serve as cursor any more"
        "Incremental reading stops working: the cursor field is gone, or the source reads only in full. Choose another cursor or \
         another mode in the spec.\n\n\
         Example: `! public/orders  cursor: any(updated_at) -> none`"
    MODE_ADDED "AAM-D015" 0.97 "the source supports one more sync mode"
        "Nothing changes until the spec asks for it, so it is taken in by itself.\n\n\
         Example: `+ public/orders  modes: full_refresh -> full_refresh, incremental`"
    MODE_REMOVED "AAM-D016" 0.5 "the source no longer supports a sync mode"
        "A stream that is read in that mode cannot be read so any more.\n\n\
         Example: `! public/orders  modes: full_refresh, incremental -> full_refresh`"
    STREAM_RENAMED "AAM-D017" 0.0 "a stream goes by another name"
        "A stream went and another came with the same fields, or nearly, clearly ahead of any other. The repair changes the lock, \
         `stream:` in the mapping and `streams:` in the spec. To landing and to events it is another stream: it lands in a table of its \
         own, is read from its beginning, and each of its records gives an event anew; nothing of the old one is deleted. So a person \
         decides, always. What changed inside the stream is told beside it, under the new name.\n\n\
         Example: `~ public/accounts -> public/customers  stream`"
}
