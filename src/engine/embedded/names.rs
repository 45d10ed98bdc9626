//! Names of landing tables and columns, as Airbyte's PostgreSQL destination (3.x) makes them.

use std::collections::BTreeSet;

use sha1::{Digest, Sha1};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;

/// PostgreSQL's limit on identifiers.
const LIMIT: usize = 63;

/// A table of a destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// ASCII letters, digits and `_` only: accents are taken off, a run of blanks becomes one `_`, anything else `_`.
fn clean(name: &str) -> String {
    let mut out = String::new();
    let mut blank = false;
    for c in name.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)) {
        if c.is_whitespace() {
            if !blank {
                out.push('_');
            }
        } else if c.is_ascii_alphanumeric() {
            out.push(c);
        } else {
            out.push('_');
        }
        blank = c.is_whitespace();
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

/// Java's `String.hashCode`, by whose last eight characters Airbyte tells cut names apart.
fn java_hash(name: &str) -> i32 {
    name.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Cuts a cleaned name at 63 characters so that different names stay different.
fn shorten(name: &str) -> String {
    if name.len() <= LIMIT {
        return name.to_owned();
    }
    let hash = java_hash(name).to_string();
    let tail = &hash[hash.len().saturating_sub(8)..];
    format!("{}_{tail}", &name[..LIMIT - 9])
}

/// A cleaned and shortened name; never empty.
pub fn identifier(name: &str) -> String {
    let cleaned = clean(name);
    shorten(if cleaned.is_empty() { "_" } else { &cleaned })
}

/// The tables of streams given as (schema as asked, name), in the catalog's order. A later stream whose table is taken
/// gets a suffix made of its name.
pub fn tables(streams: &[(String, String)]) -> Vec<TableName> {
    let mut taken = BTreeSet::new();
    streams
        .iter()
        .map(|(schema, name)| {
            let schema = identifier(schema);
            let mut table = TableName { schema: schema.clone(), name: identifier(name) };
            if taken.contains(&table) {
                let digest = hex::encode(Sha1::digest(format!("{schema}&airbyte&{name}")));
                table.name = identifier(&format!("{name}_{}", &digest[..3]));
            }
            for n in 1.. {
                if taken.insert(table.clone()) {
                    break;
                }
                table.name = identifier(&format!("{name}_{n}"));
            }
            table
        })
        .collect()
}

/// The columns of these fields, in the schema's order; none collides with another or with a meta column.
pub fn columns<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken: BTreeSet<String> = super::table::META.iter().map(|(name, _)| (*name).to_owned()).collect();
    fields
        .into_iter()
        .map(|field| {
            let name = identifier(field);
            let mut column = name.clone();
            for n in 1_u32.. {
                if taken.insert(column.clone()) {
                    break;
                }
                column = numbered(&name, n);
            }
            column
        })
        .collect()
}

/// `name_n`, or, where that is too long, the number in place of the middle.
fn numbered(name: &str, n: u32) -> String {
    let whole = format!("{name}_{n}");
    if whole.len() <= LIMIT {
        return whole;
    }
    let number = n.to_string();
    let keep = LIMIT - number.len() - 9;
    format!("{}{number}{}", &name[..keep], &name[name.len() - 9..])
}

/// Where a table is built before it takes the place of the real one; a reader can compute it, too.
pub fn temporary(table: &TableName) -> TableName {
    let ends = |name: &str| {
        if name.len() <= 16 { name.to_owned() } else { format!("{}{}", &name[..8], &name[name.len() - 8..]) }
    };
    let name = format!("{}_airbyte_tmp", table.name);
    let digest = hex::encode(Sha256::digest(raw_name(&table.schema, &name).as_bytes()));
    let short = format!("{}{}", ends(&table.schema), ends(&table.name));
    // 16 + 16 + 32 may be one too many
    TableName {
        schema: table.schema.clone(),
        name: format!("{}{}", &short[..short.len().min(LIMIT - 32)], &digest[..32]),
    }
}

/// Airbyte's name for the raw table of a stream: one more `_` than the longest run inside the names.
fn raw_name(schema: &str, name: &str) -> String {
    let longest = format!("{schema}{name}").split(|c| c != '_').map(str::len).max().unwrap_or(0).max(1);
    format!("{schema}_raw{}stream_{name}", "_".repeat(longest + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_as_airbyte_cleans_them() {
        let long = "a".repeat(70);
        let names = ["Id", "Straße é", "a \t b", "日本", "2024", "a\"b", "", long.as_str()];
        let shown: Vec<String> = names.iter().map(|n| format!("{n:?} -> {}", identifier(n))).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        "Id" -> Id
        "Straße é" -> Stra_e_e
        "a \t b" -> a_b
        "日本" -> __
        "2024" -> _2024
        "a\"b" -> a_b
        "" -> _
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" -> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_20717984
        "#);
    }

    #[test]
    fn colliding_names_stay_apart() {
        let long = format!("{}{}", "x".repeat(54), "é".repeat(20));
        let names = ["a b", "a_b", "a-b", "_airbyte_meta", long.as_str(), long.as_str()];
        insta::assert_snapshot!(columns(names).join("\n"), @r#"
        a_b
        a_b_1
        a_b_2
        _airbyte_meta_1
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_16366400
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1_16366400
        "#);
        let pair = |n: &str| ("public".to_owned(), n.to_owned());
        let tables: Vec<String> =
            tables(&[pair("a b"), pair("a_b"), pair("a-b")]).into_iter().map(|t| t.name).collect();
        insta::assert_snapshot!(tables.join("\n"), @r#"
        a_b
        a_b_e10
        a_b_010
        "#);
    }

    #[test]
    fn the_hash_is_javas() {
        assert_eq!(java_hash("hello"), 99_162_322);
    }

    #[test]
    fn temporary_names_fit() {
        let table = TableName { schema: "s".repeat(63), name: "t".repeat(63) };
        assert_eq!(temporary(&table).name.len(), 63);
        assert_eq!(raw_name("my__ns", "x"), "my__ns_raw___stream_x");
    }
}
