//! Which file is what: a path below the configuration root says the kind, the tenant and the name.

use crate::diag::{Diagnostic, quoted};
use crate::model::{ConnectionRef, DEFAULT_TENANT, RepoPath, TenantId};

/// What a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `connectors.d/[tenant/]name.yaml`: a connection, source or destination.
    Spec(ConnectionRef),
    /// `connectors.d/[tenant/]name.lock.yaml`
    Lock(ConnectionRef),
    /// `mappings/[tenant/]name.yaml`
    Mapping(ConnectionRef),
    /// `mappings/entities/name.yaml`
    Entity(String),
    /// `drift/tenant/name/rejected.yaml`
    Rejected(ConnectionRef),
    /// Nothing that is read: a README, a drift file, a `.gitkeep`.
    Other,
}

/// The role of a path, or why its name cannot be used.
pub fn role(path: &str) -> Result<Role, Diagnostic> {
    let parts: Vec<&str> = path.split('/').collect();
    let Some((folder, rest)) = parts.split_first().filter(|(_, rest)| !rest.is_empty()) else { return Ok(Role::Other) };
    match (*folder, rest) {
        ("drift", [tenant, name, "rejected.yaml"]) => named(Some(tenant), name, true).map(Role::Rejected),
        ("connectors.d" | "mappings", rest) => {
            let (file, folders) = rest.split_last().unwrap_or((&"", &[]));
            let Some(stem) = stem(file)? else { return Ok(Role::Other) };
            match (*folder, folders) {
                ("mappings", ["entities"]) => named(None, stem, false).map(|r| Role::Entity(r.name)),
                (_, [] | [_]) => {
                    let tenant = folders.first().copied();
                    let lock = stem.strip_suffix(".lock").filter(|_| *folder == "connectors.d");
                    Ok(match lock {
                        Some(name) => Role::Lock(named(tenant, name, false)?),
                        None if *folder == "mappings" => Role::Mapping(named(tenant, stem, false)?),
                        None => Role::Spec(named(tenant, stem, false)?),
                    })
                }
                _ => Err(bad("a spec lies too deep: one folder, the tenant's, is all".into())
                    .help(format!("move it to `{folder}/{}/{file}`", folders[0]))),
            }
        }
        _ => Ok(Role::Other),
    }
}

/// The name of a `.yaml` file without its ending; `None` for files that are not YAML, and for hidden ones.
fn stem(file: &str) -> Result<Option<&str>, Diagnostic> {
    if file.starts_with('.') {
        return Ok(None);
    }
    if let Some(stem) = file.strip_suffix(".yaml") {
        return Ok(Some(stem));
    }
    let lower = file.to_ascii_lowercase();
    if lower.ends_with(".yml") || lower.ends_with(".yaml") {
        return Err(bad(format!("{} does not end in `.yaml`", quoted(file))).help("rename it: only `.yaml` is read"));
    }
    Ok(None)
}

fn named(tenant: Option<&str>, name: &str, in_drift: bool) -> Result<ConnectionRef, Diagnostic> {
    let tenant = match tenant {
        None => TenantId::default(),
        Some(DEFAULT_TENANT) if in_drift => TenantId::default(),
        Some(DEFAULT_TENANT) => {
            let d = bad(format!("no folder may be called `{DEFAULT_TENANT}`: it names the tenant without a folder"));
            return Err(d.help("move its files one folder up"));
        }
        Some(name) => TenantId::new(name).map_err(|e| bad(format!("the folder {} {}", quoted(&e.given), e.why)))?,
    };
    ConnectionRef::new(tenant, name).map_err(|e| bad(format!("the name {} {}", quoted(&e.given), e.why)))
}

fn bad(why: String) -> Diagnostic {
    Diagnostic::error("AAM-S012", why)
}

/// Where the lock of a connection lies: beside its spec.
pub fn lock_path(spec: &RepoPath) -> RepoPath {
    let stem = spec.as_str().strip_suffix(".yaml").unwrap_or(spec.as_str());
    RepoPath::new(&format!("{stem}.lock.yaml")).expect("a lock's path differs from its spec's in the ending only")
}

/// Where the spec of a connection would lie.
pub fn spec_path(name: &ConnectionRef) -> RepoPath {
    let path = if name.tenant.as_str() == DEFAULT_TENANT {
        format!("connectors.d/{}.yaml", name.name)
    } else {
        format!("connectors.d/{}/{}.yaml", name.tenant, name.name)
    };
    RepoPath::new(&path).expect("checked names make a safe path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_a_file_is() {
        let shown = |path: &str| match role(path) {
            Ok(role) => format!("{path}: {role:?}").replace("TenantId(\"", "").replace("\")", ""),
            Err(d) => format!("{path}: {}", d.message),
        };
        insta::assert_snapshot!([
            "connectors.d/crm.yaml", "connectors.d/crm.lock.yaml", "connectors.d/README.md", "connectors.d/.x.yaml",
            "mappings/acme/crm.yaml", "mappings/entities/account.yaml", "drift/default/crm/rejected.yaml",
            "connectors.d/default/crm.yaml", "connectors.d/crm.yml", "connectors.d/a/b/c.yaml", "connectors.d/-x.yaml",
            "connectors.d/caf\u{e9}.yaml", "connectors.d/a\nb.yaml",
        ].map(shown).join("\n"), @r#"
        connectors.d/crm.yaml: Spec(ConnectionRef { tenant: default, name: "crm" })
        connectors.d/crm.lock.yaml: Lock(ConnectionRef { tenant: default, name: "crm" })
        connectors.d/README.md: Other
        connectors.d/.x.yaml: Other
        mappings/acme/crm.yaml: Mapping(ConnectionRef { tenant: acme, name: "crm" })
        mappings/entities/account.yaml: Entity("account
        drift/default/crm/rejected.yaml: Rejected(ConnectionRef { tenant: default, name: "crm" })
        connectors.d/default/crm.yaml: no folder may be called `default`: it names the tenant without a folder
        connectors.d/crm.yml: `crm.yml` does not end in `.yaml`
        connectors.d/a/b/c.yaml: a spec lies too deep: one folder, the tenant's, is all
        connectors.d/-x.yaml: the name `-x` must begin with an ASCII letter or digit
        connectors.d/café.yaml: the name `café` may hold only ASCII letters, digits, `.`, `_` and `-`
        connectors.d/a
        b.yaml: the name `a\nb` may hold only ASCII letters, digits, `.`, `_` and `-`
        "#);
    }
}
