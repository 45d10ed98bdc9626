//! The unified diff of two catalogs, line by line as in their locks.

use similar::TextDiff;

use crate::model::{Catalog, ConnectionId, quote_name};
use crate::spec::{Lock, lock};

/// The unified diff of the lock bodies of two catalogs, with three lines around each change; empty if they are the same.
/// `names` are shown as the two files, for example `crm version 3` and `crm version 5`.
pub fn render_diff(before: &Catalog, after: &Catalog, names: (&str, &str)) -> String {
    let (before, after) = (body(before), body(after));
    let header = |name: &str| if name.chars().any(char::is_control) { quote_name(name) } else { name.to_owned() };
    let diff = TextDiff::from_lines(&before, &after);
    diff.unified_diff().context_radius(3).header(&header(names.0), &header(names.1)).to_string()
}

/// A lock's text from `streams:` on.
fn body(catalog: &Catalog) -> String {
    let id = ConnectionId(uuid::Uuid::nil());
    let text = lock::render(&Lock { id, version: 0, fingerprint: catalog.fingerprint(), catalog: catalog.clone() }, "");
    text.find("streams:").map_or_else(String::new, |at| text[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_line_by_line() {
        let catalog = |fields: serde_json::Value| {
            Catalog::from_body(&serde_json::json!({"a": {"modes": ["full_refresh"], "fields": fields}})).unwrap()
        };
        let before = catalog(serde_json::json!({"id": "integer!", "name": "string"}));
        let after = catalog(serde_json::json!({"id": "integer!", "full_name": "string"}));
        assert_eq!(render_diff(&before, &before, ("crm version 1", "crm version 1")), "");
        assert_eq!(
            render_diff(&before, &after, ("crm version 1", "crm version 2")),
            "--- crm version 1\n+++ crm version 2\n@@ -2,5 +2,5 @@\n   a:\n     modes: [full_refresh]\n     fields:\n\
             +      full_name: string\n       id: integer!\n-      name: string\n"
        );
    }
}
