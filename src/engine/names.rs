//! Names of landing tables and columns, as Airbyte's PostgreSQL destination makes them.

use std::collections::BTreeSet;

use sha1::{Digest, Sha1};
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;

use crate::connector::postgres::ident;
use crate::drift::radius::{Table, Tables};
use crate::model::{Catalog, StreamName};
use crate::spec::{Config, ConfigValue};

/// PostgreSQL's limit on identifiers.
const LIMIT: usize = 63;

/// The four meta columns with their types; no field's column has one of these names.
pub const META: [(&str, &str); 4] = [
    ("_airbyte_raw_id", "character varying"),
    ("_airbyte_extracted_at", "timestamp with time zone"),
    ("_airbyte_meta", "jsonb"),
    ("_airbyte_generation_id", "bigint"),
];

/// A table of a destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

impl TableName {
    /// Quoted, with its schema.
    pub fn sql(&self) -> String {
        format!("{}.{}", ident(&self.schema), ident(&self.name))
    }
}

/// How a version of the destination makes identifiers out of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// 2.x: what is too long is cut.
    Cut,
    /// 3.x: `_` before a leading digit, and a hash behind what is cut. The embedded engine does the same.
    Hashed,
}

impl Naming {
    /// A cleaned and shortened name; never empty.
    pub fn identifier(self, name: &str) -> String {
        let mut cleaned = clean(name);
        if cleaned.is_empty() {
            cleaned.push('_');
        }
        match self {
            Self::Cut => cleaned.truncate(LIMIT),
            Self::Hashed => {
                if cleaned.starts_with(|c: char| c.is_ascii_digit()) {
                    cleaned.insert(0, '_');
                }
                if cleaned.len() > LIMIT {
                    let hash = java_hash(&cleaned).to_string();
                    let tail = &hash[hash.len().saturating_sub(8)..];
                    cleaned = format!("{}_{tail}", &cleaned[..LIMIT - 9]);
                }
            }
        }
        cleaned
    }

    /// The table in which a stream's typed rows are.
    pub fn table(self, schema: &str, name: &str) -> TableName {
        TableName { schema: self.identifier(schema), name: self.identifier(name) }
    }

    /// The table in which a stream's rows are kept as JSON, in the destination's schema for such tables.
    pub fn raw_table(self, internal: &str, schema: &str, name: &str) -> TableName {
        self.table(&internal.to_lowercase(), &raw_name(schema, name).to_lowercase())
    }

    /// The columns of these fields, in the schema's order, on which a later field's name depends where two are alike. None
    /// is that of another or of a meta column.
    pub fn columns<'a>(self, fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let mut taken: BTreeSet<String> = META.map(|(name, _)| name.to_owned()).into();
        fields
            .into_iter()
            .map(|field| {
                let name = self.identifier(field);
                let numbered = (1_u32..).map(|n| match self.identifier(&format!("{field}_{n}")) {
                    // the number was cut off
                    same if same == name => self.identifier(&middle_counted(field, n)),
                    other => other,
                });
                let mut candidates = std::iter::once(name.clone()).chain(numbered);
                candidates.find(|candidate| taken.insert(candidate.clone())).expect("numbers do not end")
            })
            .collect()
    }
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
    out
}

