//! PostgreSQL's COPY text form, in which rows travel from a connector to landing: one line per row, `\N` for null.
//!
//! A row that came out of one server goes into the other without being taken apart.

use crate::model::FieldType;

/// The null field.
pub const NULL: &[u8] = b"\\N";

/// Whether landing keeps values of this type as JSON.
pub fn is_json(ty: &FieldType) -> bool {
    matches!(ty, FieldType::Object | FieldType::Array | FieldType::Map | FieldType::Any | FieldType::Union(_))
}

/// Appends a field's text, escaped. U+0000, which PostgreSQL cannot hold, is left out, as Airbyte does.
pub fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut from = 0;
    for (i, byte) in text.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'\\' => b"\\\\",
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            0 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text[from..i]);
        out.extend_from_slice(escape);
        from = i + 1;
    }
    out.extend_from_slice(&text[from..]);
}

/// A field's text, or `None` for null. Knows the escapes that a server writes.
pub fn unescape(field: &[u8]) -> Option<String> {
    if field == NULL {
        return None;
    }
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'v') => 11,
            Some(&other) => other,
            None => b'\\',
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Splits the last `count` fields off a line without its line break: the rest, and those fields in order.
pub fn split_last(line: &[u8], count: usize) -> (&[u8], Vec<&[u8]>) {
    let mut fields = Vec::with_capacity(count);
    let mut rest = line;
    for _ in 0..count {
        let at = rest.iter().rposition(|b| *b == b'\t');
        fields.push(&rest[at.map_or(0, |at| at + 1)..]);
        rest = &rest[..at.unwrap_or(0)];
    }
    fields.reverse();
    (rest, fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_fields_come_off() {
        let (rest, last) = split_last(b"a\tb\\tc\t7\t\\N", 2);
        assert_eq!((rest, last), (&b"a\tb\\tc"[..], vec![&b"7"[..], NULL]));
        assert_eq!(split_last(b"7", 1), (&b""[..], vec![&b"7"[..]]));
    }

    proptest! {
        #[test]
        fn text_survives_on_one_line(text in "(?s)[^\0]*") {
            let mut out = Vec::new();
            push_escaped(&mut out, text.as_bytes());
            prop_assert!(!out.contains(&b'\n') && !out.contains(&b'\t'));
            prop_assert_eq!(unescape(&out), Some(text));
        }
    }
}
