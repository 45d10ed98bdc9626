//! What a person's edit of the stream choices means for the lock.

use std::collections::BTreeMap;

use crate::model::Catalog;

use super::select::{carried, find};
use super::{FieldSelection, SelectProblem, Selection};

/// The lock's catalog after an edit of the spec, if it differs: streams that are listed no more go, newly listed ones and
/// fields that `include` newly names come from what the source showed last. Everything else stays as approved, however
/// the source looks now. A listed stream that neither the lock nor the source has is a problem; before the first look
/// (`whole` is `None`) it just waits.
pub fn reselect(
    lock: &Catalog,
    whole: Option<&Catalog>,
    selection: &Selection,
) -> Result<Option<Catalog>, Vec<SelectProblem>> {
    let Selection::Listed(listed) = selection else { return Ok(None) };
    let mut streams = BTreeMap::new();
    let mut problems = Vec::new();
    for (asked, choice) in listed {
        let seen = whole.map(|whole| find(whole, asked).map(|name| (name, &whole.streams[name])));
        match (find(lock, asked), seen) {
            (Ok(name), seen) => {
                let mut stream = carried(&lock.streams[name], &choice.fields);
                if let (FieldSelection::Include(names), Some(Ok((_, now)))) = (&choice.fields, seen) {
                    let missing =
                        names.iter().filter(|name| !stream.fields.keys().any(|path| path.root() == name.as_str()));
                    let missing: Vec<&String> = missing.collect();
                    let added =
                        now.fields.iter().filter(|(path, _)| missing.iter().any(|name| path.root() == name.as_str()));
                    stream.fields.extend(added.map(|(path, field)| (path.clone(), field.clone())));
                }
                streams.insert(name.clone(), stream);
            }
            (Err(_), Some(Ok((name, now)))) => {
                streams.insert(name.clone(), carried(now, &choice.fields));
            }
            (Err(problem), None) if problem.unlocked => {}
            (Err(problem), None) | (Err(_), Some(Err(problem))) => problems.push(*problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let edited = Catalog { streams };
    Ok((edited.fingerprint() != lock.fingerprint()).then_some(edited))
}

/// Problems of choices as one sentence, for a status.
pub fn describe_problems(problems: &[SelectProblem]) -> String {
    let say = |p: &SelectProblem| match &p.help {
        Some(help) => format!("{} ({help})", p.message),
        None => p.message.clone(),
    };
    problems.iter().map(say).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::StreamName;
    use crate::spec::StreamChoice;

    fn catalog(body: &serde_json::Value) -> Catalog {
        Catalog::from_body(body).unwrap()
    }

    fn check(listed: &[(&str, FieldSelection)]) -> String {
        let lock = catalog(&serde_json::json!({
            "public/accounts": {"modes": ["full_refresh"], "fields": {"id": "integer!", "old": "string"}},
            "public/contacts": {"modes": ["full_refresh"], "fields": {"id": "integer!"}}}));
        let source = catalog(&serde_json::json!({
            "public/accounts": {"modes": ["full_refresh"], "fields": {"id": "integer!", "new": "string"}},
            "public/orders": {"modes": ["full_refresh"], "fields": {"id": "integer!"}}}));
        let choice = |fields: &FieldSelection| StreamChoice { fields: fields.clone(), ..StreamChoice::default() };
        let listed =
            listed.iter().map(|(name, fields)| (name.parse::<StreamName>().unwrap(), choice(fields))).collect();
        match reselect(&lock, Some(&source), &Selection::Listed(listed)) {
            Ok(None) => "as it is".into(),
            Ok(Some(edited)) => edited
                .streams
                .iter()
                .map(|(n, s)| {
                    format!("{n}({})", s.fields.keys().map(ToString::to_string).collect::<Vec<_>>().join(","))
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(problems) => describe_problems(&problems),
        }
    }

    #[test]
    fn only_the_edit_changes_the_lock_not_the_drift_beside_it() {
        let include =
            |names: &[&str]| FieldSelection::Include(names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>());
        assert_eq!(check(&[("accounts", FieldSelection::All), ("contacts", FieldSelection::All)]), "as it is");
        assert_eq!(check(&[("accounts", FieldSelection::All)]), "public/accounts(id,old)");
        assert_eq!(
            check(&[
                ("accounts", FieldSelection::All),
                ("contacts", FieldSelection::All),
                ("orders", FieldSelection::All)
            ]),
            "public/accounts(id,old) public/contacts(id) public/orders(id)"
        );
        assert_eq!(check(&[("accounts", include(&["id", "new"]))]), "public/accounts(id,new)");
        assert!(check(&[("nothing", FieldSelection::All)]).contains("the source has no stream `nothing`"));
    }
}
