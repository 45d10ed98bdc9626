//! Hides what may be a secret in a line before it is shown.
//!
//! It works on text alone, so that it also holds for a file that is no YAML: a key that looks secret hides everything
//! after it on its line, and everything that is nested below it. References (`${env:…}`) stay: they are no secrets.

use super::source::line_around;

/// Words in a key that make it look secret.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "private_key",
    "privatekey",
    "api_key",
    "apikey",
    "access_key",
    "accesskey",
    "service_account",
    "connection_string",
    "dsn",
];

/// The same, only as the last word of the key.
const SECRET_ENDS: &[&str] = &["pass", "pwd", "pw"];

/// Last words that often name a secret and often do not: their values are hidden, but plain text is no error.
const PERHAPS_SECRET: &[&str] = &["key", "auth"];

/// Last words of keys that only say something about a secret (`token_url`, `secret_name`).
const ABOUT_SECRETS: &[&str] =
    &["url", "uri", "type", "method", "name", "id", "field", "column", "expiry", "ttl", "path", "file", "days", "s"];

/// Whether what stands below a key of this name is hidden in messages.
pub(super) fn looks_secret(key: &str) -> bool {
    let key = normal(key);
    is_secret(&key) || PERHAPS_SECRET.contains(&last_word(&key))
}

/// Whether plain text in a setting of this name is refused, whatever the connector says of it.
pub(super) fn names_secret(key: &str) -> bool {
    let key = normal(key);
    is_secret(&key) && !ABOUT_SECRETS.contains(&last_word(&key))
}

fn is_secret(key: &str) -> bool {
    SECRET_WORDS.iter().any(|w| key.contains(w))
        || SECRET_ENDS.contains(&last_word(key))
        || (key.len() < 20 && strsim::damerau_levenshtein(key, "password") <= 2)
}

fn normal(key: &str) -> String {
    key.to_ascii_lowercase().replace('-', "_")
}

fn last_word(key: &str) -> &str {
    key.rsplit('_').next().unwrap_or(key)
}

/// One text, for a message: as [`line`] does.
pub(super) fn text(text: &str) -> Option<String> {
    line(text, 0, text.len())
}

/// The line `start..end` of a text with its secrets as `***`; `None` if it holds none.
pub(super) fn line(text: &str, start: usize, end: usize) -> Option<String> {
    let line = &text[start..end];
    if is_below_secret(text, start) {
        let indent = line.len() - line.trim_start().len();
        return (!is_shown_as_is(line)).then(|| format!("{}***", &line[..indent]));
    }
    let cut = keys(line).find(|(key, _)| looks_secret_here(key, text, start, line)).map(|(_, after)| after);
    match cut {
        Some(after) if !is_shown_as_is(&line[after..]) => Some(format!("{} ***", &line[..after])),
        _ => mask_url(line),
    }
}

/// `key` alone is a word of specs (`key: [id]`); below `config` it may be anything.
fn looks_secret_here(key: &str, text: &str, start: usize, line: &str) -> bool {
    looks_secret(key)
        && (!key.eq_ignore_ascii_case("key")
            || keys(line).any(|(k, _)| k == "config")
            || ancestors(text, start).any(|l| keys(l).any(|(k, _)| k == "config")))
}

/// Whether a value is empty or exactly one reference, quoted or not. A comment behind it may hold the old password.
fn is_shown_as_is(value: &str) -> bool {
    let value = value.trim();
    if value.is_empty() {
        return true;
    }
    let name = |c: char| c.is_ascii_alphanumeric() || "_:./-".contains(c);
    let reference = value.trim_start_matches(['"', '\'']).strip_prefix("${").and_then(|rest| rest.split_once('}'));
    reference.is_some_and(|(inner, behind)| inner.chars().all(name) && behind.chars().all(|c| "\"'}], ".contains(c)))
}

/// `name:` pieces of a line with the byte after the colon.
fn keys(line: &str) -> impl Iterator<Item = (&str, usize)> {
    line.match_indices([':', '=']).filter_map(move |(at, _)| {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).next()?;
        (!name.is_empty()).then_some((name, at + 1))
    })
}

