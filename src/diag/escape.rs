//! Text from outside, made safe to show: control, bidi and zero-width characters become visible escapes.

use std::borrow::Cow;

/// Longest piece of a person's text that a message repeats, in characters; the line below the message has the rest.
const SHOWN: usize = 80;

/// Whether a character must never reach a terminal, a report or a log as it is.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// Escapes each line of a text by itself: line breaks and tabs stay.
pub fn escape_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .flat_map(|line| [escape(line.trim_end_matches('\n')).replace("\\t", "\t"), "\n".to_owned()])
        .collect()
}

/// Escapes what [`is_hostile`]; everything else stays. Line breaks and tabs are escaped too.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(c, &mut out);
    }
    Cow::Owned(out)
}

/// Escapes one character, if it must be.
fn push(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_hostile(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        c => out.push(c),
    }
}

/// `text` escaped, cut after [`SHOWN`] characters, and in backticks: how messages repeat a person's words.
pub fn quoted(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(SHOWN).collect();
    let rest = if chars.next().is_some() { "…" } else { "" };
    format!("`{}{rest}`", escape(&head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_comes_through() {
        let text = "a\u{1b}]52;c;x\u{7}b\u{202e}c\u{200b}d\u{9b}e\u{feff}\n";
        assert_eq!(escape(text), r"a\u{1b}]52;c;x\u{7}b\u{202e}c\u{200b}d\u{9b}e\u{feff}\n");
        assert_eq!(escape("Käse ☃ `x`"), "Käse ☃ `x`");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), SHOWN + 3);
    }
}
