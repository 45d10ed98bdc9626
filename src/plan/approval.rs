//! Who may approve what: rules of the settings, held against whoever approved.

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};

use crate::drift::Severity;
use crate::model::{RepoPath, TenantId};

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
    /// Globs over who approved: a mail, or `rule:NAME` for what `aam` took in by itself. One that fits is enough.
    pub approvers: Vec<String>,
}

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
    /// What rules are held against: a mail, or `rule:NAME`.
    known_as: String,
}

impl Approver {
    /// What `aam` took in by itself.
    pub fn rule(name: &str) -> Self {
        let known_as = format!("rule:{name}");
        Self { shown: known_as.clone(), known_as }
    }

    /// Who git says it was, `Name <mail>`: the mail counts, because a name is whatever its owner wrote.
    pub fn by_git(who: &str) -> Self {
        let mail = who.strip_suffix('>').and_then(|who| who.rsplit_once('<')).map_or("", |(_, mail)| mail);
        let known_as = if mail.starts_with("rule:") { "" } else { mail };
        Self { shown: who.to_owned(), known_as: known_as.to_owned() }
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
    let globs = rules.iter().flat_map(|rule| rule.paths.iter().chain(&rule.approvers));
    globs.filter_map(|glob| GlobBuilder::new(glob).build().err()).map(|error| error.to_string()).next()
}

impl ApprovalRule {
    fn is_about(&self, what: Approved<'_>) -> bool {
        let tenant = self.tenants.is_empty() || self.tenants.iter().any(|tenant| *tenant == what.tenant.to_string());
        let fits = |path: &&RepoPath| self.paths.iter().any(|glob| is_like(glob, path.as_str(), true));
        let path = self.paths.is_empty() || what.paths.iter().any(fits);
        tenant && path && self.severity.is_none_or(|least| what.severity >= least)
    }

    fn allows(&self, who: &Approver) -> bool {
        self.approvers.iter().any(|glob| is_like(glob, &who.known_as, false))
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