/// Lines that are looked at above a line. A spec has a few hundred; beyond this the line is hidden to be safe.
const FARTHEST: usize = 5000;

/// Stands for an ancestor that is too far above.
const TOO_FAR: &str = "secret:";

/// Lines above that are indented less and less: those this line is nested in. Blank lines and comments do not count.
fn ancestors(text: &str, start: usize) -> impl Iterator<Item = &str> {
    let (s, e) = line_around(text, start);
    let mut left = FARTHEST;
    let mut depth = indent(&text[s..e]);
    let mut at = start;
    std::iter::from_fn(move || {
        while at > 0 && depth > 0 {
            if left == 0 {
                depth = 0;
                return Some(TOO_FAR);
            }
            left -= 1;
            let (from, to) = line_around(text, at - 1);
            at = from;
            let line = &text[from..to];
            let here = indent(line);
            let content = line.trim();
            if !content.is_empty() && !content.starts_with('#') && here < depth {
                depth = here;
                return Some(line);
            }
        }
        None
    })
}

/// A list item's dash counts as indentation.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t', '-', '\u{feff}']).len()
}

/// Whether the line continues a secret: an ancestor's last key looks secret, or a quote opened behind one is still open.
fn is_below_secret(text: &str, start: usize) -> bool {
    let last_is_secret =
        |line: &str| keys(line).last().is_some_and(|(key, _)| looks_secret_here(key, text, start, line));
    if ancestors(text, start).any(last_is_secret) {
        return true;
    }
    // `"password": "line one` or `password:` with the value on the next line, not indented.
    let Some(previous) = start.checked_sub(1) else { return false };
    let (from, to) = line_around(text, previous);
    let line = &text[from..to];
    let Some((key, after)) = keys(line).find(|(key, _)| looks_secret(key)) else { return false };
    let value = line[after..].trim();
    let open = |q: char| value.starts_with(q) && value.matches(q).count() % 2 == 1;
    looks_secret_here(key, text, from, line) && (value.is_empty() || open('"') || open('\''))
}

/// `scheme://user:password@host` anywhere in the line.
pub(super) fn mask_url(line: &str) -> Option<String> {
    let scheme = line.find("://")? + 3;
    let authority = line[scheme..].split(['/', ' ', '"', '\'', '?']).next()?;
    let at = authority.rfind('@')?;
    let colon = authority[..at].find(':')?;
    Some(format!("{}:***{}", &line[..scheme + colon], &line[scheme + at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line of the text as it would be shown.
    fn shown(text: &str) -> String {
        let mut out = Vec::new();
        let mut start = 0;
        for l in text.split('\n') {
            out.push(line(text, start, start + l.len()).unwrap_or_else(|| l.to_owned()));
            start += l.len() + 1;
        }
        out.join("\n")
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_is_not() {
        let text = "\
source: {type: postgres, config: {password: hunter2, host: db}}
config:
  host: db
  pasword: hunter2
  api_token: |
    hunter2
    more
  after: seen
  \"private-key\": \"hunter2
  hunter3\"
  password: ${env:CRM_PASSWORD}
  token: ${env:T} # was hunter2
  secret: ${hunter2
  key: hunter2
  url: postgres://aam:hunter2@db/crm
  password:
    hunter2
streams:
  a: {key: [id]}
  b:
    key: id
{password: ${env:A}, b: hunter2}";
        insta::assert_snapshot!(shown(text), @r#"
        source: {type: postgres, config: {password: ***
        config:
          host: db
          pasword: ***
          api_token: ***
            ***
            ***
          after: seen
          "private-key": ***
          ***
          password: ${env:CRM_PASSWORD}
          token: ***
          secret: ***
          key: ***
          url: postgres://aam:***@db/crm
          password:
            ***
        streams:
          a: {key: [id]}
          b:
            key: id
        {password: ***
        "#);
    }
}
