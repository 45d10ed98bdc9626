//! Which paths of a repository are ours to read, and how names from outside are shown.

use crate::model::RepoPath;
use crate::ports::Unreadable;

/// The folders below the root that hold our files.
pub const FOLDERS: [&str; 3] = ["connectors.d", "mappings", "drift"];

/// More folders than this inside each other are not read: nobody nests specs like that, a loop of mounts does.
pub(super) const MAX_DEPTH: usize = 32;

/// What a path below one of [`FOLDERS`] is to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not ours: another kind of file, hidden, or left over by an editor.
    Ignore,
    /// A file that we read.
    Take(RepoPath),
    /// Named like one of ours, but we may not read it.
    Bad(String, Unreadable),
}

/// Judges a file's path relative to the root by its bytes alone.
pub(super) fn judge_file(path: &[u8]) -> Verdict {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    let Some((name, folders)) = parts.split_last() else { return Verdict::Ignore };
    for (i, folder) in folders.iter().enumerate() {
        if is_leftover(folder) {
            return Verdict::Ignore;
        }
        let shown = || escape(&path[..parts[..=i].iter().map(|p| p.len() + 1).sum::<usize>() - 1]);
        if is_spec_name(folder) {
            return Verdict::Bad(shown(), Unreadable::NotAFile);
        }
        if i >= MAX_DEPTH {
            return Verdict::Bad(shown(), too_deep());
        }
    }
    if is_leftover(name) || !is_spec_name(name) {
        return Verdict::Ignore;
    }
    let text = std::str::from_utf8(path).ok().filter(|t| !t.chars().any(is_hostile));
    match text.and_then(|t| RepoPath::new(t).ok()) {
        Some(path) => Verdict::Take(path),
        None => Verdict::Bad(escape(path), Unreadable::Name),
    }
}

/// Why a folder below [`MAX_DEPTH`] others was not read.
pub(super) fn too_deep() -> Unreadable {
    Unreadable::Io(format!("lies below more than {MAX_DEPTH} folders"))
}

/// Whether a name ends like a file of ours.
pub(super) fn is_spec_name(name: &[u8]) -> bool {
    [&b".yaml"[..], b".yml", b".md"].iter().any(|ending| name.ends_with(ending))
}

/// Hidden files and what editors leave behind while they save.
pub(super) fn is_leftover(name: &[u8]) -> bool {
    name.starts_with(b".") || name.starts_with(b"#") || name.ends_with(b"~")
}

/// Control characters, and those that turn text around or take no space.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Text from outside on one line: hostile characters as `\u{1b}`, bytes that are no UTF-8 as `\xff`.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_hostile(c) {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_judged_by_name() {
        let deep = format!("connectors.d/{}x.yaml", "d/".repeat(40));
        let cases: &[&[u8]] = &[
            b"connectors.d/crm.yaml",
            b"drift/default/crm/4f1c.md",
            b"mappings/README",
            b"connectors.d/.crm.yaml.swp",
            b"connectors.d/.#crm.yaml",
            b"connectors.d/#crm.yaml",
            b"connectors.d/crm.yaml~",
            b"connectors.d/4913",
            b"connectors.d/-x.yaml",
            b"connectors.d/a\nb.yaml",
            b"connectors.d/a\x1bb.yaml",
            b"connectors.d/a\xffb.yaml",
            b"connectors.d/a\xe2\x80\xaeb.yaml",
            b"connectors.d/x.yaml/inner.yaml",
            b"connectors.d/a\\b.yaml",
            deep.as_bytes(),
        ];
        let shown: Vec<String> = cases.iter().map(|c| format!("{:?}", judge_file(c))).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        Take(RepoPath("connectors.d/crm.yaml"))
        Take(RepoPath("drift/default/crm/4f1c.md"))
        Ignore
        Ignore
        Ignore
        Ignore
        Ignore
        Ignore
        Take(RepoPath("connectors.d/-x.yaml"))
        Bad("connectors.d/a\\nb.yaml", Name)
        Bad("connectors.d/a\\u{1b}b.yaml", Name)
        Bad("connectors.d/a\\xffb.yaml", Name)
        Bad("connectors.d/a\\u{202e}b.yaml", Name)
        Bad("connectors.d/x.yaml", NotAFile)
        Bad("connectors.d/a\\b.yaml", Name)
        Bad("connectors.d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d", Io("lies below more than 32 folders"))
        "#);
    }
}
