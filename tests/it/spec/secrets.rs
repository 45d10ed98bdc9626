//! No secret in any message.

use aam::diag::render::{Theme, terminal};

use super::Repo;

#[test]
fn a_secret_is_never_shown_however_the_file_is_broken() {
    const CANARY: &str = "cAnArY7531";
    let spec = format!(
        "kind: connection\nmode: manage\nsource:\n  type: postgres\n  config:\n    host: db\n    password: {CANARY}\n    \
         database: crm\n    username: \"aam\"\ndestination: {{type: x, config: {{api_token: {CANARY}, url: 'pg://a:{CANARY}@h/d'}}}}\n\
         schedule: {{every: 6h}}\n"
    );
    let keys = ["password: ", "api_token: ", "pg://a:"];
    let protected: Vec<_> = keys
        .iter()
        .map(|key| {
            let at = spec.find(&format!("{key}{CANARY}")).unwrap();
            at..at + key.len() + CANARY.len()
        })
        .collect();
    let mut tried = 0;
    for at in (0..=spec.len()).filter(|at| !protected.iter().any(|range| range.contains(at) && *at > range.start)) {
        for splice in ["\"", "'", "\n", "[", "}", ":", "\t", "|\n", "*", "&a ", "!t ", "#", "\u{0}", "- "] {
            let mut broken = spec.clone();
            broken.insert_str(at, splice);
            let diagnostics = Repo::of(&[("connectors.d/x.yaml", &broken)]).resolve().diagnostics;
            let shown = terminal(&diagnostics, Theme::PLAIN) + &serde_json::to_string(&diagnostics).unwrap();
            assert!(!shown.contains(CANARY), "at {at} with {splice:?}:\n{broken}\n{shown}");
            tried += 1;
        }
        for cut in [&spec[at..], &spec[..at]] {
            let diagnostics = Repo::of(&[("connectors.d/x.yaml", cut)]).resolve().diagnostics;
            // Cut within the key itself nobody can know; but then it is a key of a spec no more.
            let shown = terminal(&diagnostics, Theme::PLAIN);
            assert!(!shown.contains(CANARY), "cut at {at}:\n{cut}\n{shown}");
        }
    }
    assert!(tried > 2000);
}
