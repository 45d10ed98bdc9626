//! Who may approve what: rules of the settings, held against whoever approved.

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};

use crate::drift::Severity;
use crate::model::{RepoPath, TenantId};

/// How what a rule takes in gets to the tracked branch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// `aam` commits it.
    #[default]
    Commit,
    /// A request that the forge merges by itself.
    Request,
}

/// Who may approve the drifts that it is about. What is left out narrows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalRule {
    /// Tenants that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Globs over the spec, the lock and the mapping; one that fits is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The least severity that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Who may: globs over mails, `rule:NAME` for what `aam` took in by itself, or `forge:LOGIN`, literally. One that fits
    /// is enough.
    pub approvers: Vec<String>,
}

/// Begins what a rule of `aam` is known as.
const RULE: &str = "rule:";
/// Begins what somebody is known as whom a forge vouches for.
const FORGE: &str = "forge:";

/// What was approved, or is about to be.
#[derive(Debug, Clone, Copy)]
pub struct Approved<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Spec, lock and mapping of the connection.
    pub paths: &'a [&'a RepoPath],
    /// The worst of its changes.
    pub severity: Severity,
}

/// Somebody, or a rule, that approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// As people read it.
    shown: String,
    /// What rules are held against: a mail, `rule:NAME` or `forge:LOGIN`; empty where nothing is proved.
    known_as: String,
}

impl Approver {
    /// What `aam` took in by itself.
    pub fn rule(name: &str) -> Self {
        let known_as = format!("{RULE}{name}");
        Self { shown: known_as.clone(), known_as }
    }

    /// What a rule took in by a request; `page` is where people see it.
    pub fn rule_by_request(name: &str, page: &str) -> Self {
        let Self { shown, known_as } = Self::rule(name);
        Self { shown: format!("{shown} ({page})"), known_as }
    }

    /// Who git says it was, `Name <mail>`: the mail counts, because a name is whatever its owner wrote.
    pub fn by_git(who: &str) -> Self {
        let mail = who.strip_suffix('>').and_then(|who| who.rsplit_once('<')).map_or("", |(_, mail)| mail);
        let poses = |kind: &str| mail.get(..kind.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(kind));
        let known_as = if poses(RULE) || poses(FORGE) { "" } else { mail };
        Self { shown: who.to_owned(), known_as: known_as.to_owned() }
    }

    /// Who merged a request, by what the forge says; `page` is where people see it.
    pub fn by_forge(login: &str, page: &str) -> Self {
        Self { shown: format!("{login} ({page})"), known_as: format!("{FORGE}{login}") }
    }

    /// Who a commit says that it is of, where everybody who may push can write that: no rule is met by it.
    pub fn by_word(who: &str) -> Self {
        Self { shown: format!("{who}, by the commit's word alone"), known_as: String::new() }
    }

    /// As people read it.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// Why this approval does not count, if so: every rule that is about it must be met by somebody.
pub fn objection(rules: &[ApprovalRule], approved: Approved<'_>, by: &[Approver]) -> Option<String> {
    let unmet = rules.iter().find(|rule| rule.is_about(approved) && !by.iter().any(|who| rule.allows(who)))?;
    let who = by.iter().map(|who| who.shown.as_str()).collect::<Vec<_>>().join(", ");
    let who = if who.is_empty() { "nobody that is known" } else { &who };
    Some(format!("{who} may not approve it: [approval] asks for one of {}", unmet.approvers.join(", ")))
}

/// The first glob of these rules that is none, with what is wrong with it.
pub fn broken_glob(rules: &[ApprovalRule]) -> Option<String> {
    let people = |rule: &ApprovalRule| rule.approvers.clone().into_iter().filter(|who| !who.starts_with(FORGE));
    let mut globs = rules.iter().flat_map(|rule| rule.paths.iter().cloned().chain(people(rule)));
    globs.find_map(|glob| GlobBuilder::new(&glob).build().err()).map(|error| error.to_string())
}

impl ApprovalRule {
    fn is_about(&self, what: Approved<'_>) -> bool {
        let tenant = self.tenants.is_empty() || self.tenants.iter().any(|tenant| *tenant == what.tenant.to_string());
        let fits = |path: &&RepoPath| self.paths.iter().any(|glob| is_like(glob, path.as_str(), true));
        let path = self.paths.is_empty() || what.paths.iter().any(fits);
        tenant && path && self.severity.is_none_or(|least| what.severity >= least)
    }

