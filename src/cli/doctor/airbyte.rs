//! Whether the Airbyte installation answers, lets us in, and has a workspace for each tenant. Everything here reads.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::future::join_all;

use super::Check;
use super::checks::PATIENCE;
use crate::diag::escape;
use crate::model::TenantId;
use crate::settings::Settings;
use crate::spec::{Desired, Mode};
use crate::wiring::probe::{self, AirbyteTrouble as Trouble, Installation, SeenWorkspace};

const NAME: &str = "airbyte";
const CREDENTIALS: &str = "airbyte credentials";
const WORKSPACES: &str = "airbyte workspaces";

/// The installation, the credentials and the workspaces. `None` if it cannot be asked for anything more.
pub(super) async fn check(
    settings: &Settings,
    root: &Path,
    desired: Option<&Desired>,
    to: &mut Vec<Check>,
) -> Option<Installation> {
    let airbyte = match probe::airbyte(settings, root) {
        Ok(airbyte) => airbyte,
        Err(error) => {
            let mend = "correct [airbyte]; the secrets that it refers to must be in aam's own environment";
            to.push(Check::fail(NAME, format!("{error:#}"), mend));
            skip("the settings cannot be used", to);
            return None;
        }
    };
    match patiently(airbyte.facts()).await {
        Ok(facts) => {
            let edition = if facts.edition.is_empty() { String::new() } else { format!(" ({})", facts.edition) };
            let auth = if facts.auth.is_empty() { "not told" } else { &facts.auth };
            let apis = if facts.public { "Config and public API answer" } else { "only the Config API answers" };
            let found = format!("version {}{edition} at {}, authentication {auth}, {apis}", facts.version, facts.base);
            to.push(Check::pass(NAME, found));
        }
        Err(trouble) => {
            to.push(failed(NAME, trouble));
            skip("Airbyte does not answer", to);
            return None;
        }
    }
    let seen = match patiently(airbyte.workspaces()).await {
        Ok(seen) => seen,
        Err(trouble) => {
            to.push(failed(CREDENTIALS, trouble));
            to.push(Check::skipped(WORKSPACES, "Airbyte does not let us look"));
            return None;
        }
    };
    let tenants = tenants(settings, desired);
    let chosen = join_all(tenants.iter().map(|tenant| airbyte.workspace(tenant))).await;
    let ids: BTreeSet<_> = chosen.iter().flatten().copied().collect();
    let known: Vec<_> = seen.iter().map(|workspace| workspace.id).filter(|id| ids.contains(id)).collect();
    to.push(match patiently(airbyte.connections(&known)).await {
        Ok(connections) => credentials(settings, connections),
        Err(trouble) => failed(CREDENTIALS, trouble),
    });
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    for (tenant, chosen) in tenants.iter().zip(chosen) {
        match chosen {
            Err(_) if seen.len() > 1 => {
                problems
                    .push(format!("tenant {tenant}: Airbyte has {} workspaces, and none is chosen for it", seen.len()));
            }
            Err(error) => problems.push(format!("tenant {tenant}: {}", error.why)),
            Ok(id) => match seen.iter().find(|workspace| workspace.id == id) {
                Some(workspace) => lines.push(format!("tenant {tenant}: {}", shown(workspace))),
                None => problems.push(format!("tenant {tenant}: there is no workspace {id} for these credentials")),
            },
        }
    }
    to.push(if problems.is_empty() {
        Check::pass(WORKSPACES, lines.join("\n"))
    } else {
        let all: Vec<_> = seen.iter().map(shown).collect();
        let mend = match all.as_slice() {
            [] => "make one in Airbyte, or use credentials that see one".to_owned(),
            all => format!("write TENANT = \"ID\" below [airbyte.workspaces]; these are there: {}", all.join(", ")),
        };
        Check::fail(WORKSPACES, problems.into_iter().chain(lines).collect::<Vec<_>>().join("\n"), &mend)
    });
    Some(airbyte)
}

fn shown(workspace: &SeenWorkspace) -> String {
    format!("{} ({})", escape(&workspace.name), workspace.id)
}

/// Whoever needs a workspace: the tenants of the settings and of the specs.
fn tenants(settings: &Settings, desired: Option<&Desired>) -> BTreeSet<TenantId> {
    let set = settings.airbyte.workspaces.keys().filter_map(|tenant| TenantId::new(tenant).ok());
    let declared = desired.into_iter().flat_map(|desired| desired.connections.keys().map(|name| name.tenant.clone()));
    let mut tenants: BTreeSet<_> = set.chain(declared).collect();
    if tenants.is_empty() {
        tenants.insert(TenantId::default());
    }
    tenants
}

/// That they read was seen; whether they may write is not tried, since trying is writing.
fn credentials(settings: &Settings, connections: usize) -> Check {
    let who =
        if settings.airbyte.client_id.is_some() { "they may read" } else { "none are set, and none are asked for" };
    let mode = match settings.engine.mode {
        Mode::Observe => "; [engine] mode is observe: nothing is written",
        Mode::Propose => "; [engine] mode is propose: repairs are written to git, nothing to Airbyte",
        Mode::Manage => {
            "; [engine] mode is manage: that takes the role of an editor, as the checks of sources and destinations below do"
        }
    };
    Check::pass(CREDENTIALS, format!("{who}, {connections} connections were seen{mode}"))
}

fn skip(why: &str, to: &mut Vec<Check>) {
    to.extend([CREDENTIALS, WORKSPACES].map(|name| Check::skipped(name, why)));
}

async fn patiently<T>(asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = || Trouble::Silent(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}

fn failed(name: &str, trouble: Trouble) -> Check {
    match trouble {
        Trouble::Silent(why) => {
            Check::fail(name, why, "start Airbyte (`abctl local status` shows it), or correct [airbyte] url")
        }
        Trouble::Stranger(why) => Check::fail(
            name,
            why,
            "correct [airbyte] url: the address of Airbyte's web page, without what follows the host but with a proxy's prefix",
        ),
        Trouble::Down(why) => {
            Check::fail(name, why, "the proxy answers and Airbyte behind it does not: see whether its server runs")
        }
        Trouble::Refused(why) => Check::fail(
            name,
            why,
            "correct [airbyte] client_id and client_secret; `abctl local credentials` shows both, the web page makes more \
             under Settings, Applications",
        ),
        Trouble::SignedOut(why) => Check::fail(
            name,
            why,
            "set [airbyte] client_id and client_secret: this installation asks for them; `abctl local credentials` shows both",
        ),
        Trouble::Forbidden(why) => {
            Check::fail(name, why, "give the application the role of a reader (observe) or editor of the workspace")
        }
        Trouble::Other(why) => Check::fail(name, why, "read the log of Airbyte's server"),
    }
}
