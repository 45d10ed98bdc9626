//! How a stream's new name is written where a person wrote the old one.

use crate::model::{Catalog, StreamName};

/// A stream's new name.
#[derive(Debug, Clone)]
pub(super) struct NewName {
    name: StreamName,
    /// Whether its bare name means no other stream of the source.
    unique: bool,
}

impl NewName {
    pub fn of(name: &StreamName, whole: &Catalog) -> Self {
        let others = whole.streams.keys().filter(|other| other.name == name.name && *other != name);
        Self { name: name.clone(), unique: others.count() == 0 }
    }

    /// In the manner of the old one: a bare name stays bare where that is clear.
    pub fn written(&self, old: &StreamName) -> StreamName {
        match old.namespace {
            None if self.unique => StreamName::bare(&self.name.name),
            _ => self.name.clone(),
        }
    }

    /// Whether a name in a spec means this stream.
    pub fn is(&self, written: &StreamName) -> bool {
        *written == self.name || (self.unique && *written == StreamName::bare(&self.name.name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repair::chosen;
    use crate::repair::mapping::{StreamEdits, edit_mapping};
    use crate::repair::sample;
    use crate::repair::yaml::double;
    use crate::spec::{Selection, StreamChoice};

    const SPEC: &str = "\
# @ stays
kind: connection
streams:
  other: {cursor: '@'}
  # before it
  @:   # behind it
    cursor: updated_at

  last:
";
    const LIST: &str = "streams: [ other, @ , last ] # @\n";
    const MAPPING: &str = "\
entities:
  account: # @
    stream:   @  # the name
    key: id
    fields: {a: '@', stream: stream}
";

    fn scalar(text: &str, style: u8) -> String {
        let plain = text.chars().all(|c| c.is_ascii_lowercase() || c == '/') && text.len() > 5;
        match style {
            0 if plain => text.to_owned(),
            0 | 1 if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', "''")),
            _ => double(text),
        }
    }

    fn name() -> impl Strategy<Value = StreamName> {
        let part = || prop_oneof![".{1,6}", "[a-z]{3,8}", "[-\"':#{}\\[\\],&*!|>%@` \\\\a-z0-9./~]{1,6}"];
        let name = (prop::option::of(part()), part()).prop_map(|(namespace, name)| StreamName { namespace, name });
        name.prop_filter("not one of the others", |name| !["other", "last"].contains(&name.name.as_str()))
    }

    /// The line with the name alone differs, and around the name nothing.
    fn only_the_name(before: &str, after: &str, from: &str, to: &StreamName) -> Result<(), TestCaseError> {
        let (was, is): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
        prop_assert_eq!(was.len(), is.len());
        let changed: Vec<usize> = (0..was.len()).filter(|at| was[*at] != is[*at]).collect();
        let [at] = changed.as_slice() else { return Err(TestCaseError::fail(after.to_owned())) };
        let (head, tail) = was[*at].split_once(from).unwrap();
        let middle = is[*at].strip_prefix(head).and_then(|rest| rest.strip_suffix(tail));
        prop_assert!(middle.is_some(), "{:?} became {:?}", was[*at], is[*at]);
        let read: String = serde_yaml::from_str(middle.unwrap()).unwrap();
        prop_assert_eq!(&read.parse::<StreamName>().unwrap(), to);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_new_name_touches_nothing_but_the_old_one(from in name(), to in name(), style in 0u8..3, crlf in any::<bool>()) {
            prop_assume!(from != to && from.name != to.name);
            let old = scalar(&from.to_string(), style);
            let filled = |text: &str| {
                let text = ["  @:", ", @ ,", ":   @ "].iter().fold(text.to_owned(), |text, at| text.replace(at, &at.replace('@', &old)));
                if crlf { text.replace('\n', "\r\n") } else { text }
            };
            let new = NewName::of(&to, &Catalog::default());
            let expected = new.written(&from);
            let by_stream = vec![(from.clone(), StreamEdits { to: Some(new), ..StreamEdits::default() })];
            let mapping = filled(MAPPING);
            let edit = edit_mapping(&sample::mapping(&mapping), &by_stream);
            only_the_name(&mapping, &edit.text.expect("the mapping is edited"), &old, &expected)?;

            let mut connection = sample::connection(&sample::catalog("id integer!"), sample::mapping(&mapping));
            connection.streams = Selection::Listed([(from, StreamChoice::default())].into());
            for spec in [SPEC, LIST] {
                let (text, mut edits, mut notes) = (filled(spec), Vec::new(), Vec::new());
                chosen::edit(&connection, &text, &by_stream, &mut edits, &mut notes);
                prop_assert!(notes.is_empty(), "{:?} {}", notes, text);
                only_the_name(&text, edits[0].after.as_deref().unwrap(), &old, &expected)?;
            }
        }
    }
}