    fn allows(&self, who: &Approver) -> bool {
        let known_as = &who.known_as;
        // In a glob, `aam[bot]` would be five logins.
        let literal = known_as.starts_with(FORGE);
        self.approvers.iter().any(|one| match literal {
            true => one.eq_ignore_ascii_case(known_as),
            false => !known_as.is_empty() && is_like(one, known_as, false),
        })
    }
}

/// A glob that cannot be read fits nothing: [`broken_glob`] has told of it.
fn is_like(glob: &str, text: &str, separated: bool) -> bool {
    let built = GlobBuilder::new(glob).literal_separator(separated).case_insensitive(!separated).build();
    built.is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &str, severity: Severity, by: &[&str]) -> String {
        let rule: ApprovalRule = toml::from_str(rule).unwrap();
        let paths = [RepoPath::new("connectors.d/acme/crm.lock.yaml").unwrap()];
        let tenant = TenantId::new("acme").unwrap();
        let approved = Approved { tenant: &tenant, paths: &[&paths[0]], severity };
        let by: Vec<Approver> = by
            .iter()
            .map(|who| who.strip_prefix("rule:").map_or_else(|| Approver::by_git(who), Approver::rule))
            .collect();
        objection(&[rule], approved, &by).unwrap_or_else(|| "counts".to_owned())
    }

    #[test]
    fn who_may_approve() {
        let breaking = |rule: &str, by: &str| check(rule, Severity::BreakingForSync, &[by]);
        let maria = "approvers = ['maria@example.com', '*@data.example.com']";
        assert_eq!(breaking(maria, "Maria Weber <Maria@example.com>"), "counts");
        assert_eq!(breaking(maria, "Jo <jo@data.example.com>"), "counts");
        insta::assert_snapshot!(breaking(maria, "Eve <eve@example.com>"), @"Eve <eve@example.com> may not approve it: [approval] asks for one of maria@example.com, *@data.example.com");
        insta::assert_snapshot!(breaking(maria, "rule:additive"), @"rule:additive may not approve it: [approval] asks for one of maria@example.com, *@data.example.com");
        assert_eq!(breaking("approvers = ['rule:*']", "rule:additive"), "counts");
        insta::assert_snapshot!(check(maria, Severity::Additive, &[]), @"nobody that is known may not approve it: [approval] asks for one of maria@example.com, *@data.example.com");
    }

    #[test]
    fn a_name_is_no_mail() {
        let maria = "approvers = ['maria@example.com']";
        for eve in ["maria@example.com <eve@example.com>", "<maria@example.com> <eve@example.com>", "maria@example.com"]
        {
            assert!(check(maria, Severity::Additive, &[eve]).contains("may not"), "{eve}");
        }
        let eve = Approver::by_git("Eve <rule:additive>");
        assert!(!ApprovalRule { approvers: vec!["rule:*".into()], ..ApprovalRule::default() }.allows(&eve));
        let may = |rule: &str, who: &Approver| {
            ApprovalRule { approvers: vec![rule.into()], ..ApprovalRule::default() }.allows(who)
        };
        assert!(!may("forge:grace", &Approver::by_git("Eve <Forge:grace>")));
        assert!(!may("*", &Approver::by_word("Maria <maria@example.com>")), "not even where everybody may");
    }

    #[test]
    fn a_login_is_taken_literally() {
        let may = |rule: &str, login: &str| {
            let approver = Approver::by_forge(login, "https://forge.example.org/1");
            ApprovalRule { approvers: vec![rule.into()], ..ApprovalRule::default() }.allows(&approver)
        };
        assert!(may("forge:aam[bot]", "aam[bot]") && may("forge:Grace", "grace"));
        assert!(!may("forge:aam[bot]", "aamb") && !may("forge:*", "grace") && !may("grace", "grace"));
        let rule = ApprovalRule { approvers: vec!["forge:odd[".into()], ..ApprovalRule::default() };
        assert_eq!(broken_glob(&[rule]), None);
    }

    #[test]
    fn what_a_rule_is_about() {
        let eve = |rule: &str, severity| check(&format!("{rule}\napprovers = ['maria']"), severity, &["eve"]);
        let counts = |rule: &str| eve(rule, Severity::BreakingForMapping) == "counts";
        assert!(counts("tenants = ['default']") && !counts("tenants = ['default', 'acme']"));
        assert!(counts("paths = ['mappings/**']") && !counts("paths = ['connectors.d/acme/*']"));
        assert!(counts("paths = ['connectors.d/*.yaml']"), "a star ends at a folder");
        assert!(counts("severity = 'breaking_for_sync'") && !counts("severity = 'breaking_for_mapping'"));
        assert_eq!(eve("severity = 'breaking_for_mapping'", Severity::Additive), "counts");
    }

    #[test]
    fn a_glob_that_is_none_is_told() {
        let rule = ApprovalRule { paths: vec!["a[".into()], ..ApprovalRule::default() };
        insta::assert_snapshot!(broken_glob(&[rule]).unwrap(), @"error parsing glob 'a[': unclosed character class; missing ']'");
    }
}
