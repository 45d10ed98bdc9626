//! The edits of a mapping file that a drift asks for: renamed streams and source fields in every place that uses them, and the
//! entries of canonical fields whose source is gone.

use crate::drift::{is_stream, uses};
use crate::model::{FieldPath, StreamName};
use crate::spec::{At, EntityMapping, MappingRule, MappingSpec};

use super::expr;
use super::streams::NewName;
use super::yaml::{self, Entry, Scalar, Step};

/// What changed in one stream, as far as a mapping cares.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamEdits {
    /// Its new name, if it goes by another one.
    pub to: Option<NewName>,
    /// Renames, outermost first.
    pub renames: Vec<(FieldPath, FieldPath)>,
    /// Fields that are gone, by their old names.
    pub removed: Vec<FieldPath>,
}

/// A mapping's new text, and what could not be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MappingEdit {
    /// The new text; `None` if nothing changes or the edit was refused.
    pub text: Option<String>,
    /// Canonical fields whose entries went, as `entity.field`.
    pub starved: Vec<String>,
    /// What a person must do by hand, in words.
    pub notes: Vec<String>,
}

/// Edits the mapping for the given streams.
pub(super) fn edit_mapping(mapping: &MappingSpec, streams: &[(StreamName, StreamEdits)]) -> MappingEdit {
    let mut plan =
        Plan { text: &mapping.text, scalars: Vec::new(), entries: Vec::new(), starved: Vec::new(), notes: Vec::new() };
    for entity in &mapping.entities {
        for (_, edits) in streams.iter().filter(|(name, _)| is_stream(&entity.stream.value, name)) {
            plan.entity(entity, edits);
        }
    }
    if plan.scalars.is_empty() && plan.entries.is_empty() {
        return MappingEdit { text: None, starved: Vec::new(), notes: plan.notes };
    }
    if let Some(text) = yaml::edit(&mapping.text, &plan.scalars, &plan.entries) {
        return MappingEdit { text: Some(text), starved: plan.starved, notes: plan.notes };
    }
    // Removals share lines with other things more often than renames do: keep the renames if they alone can be made.
    let text = yaml::edit(&mapping.text, &plan.scalars, &[]).filter(|text| **text != *mapping.text);
    for field in &plan.starved {
        plan.notes.push(format!("remove {field} by hand: its entry shares its lines with other entries"));
    }
    if text.is_none() && !plan.scalars.is_empty() {
        plan.notes
            .push("what was renamed could not be changed without touching other lines: change them by hand".to_owned());
    }
    MappingEdit { text, starved: Vec::new(), notes: plan.notes }
}

/// An expression's bytes in the file, quotes included, with the renames made inside them.
fn in_place(raw: &str, edits: &StreamEdits) -> Option<String> {
    let (head, inner, tail) = match raw.chars().next()? {
        quote @ ('\'' | '"') => {
            let inner = raw.strip_prefix(quote)?.strip_suffix(quote)?;
            (&raw[..1], inner, &raw[raw.len() - 1..])
        }
        _ => ("", raw, ""),
    };
    let renamed = expr::rename(inner, &edits.renames)?;
    (renamed != inner).then(|| format!("{head}{renamed}{tail}"))
}

struct Plan<'a> {
    text: &'a str,
    scalars: Vec<Scalar>,
    entries: Vec<Entry>,
    starved: Vec<String>,
    notes: Vec<String>,
}

