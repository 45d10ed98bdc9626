//! Paths to fields, also inside objects (`address.city`), arrays (`tags[]`) and maps (`labels{}`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A field by its name.
    Name(String),
    /// Every item of an array.
    Items,
    /// Every value of a map.
    Values,
}

/// Where a field lies in a record. Its text form is `a.b`, `tags[]`, `labels{}.value`, `"weird.name"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

/// A text that is no field path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field path {given:?}: {why}")]
pub struct PathError {
    /// The text as given.
    pub given: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FieldPath {
    /// A top-level field.
    pub fn top(name: impl Into<String>) -> Self {
        Self(vec![Segment::Name(name.into())])
    }

    /// A path from its segments; the first must be a name.
    pub fn from_segments(segments: Vec<Segment>) -> Option<Self> {
        matches!(segments.first(), Some(Segment::Name(_))).then_some(Self(segments))
    }

    /// The steps, from the record inwards; never empty.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This path with one more step.
    pub fn child(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The path one step further out, unless this is a top-level field.
    pub fn parent(&self) -> Option<Self> {
        (self.0.len() > 1).then(|| Self(self.0[..self.0.len() - 1].to_vec()))
    }

    /// The name of the top-level field that this path lies in.
    pub fn root(&self) -> &str {
        match &self.0[0] {
            Segment::Name(name) => name,
            Segment::Items | Segment::Values => unreachable!("a path starts with a name"),
        }
    }

    /// The last name on the path.
    pub fn leaf(&self) -> &str {
        self.0
            .iter()
            .rev()
            .find_map(|s| if let Segment::Name(name) = s { Some(name.as_str()) } else { None })
            .unwrap_or_default()
    }

    /// Whether this path is `outer` or lies inside it.
    pub fn is_within(&self, outer: &FieldPath) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// This path with its beginning `from` replaced by `to`.
    pub fn rebased(&self, from: &FieldPath, to: &FieldPath) -> Option<Self> {
        let rest = self.0.strip_prefix(from.0.as_slice())?;
        Some(Self(to.0.iter().chain(rest).cloned().collect()))
    }
}

/// Quotes a name if it holds anything but letters, digits, `_`, `-`, `$`, `@` or inner blanks.
pub fn quote_name(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@' | ' ');
    if !name.is_empty() && name.chars().all(plain) && name.trim() == name {
        return name.to_owned();
    }
    let mut quoted = String::from('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Splits at `separator` outside quotes and takes the quotes away; `None` for an unclosed quote or a bad escape.
pub fn split_quoted(text: &str, separator: char) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let part = parts.last_mut().expect("parts begins with one element");
        if c == separator {
            parts.push(String::new());
        } else if c == '"' {
            read_quoted(&mut chars, part)?;
        } else {
            part.push(c);
        }
    }
    Some(parts)
}

/// Reads up to the closing quote; the opening one is taken already.
fn read_quoted(chars: &mut std::str::Chars<'_>, into: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '"' => return Some(()),
            '\\' => match chars.next()? {
                'u' => {
                    if chars.next()? != '{' {
                        return None;
                    }
                    let digits: String = chars.by_ref().take_while(|c| *c != '}').collect();
                    into.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                c => into.push(c),
            },
            c => into.push(c),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Name(name) => {
                    if i > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(&quote_name(name))?;
                }
                Segment::Items => f.write_str("[]")?,
                Segment::Values => f.write_str("{}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for FieldPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let wrong = |why| PathError { given: text.to_owned(), why };
        // Nearly all paths have one segment, and a lock keeps thousands of them.
        let mut segments = Vec::with_capacity(1);
        let mut chars = text.chars();
        let mut name = String::new();
        let mut named = false; // a name has begun (a quoted one may be empty)
        let mut after_marker = false;
        while let Some(c) = chars.next() {
            match c {
                '"' if !named => {
                    if after_marker {
                        return Err(wrong("needs a `.` between `[]` or `{}` and the next name"));
                    }
                    read_quoted(&mut chars, &mut name).ok_or(wrong("has a quote that is not closed"))?;
                    named = true;
                }
                '.' => {
                    if named {
                        segments.push(Segment::Name(std::mem::take(&mut name)));
                    } else if !after_marker {
                        return Err(wrong("has an empty part"));
                    }
                    (named, after_marker) = (false, false);
                    if chars.as_str().is_empty() {
                        return Err(wrong("ends with a dot"));
                    }
                }
                '[' | '{' => {
                    let (close, segment) = if c == '[' { (']', Segment::Items) } else { ('}', Segment::Values) };
                    if chars.next() != Some(close) {
                        return Err(wrong("has a bracket that is neither `[]` nor `{}`"));
                    }
                    if named {
                        segments.push(Segment::Name(std::mem::take(&mut name)));
                    }
                    if segments.is_empty() {
                        return Err(wrong("must begin with a name"));
                    }
                    segments.push(segment);
                    (named, after_marker) = (false, true);
                }
                c => {
                    if after_marker {
                        return Err(wrong("needs a `.` between `[]` or `{}` and the next name"));
                    }
                    name.push(c);
                    named = true;
                }
            }
        }
        if named {
            segments.push(Segment::Name(name));
        }
        Self::from_segments(segments).ok_or(wrong("is empty"))
    }
}

impl Serialize for FieldPath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_read_as_written() {
        for text in
            ["id", "address.city", "tags[]", "orders[].lines[].sku", "labels{}", "labels{}.a", "\"a.b\".c", "x[][]"]
        {
            assert_eq!(text.parse::<FieldPath>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_paths_say_why() {
        for text in ["", ".", "a.", "a..b", "[]", "a[1]", "a[]b", "\"a"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text} was taken");
        }
    }

    proptest! {
        #[test]
        fn any_name_survives_as_path_and_as_stream(name in ".{1,12}", other in ".{1,12}") {
            let path = FieldPath::top(name.clone()).child(Segment::Items).child(Segment::Name(other.clone()));
            prop_assert_eq!(path.to_string().parse::<FieldPath>().unwrap(), path);
            let stream = super::super::StreamName::within(name, other);
            prop_assert_eq!(stream.to_string().parse::<super::super::StreamName>().unwrap(), stream);
        }
    }
}
