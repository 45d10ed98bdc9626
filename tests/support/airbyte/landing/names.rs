//! Names of tables and columns, as the two forms of the destination make them.

use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// PostgreSQL's limit.
const LIMIT: usize = 63;

/// ASCII letters, digits and `_`: accents go, a run of blanks is one `_`, everything else is `_` each.
fn clean(name: &str) -> String {
    let plain: String = name.nfkd().filter(|c| !is_combining_mark(*c)).collect();
    let mut cleaned = String::new();
    for (at, c) in plain.char_indices() {
        let follows_blank = plain[..at].ends_with(char::is_whitespace);
        match c {
            c if c.is_ascii_alphanumeric() => cleaned.push(c),
            c if c.is_whitespace() && follows_blank => {}
            _ => cleaned.push('_'),
        }
    }
    cleaned
}

/// 2.x cuts, 3.x puts `_` before a digit and a hash behind what it cuts.
pub fn identifier(name: &str, is_direct: bool) -> String {
    let mut cleaned = clean(name);
    if !is_direct {
        return cut(&cleaned);
    }
    if cleaned.starts_with(|c: char| c.is_ascii_digit()) {
        cleaned.insert(0, '_');
    }
    if cleaned.len() <= LIMIT {
        return cleaned;
    }
    // Java's `hashCode`
    let hash =
        cleaned.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte))).to_string();
    format!("{}_{}", &cleaned[..54], &hash[hash.len().saturating_sub(8)..])
}

/// The first 63 characters of a cleaned name.
pub fn cut(name: &str) -> String {
    name.chars().take(LIMIT).collect()
}

/// `public_raw__stream_users`: between the parts one underscore more than the longest run in the names, two at least.
fn raw(namespace: &str, name: &str) -> String {
    let both = format!("{namespace}{name}");
    let run = both.split(|c| c != '_').map(str::len).max().unwrap_or(0).max(1);
    format!("{namespace}_raw{}stream_{name}", "_".repeat(run + 1))
}

/// The raw table of 2.x.
pub fn raw_table(namespace: &str, name: &str) -> String {
    cut(&clean(&raw(namespace, name)).to_lowercase())
}

/// The temporary table of 3.x, beside the real one.
pub fn temporary(schema: &str, table: &str) -> String {
    let ends = |name: &str| match name.len() {
        0..=16 => name.to_owned(),
        length => format!("{}{}", &name[..8], &name[length - 8..]),
    };
    let digest = hex::encode(Sha256::digest(raw(schema, &format!("{table}_airbyte_tmp"))));
    cut(&format!("{}{}{}", ends(schema), ends(table), &digest[..32]))
}