impl Plan<'_> {
    fn entity(&mut self, entity: &EntityMapping, edits: &StreamEdits) {
        let name = &entity.entity.value;
        let at = |rest: &[&str]| {
            let keys = ["entities", name].into_iter().chain(rest.iter().copied());
            keys.map(|key| Step::Key(key.to_owned())).collect::<Vec<Step>>()
        };
        if let Some(new) = edits.to.as_ref().map(|to| to.written(&entity.stream.value))
            && new != entity.stream.value
        {
            let (old, new) = (entity.stream.value.to_string(), new.to_string());
            let (span, at) = (entity.stream.span.clone(), vec![at(&["stream"])]);
            self.add(Scalar { span, old, new, in_place: None, at, is_key: false });
        }
        for (nth, key) in entity.key.iter().enumerate() {
            if gone(&key.value, edits) {
                self.notes.push(format!("choose another key for {name}: {} is gone", key.value));
            }
            let mut place = at(&["key"]);
            place.push(Step::Item(nth));
            self.path(key, place, edits);
        }
        for mapped in &entity.fields {
            let target = &mapped.target.value;
            match &mapped.rule {
                MappingRule::Path(path) | MappingRule::From { from: path, .. } => {
                    if gone(&path.value, edits) {
                        self.entries.push(Entry { start: mapped.target.span.start, at: at(&["fields", target]) });
                        self.starved.push(format!("{name}.{target}"));
                        continue;
                    }
                    let mut place = at(&["fields", target]);
                    if matches!(mapped.rule, MappingRule::From { .. }) {
                        place.push(Step::Key("from".to_owned()));
                    }
                    self.path(path, place, edits);
                }
                MappingRule::Expr(expression) => {
                    if uses(&expression.value).iter().any(|used| gone(&used.path, edits)) {
                        self.entries.push(Entry { start: mapped.target.span.start, at: at(&["fields", target]) });
                        self.starved.push(format!("{name}.{target}"));
                        continue;
                    }
                    self.expression(expression, at(&["fields", target, "expr"]), edits, &format!("{name}.{target}"));
                }
            }
        }
        if let Some(expression) = &entity.deleted_when {
            if uses(&expression.value).iter().any(|used| gone(&used.path, edits)) {
                self.notes.push(format!(
                    "deleted_when of {name} reads a field that is gone: say anew when a record is deleted"
                ));
            } else {
                self.expression(expression, at(&["deleted_when"]), edits, &format!("deleted_when of {name}"));
            }
        }
    }

    fn path(&mut self, path: &At<FieldPath>, at: Vec<Step>, edits: &StreamEdits) {
        let new = crate::drift::renamed(&path.value, &edits.renames);
        if new != path.value {
            let (old, new) = (path.value.to_string(), new.to_string());
            self.add(Scalar { span: path.span.clone(), old, new, in_place: None, at: vec![at], is_key: false });
        }
    }

    fn expression(&mut self, expression: &At<String>, at: Vec<Step>, edits: &StreamEdits, what: &str) {
        match expr::rename(&expression.value, &edits.renames) {
            Some(new) if new == expression.value => {}
            Some(new) => self.add(Scalar {
                span: expression.span.clone(),
                old: expression.value.clone(),
                new,
                in_place: self.text.get(expression.span.clone()).and_then(|raw| in_place(raw, edits)),
                at: vec![at],
                is_key: false,
            }),
            None => self.notes.push(format!("change the expression of {what} by hand")),
        }
    }

    /// A node that is used again through an anchor is one edit in several places of the document.
    fn add(&mut self, scalar: Scalar) {
        match self.scalars.iter_mut().find(|other| other.span == scalar.span && other.new == scalar.new) {
            Some(same) => same.at.extend(scalar.at),
            None => self.scalars.push(scalar),
        }
    }
}

