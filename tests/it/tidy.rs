//! Guards the code map: each layer may import only what its row allows, and pure layers hold no effects.

use std::path::{Path, PathBuf};

/// Module → layer. A module may import modules of its own layer and below, except where [`ALLOWED_SIDEWAYS`] and
/// [`MAX_SEEN`] say otherwise.
pub const LAYERS: &[(&str, u8)] = &[
    ("model", 0),
    ("diag", 0),
    ("spec", 1),
    ("drift", 1),
    ("repair", 1),
    ("plan", 1),
    ("mapping", 1),
    ("status", 1),
    ("ports", 2),
    ("reconcile", 3),
    ("canonical", 3),
    ("engine", 4),
    ("connector", 4),
    ("forge", 4),
    ("registry", 4),
    ("repo", 4),
    ("secrets", 4),
    ("settings", 5),
    ("daemon", 5),
    ("http", 5),
    ("cli", 5),
    ("telemetry", 5),
    ("wiring", 5),
];

/// The highest layer that a layer may see below itself: doors (2) see thinking (1), adapters (4) see doors, not doing.
const MAX_SEEN: [u8; 6] = [0, 1, 1, 2, 2, 3];

/// Within thinking (layer 1) there are no circles: a module may import only those before it.
const THINKING: &[&str] = &["spec", "mapping", "drift", "repair", "plan", "status"];

/// Adapters never see each other, but the embedded engine runs connectors; edges see edges, and `wiring` alone names
/// concrete adapters.
fn may_import(from: &str, to: &str) -> bool {
    let layer = |m: &str| LAYERS.iter().find(|(name, _)| *name == m).map(|(_, l)| *l);
    let (Some(a), Some(b)) = (layer(from), layer(to)) else { return false };
    from == to
        || b <= MAX_SEEN[a as usize]
        || (a == b && a == 1 && THINKING.iter().position(|m| *m == from) > THINKING.iter().position(|m| *m == to))
        || (a == b && a != 4 && a != 1)
        || (from, to) == ("engine", "connector")
        || (from == "wiring" && b == 4)
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Every `src` file with its module and text.
fn files() -> Vec<(String, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    paths.sort();
    paths
        .iter()
        .filter_map(|path| {
            let shown = path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
            let module = shown.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            (module != "lib" && module != "main").then(|| (module, shown, std::fs::read_to_string(path).unwrap()))
        })
        .collect()
}

/// The text without `//` comments and without what follows `#[cfg(test)]`.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().map(|l| l.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn imported(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .flat_map(|(at, _)| {
            let rest = &code[at + "crate::".len()..];
            let names = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').map(str::trim).map(str::to_owned).collect(),
                None => vec![rest.to_owned()],
            };
            names.into_iter().map(|n| n.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (module, file, text) in files() {
        for target in imported(&code(&text)) {
            if !may_import(&module, &target) {
                wrong
                    .push(format!("src/{file}: `{module}` must not import `{target}` (see ARCHITECTURE.md, code map)"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn thinking_is_pure() {
    const EFFECTS: &[&str] = &[
        "std::fs",
        "std::net",
        "std::env",
        "tokio::",
        "sqlx::",
        "reqwest::",
        "async fn",
        "Utc::now",
        "Instant::now",
        "SystemTime",
        "now_v7",
        "new_v4",
        "std::process",
    ];
    let mut wrong = Vec::new();
    for (module, file, text) in files() {
        let pure = LAYERS.iter().any(|(name, layer)| *name == module && *layer <= 1);
        for effect in EFFECTS.iter().filter(|e| pure && code(&text).contains(**e)) {
            wrong.push(format!("src/{file}: `{effect}` in a pure layer; facts come in as arguments"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer_and_opens_with_its_purpose() {
    for (module, file, text) in files() {
        assert!(LAYERS.iter().any(|(name, _)| *name == module), "src/{file}: module `{module}` is not on the code map");
        assert!(text.starts_with("//!"), "src/{file} must open with `//!`: what it is for");
    }
}
