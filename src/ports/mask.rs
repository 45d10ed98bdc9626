//! Finds secrets in texts from outside: as they are, and in the forms in which connection URLs, headers and JSON carry them.

use secrecy::{ExposeSecret, SecretString};

/// Shorter values are too common to look for.
const SHORTEST: usize = 3;

/// Shorter values are looked for as they are only: their encoded forms are too common.
const SHORTEST_ENCODED: usize = 4;

/// Characters that a URL keeps besides letters and digits: everywhere, and in its user info.
const KEPT: [&str; 2] = ["-._~", "-._~!$&'()*+,;="];

const BASE64: [&[u8; 64]; 2] = [
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
];

/// Replaces every form of every secret by `***`.
pub(super) fn mask(secrets: &[SecretString], text: &str) -> String {
    let secrets = secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| secret.len() >= SHORTEST);
    let mut all: Vec<String> = secrets.flat_map(forms).collect();
    // The longest first: of two forms one may begin with the other.
    all.sort_by_key(|form| std::cmp::Reverse(form.len()));
    all.iter().fold(text.to_owned(), |text, form| text.replace(form, "***"))
}

fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    if secret.len() < SHORTEST_ENCODED {
        return forms;
    }
    for alphabet in BASE64 {
        let bare = base64(secret.as_bytes(), alphabet);
        let padding = "=".repeat((4 - bare.len() % 4) % 4);
        forms.push(format!("{bare}{padding}"));
        forms.push(bare);
    }
    for kept in KEPT {
        forms.push(percent(secret, kept, |byte| format!("%{byte:02X}")));
        forms.push(percent(secret, kept, |byte| format!("%{byte:02x}")));
    }
    let json = serde_json::Value::from(secret).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    forms
}

/// Without padding.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        let digits = (0..=chunk.len()).map(|i| alphabet[(bits >> (18 - 6 * i) & 63) as usize]);
        out.extend(digits.map(char::from));
    }
    out
}

fn percent(text: &str, kept: &str, escape: impl Fn(u8) -> String) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&escape(byte));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(secrets: &[&str], text: &str) -> String {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).to_owned().into()).collect();
        mask(&secrets, text)
    }

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let secret = "p\u{e9}\"s?s>/+ \\w!";
        let forms = [
            secret,
            "cMOpInM/cz4vKyBcdyE=",
            "cMOpInM/cz4vKyBcdyE",
            "cMOpInM_cz4vKyBcdyE=",
            "cMOpInM_cz4vKyBcdyE",
            "p%C3%A9%22s%3Fs%3E%2F%2B%20%5Cw%21",
            "p%c3%a9%22s%3fs%3e%2f%2b%20%5cw%21",
            "p%C3%A9%22s%3Fs%3E%2F+%20%5Cw!",
            "p%c3%a9%22s%3fs%3e%2f+%20%5cw!",
            "p\u{e9}\\\"s?s>/+ \\\\w!",
        ];
        for form in forms {
            assert_eq!(check(&[secret], &format!("no <{form}> here")), "no <***> here", "{form}");
        }
    }

    #[test]
    fn the_longest_goes_first_and_the_shortest_are_left_alone() {
        assert_eq!(check(&["hunter", "hunter22"], "hunter22 hunter aHVudGVy aHVudGVyMjI="), "*** *** *** ***");
        assert_eq!(check(&["abc", "xy"], "abc YWJj xy"), "*** YWJj xy");
    }
}