fn gone(path: &FieldPath, edits: &StreamEdits) -> bool {
    edits.removed.iter().any(|removed| path.is_within(removed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repair::sample;

    /// One line per way to name a field, with odd layout around it. `\u{1}` is where the path goes, `%` where a comment does.
    const TEMPLATE: &str = "\
kind: mapping # %
entities:
  # %
  account:
    stream: public/accounts
    key: [ id, \u{1} ]   # %
    fields:
      # a comment: with %
      a: \u{1}

      b:   {from: \u{1}, as: decimal,   default: '0'}  # %
      c:
        from: \u{1}

        values: {CA: west, '01': east}
      d: other
# %
";

    fn scalar(text: &str, style: u8) -> String {
        let plain = text.chars().all(|c| c.is_ascii_lowercase())
            && !["y", "n", "on", "no", "yes", "off", "null", "true"].contains(&text);
        match style {
            0 if plain => text.to_owned(),
            0 | 1 if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', "''")),
            _ => yaml::double(text),
        }
    }

    fn edits(from: &FieldPath, to: &FieldPath) -> Vec<(StreamName, StreamEdits)> {
        let renames = vec![(from.clone(), to.clone())];
        vec![("public/accounts".parse().unwrap(), StreamEdits { renames, ..StreamEdits::default() })]
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{1,8}",
            "[a-z]{1,8}",
            "[-\"':#{}\\[\\],&*!|>%@` \n\t\\\\a-z0-9.~]{1,8}",
            prop::sample::select(vec![
                "yes", "NO", "~", "null", "01", "1e3", "a: b", "a #b", "- x", "? y", "<<", "---", "\u{85}", "\u{2028}"
            ])
            .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_rename_changes_every_use_and_no_other_byte(
            from in name(), to in name(), inner in name(), style in 0u8..3, crlf in any::<bool>(),
            comments in prop::array::uniform6("[ !#-$&-~'\"äß]{0,20}")
        ) {
            prop_assume!(from != to && from != "other" && from != "id");
            let (from, to) = (FieldPath::top(from), FieldPath::top(to));
            let used = from.child(crate::model::Segment::Name(inner));
            let template = comments.iter().fold(TEMPLATE.to_owned(), |text, comment| text.replacen('%', comment, 1));
            let template = if crlf { template.replace('\n', "\r\n") } else { template };
            let text = template.replace('\u{1}', &scalar(&used.to_string(), style));
            let after = edit_mapping(&sample::mapping(&text), &edits(&from, &to)).text.expect("the edit is made");

            let renamed = used.rebased(&from, &to).unwrap().to_string();
            prop_assert_eq!(yaml::read(&after), yaml::read(&template.replace('\u{1}', &yaml::double(&renamed))));
            prop_assert_eq!(after.split('\n').count(), template.split('\n').count());
            for (of, is) in template.split('\n').zip(after.split('\n')) {
                let Some((head, tail)) = of.split_once('\u{1}') else {
                    prop_assert_eq!(of, is);
                    continue;
                };
                let around = is.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail));
                prop_assert!(around, "{:?} became {:?}", of, is);
            }
            let again = edit_mapping(&sample::mapping(&after), &edits(&from, &to));
            prop_assert_eq!(again, MappingEdit::default(), "a second time there is nothing to do");
        }
    }

    fn check(mapping: &str, renames: &[(&str, &str)], removed: &[&str]) -> String {
        let renames = renames.iter().map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).collect();
        let removed = removed.iter().map(|path| path.parse().unwrap()).collect();
        let streams = [("public/accounts".parse().unwrap(), StreamEdits { to: None, renames, removed })];
        let head = "kind: mapping\nentities:\n  account:\n    stream: accounts\n";
        let edit = edit_mapping(&sample::mapping(&format!("{head}{mapping}")), &streams);
        let text = edit.text.as_deref().map(|text| text.strip_prefix(head).unwrap());
        format!("{}starved: {:?}\nnotes: {:#?}", text.unwrap_or("unchanged\n"), edit.starved, edit.notes)
    }

    #[test]
    fn an_entry_whose_source_is_gone_goes_with_its_lines() {
        let mapping = "    fields:\n      a: x # first\n      # about b\n      b:\n        from: gone\n        as: decimal\n      c: gone.inner\n      d: y\n";
        insta::assert_snapshot!(check(mapping, &[], &["gone", "gone.inner"]), @r#"
            fields:
              a: x # first
              # about b
              d: y
        starved: ["account.b", "account.c"]
        notes: []
        "#);
    }

    #[test]
    fn an_entry_that_shares_its_line_is_left_to_a_person() {
        insta::assert_snapshot!(check("    fields: {a: gone, b: old}\n", &[("old", "new")], &["gone"]), @r#"
            fields: {a: gone, b: new}
        starved: []
        notes: [
            "remove account.a by hand: its entry shares its lines with other entries",
        ]
        "#);
    }

    #[test]
    fn a_key_or_deletion_rule_that_is_gone_is_left_to_a_person() {
        let mapping = "    key: gone\n    fields:\n      a: x\n    deleted_when: 'gone == 1'\n";
        insta::assert_snapshot!(check(mapping, &[], &["gone"]), @r#"
        unchanged
        starved: []
        notes: [
            "choose another key for account: gone is gone",
            "deleted_when of account reads a field that is gone: say anew when a record is deleted",
        ]
        "#);
    }

    #[test]
    fn expressions_keep_their_layout() {
        let mapping = "    fields:\n      a:\n        expr: |-\n          old ~ ' '\n          ~ other.old\n      b: {expr: \"old ~ \\\"x\\\"\"}\n      c: {expr: old + 1}\n    deleted_when: 'record[\"old\"] == 1'\n";
        insta::assert_snapshot!(check(mapping, &[("old", "new")], &[]), @r#"
            fields:
              a:
                expr: |-
                  new ~ ' '
                  ~ other.old
              b: {expr: "new ~ \"x\""}
              c: {expr: new + 1}
            deleted_when: 'record["new"] == 1'
        starved: []
        notes: []
        "#);
    }

    #[test]
    fn an_anchor_that_is_used_again_is_left_to_a_person() {
        let mapping = "    key: &k old\n    fields:\n      a: *k\n      b: old\n";
        insta::assert_snapshot!(check(mapping, &[("old", "new")], &[]), @r#"
        unchanged
        starved: []
        notes: [
            "what was renamed could not be changed without touching other lines: change them by hand",
        ]
        "#);
    }
}
