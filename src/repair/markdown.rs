//! Text from outside inside Markdown: it stays text, on GitHub as in `less`.

/// Characters that could hide, reorder or break text: written as `\u{…}`. Line breaks stay if `lines` says so.
pub(crate) fn visible(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}');
        if (c.is_control() && !(c == '\n' && lines)) || hidden {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// A code span that holds exactly the text, whatever backticks are in it.
pub(crate) fn code(text: &str) -> String {
    let text = visible(text, false);
    let ticks = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// A fenced block that nothing inside it can close.
pub(crate) fn fence(language: &str, text: &str) -> String {
    let text = visible(text, true);
    let ticks = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{ticks}{language}\n{}\n{ticks}\n", text.trim_end_matches('\n'))
}

/// Plain words within a sentence or list: what Markdown or HTML would take for markup is escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in visible(text, false).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '#' | '~' | '!' | '@') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// As many blocks of lines as the room allows, the lines made visible and, if they are very long, cut; and how many blocks are
/// left over.
pub(crate) fn fitting(blocks: &[Vec<String>], room: Room) -> (Vec<String>, usize) {
    let (mut kept, mut bytes): (Vec<String>, usize) = (Vec::new(), 0);
    for (at, block) in blocks.iter().enumerate() {
        let block = block.iter().map(|line| shortened(&visible(line, false), LONGEST_LINE));
        let block: Vec<String> = block.take(room.lines).collect();
        bytes += block.iter().map(|line| line.len() + 1).sum::<usize>();
        if bytes > room.bytes || kept.len() + block.len() > room.lines {
            return (kept, blocks.len() - at);
        }
        kept.extend(block);
    }
    (kept, 0)
}

/// [`fitting`] for lines that stand alone.
pub(crate) fn fitting_lines(lines: &[String], room: Room) -> (Vec<String>, usize) {
    fitting(&lines.iter().map(|line| vec![line.clone()]).collect::<Vec<_>>(), room)
}

/// How much of a list is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub lines: usize,
    pub bytes: usize,
}

/// A longer line is no line that a person reads.
const LONGEST_LINE: usize = 600;

/// At most so many bytes, with `…` for what is cut off.
pub(crate) fn shortened(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// A block that is closed until a reader opens it; a terminal shows all of it. The summary holds words of ours only.
pub(crate) fn folded(summary: &str, block: &str) -> String {
    format!("<details>\n<summary>{summary}</summary>\n\n{block}\n</details>\n")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let hostile = "a`b``c\n# <img src=x> | \u{202e}evil\u{1b}[31m";
        assert_eq!(code(hostile), r"```a`b``c\u{a}# <img src=x> | \u{202e}evil\u{1b}[31m```");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(fence("text", "x\n````\n# y"), "`````text\nx\n````\n# y\n`````\n");
        assert_eq!(plain("a_b <i> | @team"), r"a\_b \<i\> \| \@team");
    }
}
