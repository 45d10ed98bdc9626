//! Names of files and of variables, made from names that other people chose: safe, and no two alike.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use super::Files;
use crate::model::{ConnectionRef, DEFAULT_TENANT, RepoPath, TenantId};
use crate::spec::{airbyte_id_of, names::spec_path};

/// The longest part that a display name gives; more is no name any more.
const LONGEST: usize = 60;

/// Which names are taken, and by what.
pub(super) struct Names {
    adopted: BTreeMap<Uuid, RepoPath>,
    /// In lower case: files that differ in case only are one file on some machines.
    taken: BTreeSet<String>,
    variables: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(files: &Files) -> Self {
        let adopted = files.iter().filter_map(|(path, bytes)| {
            let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains("airbyte"))?;
            Some((airbyte_id_of(path, text)?, path.clone()))
        });
        // A lock without its spec is what an import that was stopped left behind: its name is free.
        let specs = files.keys().filter(|path| !path.as_str().ends_with(".lock.yaml"));
        Self {
            adopted: adopted.collect(),
            taken: specs.map(|path| path.as_str().to_lowercase()).collect(),
            variables: files.values().filter_map(|bytes| std::str::from_utf8(bytes).ok()).flat_map(variables).collect(),
        }
    }

    /// The file that adopts this object already.
    pub(super) fn path_of(&self, id: Uuid) -> Option<&RepoPath> {
        self.adopted.get(&id)
    }

    /// A free name for an object; where another has it, the kind and then the id tell them apart.
    pub(super) fn take(&mut self, tenant: &TenantId, display: &str, kind: &str, id: Uuid) -> ConnectionRef {
        let slug = slug(display);
        let short = &id.simple().to_string()[..8];
        let candidates = [slug.clone(), format!("{slug}-{kind}"), format!("{slug}-{short}"), format!("{slug}-{id}")];
        let mut names = candidates
            .iter()
            .filter(|name| !name.ends_with('-'))
            .map(|name| ConnectionRef { tenant: tenant.clone(), name: name.clone() });
        let free = |name: &ConnectionRef| !self.taken.contains(&spec_path(name).as_str().to_lowercase());
        let name = names.find(free).unwrap_or_else(|| ConnectionRef { tenant: tenant.clone(), name: id.to_string() });
        self.taken.insert(spec_path(&name).as_str().to_lowercase());
        name
    }

    /// A variable for a place in the settings of a source or destination.
    pub(super) fn variable(&mut self, name: &ConnectionRef, place: &[String]) -> String {
        let tenant = Some(name.tenant.as_str()).filter(|tenant| *tenant != DEFAULT_TENANT);
        let words = tenant.into_iter().chain([name.name.as_str()]).chain(place.iter().map(String::as_str));
        let mut variable = String::from("AIRBYTE");
        for word in words {
            let word: String = word.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            variable.push('_');
            variable.push_str(&word.to_ascii_uppercase());
        }
        let mut free = variable.clone();
        let mut number = 2;
        while !self.variables.insert(free.clone()) {
            free = format!("{variable}_{number}");
            number += 1;
        }
        free
    }
}

/// The variables that a file refers to.
fn variables(text: &str) -> impl Iterator<Item = String> {
    text.split("${env:").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned())
}

/// `CRM → Warehouse` as `crm-warehouse`: a file name everywhere.
fn slug(display: &str) -> String {
    let mut slug = String::new();
    for c in display.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)) {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' && !slug.is_empty() => slug.push(c.to_ascii_lowercase()),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() == LONGEST {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "unnamed".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_a_file_name() {
        let long = "x".repeat(300);
        let all =
            ["CRM → Warehouse", "Käse", "../../etc/passwd", "a\nb", "${env:HOME}", "'\"", "", ".lock", "__", &long];
        insta::assert_snapshot!(all.map(slug).join("\n"), @"
        crm-warehouse
        kase
        etc-passwd
        a-b
        env-home
        unnamed
        unnamed
        lock
        unnamed
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        ");
        for name in all.map(slug) {
            ConnectionRef::new(TenantId::default(), &name).unwrap();
        }
    }
}
