//! Finds secrets in texts from outside: as they are, and in the forms in which connection URLs, headers and JSON carry them.

use secrecy::{ExposeSecret, SecretString};

/// Shorter values are too common to look for.
const SHORTEST: usize = 3;

/// Shorter values are looked for as they are only: their encoded forms are too common.
const SHORTEST_ENCODED: usize = 4;

/// Inside a longer text that is encoded as a whole, fewer digits that are a secret's alone are too common to look for.
const FEWEST_DIGITS: usize = 8;

/// Characters that a URL keeps besides letters and digits: everywhere, in its user info, and in a form.
const KEPT: [&str; 3] = ["-._~", "-._~!$&'()*+,;=", "*-._"];

const BASE64: [&[u8; 64]; 2] = [
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
];

/// Replaces every form of every secret by `***`.
pub fn mask(secrets: &[SecretString], text: &str) -> String {
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
        forms.extend((0..3).filter_map(|before| own_digits(secret.as_bytes(), before, alphabet)));
    }
    for kept in KEPT {
        for escaped in
            [percent(secret, kept, |byte| format!("%{byte:02X}")), percent(secret, kept, |byte| format!("%{byte:02x}"))]
        {
            forms.push(escaped.replace("%20", "+"));
            forms.push(escaped);
        }
    }
    let json = serde_json::Value::from(secret).to_string();
    let json = &json[1..json.len() - 1];
    forms.extend([
        json.to_owned(),
        ascii(json, |unit| format!("\\u{unit:04x}")),
        ascii(json, |unit| format!("\\u{unit:04X}")),
    ]);
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

/// Of a text that is encoded as a whole, the digits that say something about the secret in it alone, if they are enough to
/// tell it; `before` bytes come before it, or three times as many more.
fn own_digits(secret: &[u8], before: usize, alphabet: &[u8; 64]) -> Option<String> {
    let digits = base64(&[&[0; 2][..before], secret].concat(), alphabet);
    let own = &digits[(before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6];
    (own.len() >= FEWEST_DIGITS).then(|| own.to_owned())
}

/// JSON text without characters beyond ASCII.
fn ascii(json: &str, escape: impl Fn(u16) -> String) -> String {
    let one = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => c.encode_utf16(&mut [0; 2]).iter().map(|unit| escape(*unit)).collect(),
    };
    json.chars().map(one).collect()
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
            "p%C3%A9%22s%3Fs%3E%2F%2B+%5Cw%21",
            "p\u{e9}\\\"s?s>/+ \\\\w!",
            "p\\u00e9\\\"s?s>/+ \\\\w!",
            "p\\u00E9\\\"s?s>/+ \\\\w!",
        ];
        for form in forms {
            assert_eq!(check(&[secret], &format!("no <{form}> here")), "no <***> here", "{form}");
        }
    }

    #[test]
    fn a_secret_inside_an_encoded_text_is_masked_where_it_can_be_told() {
        let check =
            |user: &str, secret: &str| check(&[secret], &base64(format!("{user}:{secret}!").as_bytes(), BASE64[0]));
        assert_eq!(check("u", "hunter22hunter"), "dTp***iE");
        assert_eq!(check("us", "hunter22hunter"), "dXM6***h");
        assert_eq!(check("use", "hunter22hunter"), "dXNlOm***IQ");
        assert_eq!(check("us", "hunt22"), "dXM6***IQ");
        assert_eq!(check("u", "hunt22"), "dTpodW50MjIh");
    }

    #[test]
    fn the_longest_goes_first_and_the_shortest_are_left_alone() {
        assert_eq!(check(&["hunter", "hunter22"], "hunter22 hunter aHVudGVy aHVudGVyMjI="), "*** *** *** ***");
        assert_eq!(check(&["abc", "xy"], "abc YWJj xy"), "*** YWJj xy");
    }
}
