//! What the tests with the real binary and a stand-in have in common: settings, a connection as Airbyte's connectors want it, and
//! the search for secrets.

use crate::support::world::World;

/// What commands find in their environment to use the installation there, in the mode that is the default.
pub fn environment(url: &str) -> Vec<(String, String)> {
    let all = [
        ("AAM_ENGINE__KIND", "airbyte"),
        ("AAM_AIRBYTE__URL", url),
        ("AAM_AIRBYTE__CLIENT_ID", "client"),
        ("AAM_AIRBYTE__CLIENT_SECRET", "${env:AIRBYTE_SECRET}"),
        ("AAM_AIRBYTE__CALLS_PER_SECOND", "500"),
        ("AAM_AIRBYTE__SURVEY", "100ms"),
        ("AIRBYTE_SECRET", "secret"),
    ];
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Sets variables, in place of others of these names.
pub fn set(world: &mut World, variables: &[(&str, &str)]) {
    world.env.retain(|(name, _)| !variables.iter().any(|(new, _)| new == name));
    world.env.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
}

/// Rewrites connection and destination of [`World::with_crm`] for Airbyte's connectors; their password is in
/// `AAM_SECRET_CRM`.
pub fn declare(world: &World, schedule: &str) {
    let host = crate::support::cluster().display();
    let settings = |name: &str, more: &str| {
        format!(
            "{{host: {host}, port: 5432, database: {name}, username: postgres, password: \"${{env:AAM_SECRET_CRM}}\", {more}}}"
        )
    };
    let to = settings(&world.warehouse.name, "schema: public");
    world.write("connectors.d/warehouse.yaml", &format!("kind: destination\ntype: postgres\nconfig: {to}\n"));
    let from = settings(&world.source.name, "schemas: [public]");
    let crm = format!(
        "kind: connection\nsource:\n  type: postgres\n  config: {from}\ndestination: warehouse\nschedule: {schedule}\n\
         drift:\n  check: manual\nmapping: crm\n"
    );
    world.write("connectors.d/crm.yaml", &crm);
    world.commit("by Airbyte");
}

/// Neither the registry nor the repository holds one of the secrets in any form, nor does `printed`.
pub async fn holds_no_secret(world: &World, printed: &str, secrets: &[&str]) {
    nowhere("what was printed", printed, secrets);
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    for table in world.registry.list(tables).await {
        let rows = world.registry.one(&format!("SELECT t::text || to_jsonb(t)::text FROM {table} t")).await;
        nowhere(&table, &rows, secrets);
    }
    nowhere("the repository", &world.git(&["log", "--all", "--patch", "--format=fuller"]), secrets);
}

fn nowhere(what: &str, text: &str, secrets: &[&str]) {
    use base64::Engine as _;
    for secret in secrets {
        let forms = [
            (*secret).to_owned(),
            secret.replace('/', "\\/"),
            secret.replace('/', "%2F").replace('+', "%2B"),
            base64::engine::general_purpose::STANDARD.encode(secret),
        ];
        for form in forms {
            assert!(!text.contains(&form), "{what} holds a secret:\n{text}");
        }
    }
}