/// Java's `String.hashCode`, by whose last eight characters Airbyte tells cut names apart.
fn java_hash(name: &str) -> i32 {
    name.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// A long name with its middle replaced by the middle's length. Airbyte has this one only and fails where that is taken,
/// too; we then go on with numbers.
fn middle_counted(name: &str, n: u32) -> String {
    const KEPT: usize = (LIMIT - 5) / 2;
    let chars: Vec<char> = name.chars().collect();
    let between = chars.len().saturating_sub(2 * KEPT) + n as usize - 1;
    let (head, tail) = (&chars[..KEPT.min(chars.len())], &chars[chars.len().saturating_sub(KEPT)..]);
    format!("{}{between}{}", String::from_iter(head), String::from_iter(tail))
}

/// The tables of streams given as (schema as asked, name), in the catalog's order; `of` names all tables that a stream
/// would have alone. A later stream of which one is taken gets a suffix made of its name.
pub fn apart<const N: usize>(
    streams: &[(String, String)],
    of: impl Fn(&str, &str) -> [TableName; N],
) -> Vec<[TableName; N]> {
    let mut taken = BTreeSet::new();
    streams
        .iter()
        .map(|(schema, name)| {
            let alone = of(schema, name);
            let digest = hex::encode(Sha1::digest(format!("{}&airbyte&{name}", alone[0].schema)));
            let hashed = of(schema, &format!("{name}_{}", &digest[..3]));
            // beyond these two Airbyte mixes the streams up; nobody else's table is better than the wrong one
            let numbered = (1..).map(|n| of(schema, &format!("{name}_{n}")));
            let mut candidates = [alone, hashed].into_iter().chain(numbered);
            let free = candidates.find(|tables| !tables.iter().any(|t| taken.contains(t))).expect("numbers do not end");
            taken.extend(free.iter().cloned());
            free
        })
        .collect()
}

/// The tables of a catalog's streams with the columns of their fields, for people; `handed_over` gives the schema of a stream,
/// if that is known, and its name.
pub fn told(catalog: &Catalog, handed_over: impl Fn(&StreamName) -> (Option<String>, String)) -> Tables {
    let streams: Vec<_> = catalog.streams.keys().map(handed_over).collect();
    let asked: Vec<_> =
        streams.iter().map(|(schema, name)| (schema.clone().unwrap_or_default(), name.clone())).collect();
    let tables = apart(&asked, |schema, name| [Naming::Hashed.table(schema, name)]);
    let mut told = Tables::new();
    for (((name, stream), (schema, _)), [table]) in catalog.streams.iter().zip(&streams).zip(tables) {
        let fields: Vec<&str> = stream.columns().into_iter().map(|(path, _)| path.root()).collect();
        let columns = Naming::Hashed.columns(fields.iter().copied());
        let columns = fields.into_iter().map(str::to_owned).zip(columns).collect();
        let shown = if schema.is_some() { format!("{}.{}", table.schema, table.name) } else { table.name };
        told.insert(name.clone(), Table { name: shown, columns });
    }
    told
}

/// A setting of a spec: as it stands there, or else the default; `None` where a secret is part of it.
pub fn setting<'a>(config: &'a Config, key: &str, default: &'a str) -> Option<&'a str> {
    match config.get(key) {
        None | Some(ConfigValue::Null) => Some(default),
        Some(ConfigValue::Plain(text) | ConfigValue::Text(text)) => Some(if text.is_empty() { default } else { text }),
        Some(ConfigValue::Template(_) | ConfigValue::List(_) | ConfigValue::Map(_)) => None,
    }
}

/// Where 3.x builds a table before it takes the place of the real one; a reader can compute it, too.
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
    use super::Naming::{Cut, Hashed};
    use super::*;

    #[test]
    fn names_are_cleaned_as_airbyte_cleans_them() {
        let long = "a".repeat(70);
        let names = ["Id", "Straße é", "a \t b", "日本", "2024", "a\"b", "", long.as_str()];
        let shown: Vec<String> = names.iter().map(|n| format!("{n:?} -> {}", Hashed.identifier(n))).collect();
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
    fn the_older_version_keeps_a_leading_digit_and_cuts_at_63() {
        assert_eq!(Cut.identifier("2024 q1"), "2024_q1");
        assert_eq!(Cut.identifier(&"a".repeat(70)), "a".repeat(63));
    }

    /// A negative hash of fewer than nine characters shows its sign, as Java's does.
    #[test]
    fn the_hash_is_javas_and_may_show_its_sign() {
        assert_eq!(java_hash("hello"), 99_162_322);
        let long =
            (0..9999).map(|n| format!("t{n}{}", "s".repeat(70))).find(|name| Hashed.identifier(name).contains('-'));
        let short = Hashed.identifier(&long.unwrap());
        assert!(short.len() == 63 && short.as_bytes()[55] == b'-', "{short}");
    }

    #[test]
    fn colliding_columns_stay_apart() {
        let long = format!("{}{}", "x".repeat(54), "é".repeat(20));
        let (one, other) = (format!("{long}_at"), format!("{long}_by"));
        let names = ["a b", "a_b", "a-b", "Id", "id", "_airbyte_meta", one.as_str(), other.as_str(), long.as_str()];
        insta::assert_snapshot!(Hashed.columns(names).join("\n"), @"
        a_b
        a_b_1
        a_b_2
        Id
        id
        _airbyte_meta_1
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_01805934
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_01805898
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_16366400
        ");
        insta::assert_snapshot!(Cut.columns(names).join("\n"), @"
        a_b
        a_b_1
        a_b_2
        Id
        id
        _airbyte_meta_1
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxeeeeeeeee
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxx19xxxxxxeeeeeeeeeeeeeeeeeeee_by
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxx16xxxxxxxxxeeeeeeeeeeeeeeeeeeee
        ");
    }

    #[test]
    fn colliding_tables_stay_apart_in_the_catalogs_order() {
        let pair = |n: &str| ("public".to_owned(), n.to_owned());
        let streams = ["a b", "a_b", "a-b"].map(pair);
        let tables = apart(&streams, |schema, name| [Hashed.table(schema, name)]);
        let names: Vec<String> = tables.into_iter().map(|[table]| table.name).collect();
        insta::assert_snapshot!(names.join("\n"), @r#"
        a_b
        a_b_e10
        a_b_010
        "#);
    }

    #[test]
    fn temporary_and_raw_names() {
        let table = TableName { schema: "s".repeat(63), name: "t".repeat(63) };
        assert_eq!(temporary(&table).name.len(), 63);
        let raw = |schema, name| Cut.raw_table("Airbyte_Internal", schema, name).sql();
        insta::assert_snapshot!(format!("{}\n{}", raw("public", "Users"), raw("my__ns", "x")), @r#"
        "airbyte_internal"."public_raw__stream_users"
        "airbyte_internal"."my__ns_raw___stream_x"
        "#);
    }
}
