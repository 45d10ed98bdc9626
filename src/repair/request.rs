//! What a request on a forge says: the drift file, made safe for a page where an `@` calls a person and a `#` links an issue.
//!
//! A forge looks for such references after it has read the Markdown, so a backslash does not help: they are taken apart by
//! a character without width. In code they are none, and stay as they are.

use sha2::{Digest, Sha256};

use super::markdown::{Room, fence, fitting_lines, plain, shortened, visible};
use crate::model::ConnectionRef;

/// Of no width, and no letter: what it stands in is no name and no number any more.
const APART: &str = "&#8203;";
/// Characters that refer to something when a word follows them, on one of the forges.
const SIGNS: &[char] = &['@', '#', '!', '$', '%', '&', '~', '^'];
/// A forge makes a link of a word of so many hexadecimal digits, if it is a commit.
const COMMIT: usize = 7;
/// What a comment says of changes or reasons.
const COMMENT: Room = Room { lines: 100, bytes: 10_000 };
/// What is shown of a branch's message, and of its diff.
const DIFF: Room = Room { lines: 300, bytes: 30_000 };
/// Room for what follows the text: marks, ends of blocks, the link.
const REST: usize = 1_500;

/// A title and a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestText {
    /// One line.
    pub title: String,
    /// Markdown, without a mark.
    pub body: String,
    /// Of both: what was made from the same has the same.
    pub digest: String,
}

/// What the request of a drift says. `link` leads to the drift file on the repair branch; `longest` counts characters. `rule`
/// is the one for which the forge merges it by itself.
pub fn request_text(
    connection: &ConnectionRef,
    (file, link): (&str, &str),
    rule: Option<&str>,
    longest: usize,
) -> RequestText {
    let (front, text) = file.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).unwrap_or(("", file));
    let count = |key: &str| {
        let value = front.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value.and_then(|value| value.parse::<usize>().ok()).unwrap_or_default()
    };
    let (changes, breaking) = (count("changes"), count("breaking"));
    let plural = if changes == 1 { "" } else { "s" };
    let breaking = if breaking > 0 { format!(", {breaking} breaking") } else { String::new() };
    let name = visible(&connection.to_string(), false);
    let title = format!("Drift of {}: {changes} change{plural}{breaking}", shortened(&name, 120));
    let (lines, cut) = fitted(&harmless(text), longest.saturating_sub(REST));
    let told = if cut { "This is not all: the whole text is in the" } else { "The same is in the" };
    let by_itself = rule.map(|rule| {
        format!(
            "The rule `{rule}` takes this in: the forge merges it by itself once everything that it asks of a merge is there. \
             Close it to reject.\n\n"
        )
    });
    let by_itself = by_itself.unwrap_or_default();
    let body = format!("{by_itself}{}\n\n{told} [drift file]({link}).\n", lines.trim_matches('\n'));
    RequestText::new(title, body)
}

/// What is offered beside a drift: a branch with its commit's words, and why.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// `Rollback of`: begins the title, which ends with the connection.
    pub what: &'static str,
    /// A paragraph of ours.
    pub why: &'static str,
    /// The commit's message.
    pub message: &'a str,
    /// The unified diff.
    pub diff: &'a str,
    /// What merging and closing mean, in words of ours.
    pub decide: &'static str,
}

/// What the request of such a branch says.
pub fn offer_text(connection: &ConnectionRef, branch: &str, offered: Offered<'_>, longest: usize) -> RequestText {
    let Offered { what, why, message, diff, decide } = offered;
    let name = visible(&connection.to_string(), false);
    let title = format!("{what} {}", shortened(&name, 120));
    let block = |kind: &str, text: &str| {
        let (kept, left) = fitting_lines(&text.lines().map(str::to_owned).collect::<Vec<_>>(), DIFF);
        let more = if left > 0 { format!("… and {left} more lines.\n\n") } else { String::new() };
        format!("{}\n{more}", fence(kind, &kept.join("\n")))
    };
    let said: Vec<&str> = message.lines().filter(|line| !line.starts_with("Aam-")).collect();
    let said = block("text", said.join("\n").trim());
    let commands = fence("sh", &format!("git show origin/{branch}\ngit merge origin/{branch}"));
    let text = format!(
        "# {title}\n\n{why}\n\n{said}\n## How to decide\n\n{decide} In a terminal:\n\n{commands}\n## Changes\n\n{}",
        block("diff", diff)
    );
    RequestText::new(title, fitted(&text, longest.saturating_sub(REST)).0)
}

impl RequestText {
    fn new(title: String, body: String) -> Self {
        let digest = hex::encode(Sha256::digest(format!("{title}\n{body}")))[..16].to_owned();
        Self { title, body, digest }
    }
}

/// A comment: a sentence of ours, and lines from outside.
pub fn request_comment(sentence: &str, lines: &str) -> String {
    let (kept, left) = fitting_lines(&lines.lines().map(str::to_owned).collect::<Vec<_>>(), COMMENT);
    let more = if left > 0 { format!("\n… and {left} more lines.\n") } else { String::new() };
    format!("{sentence}\n\n{}{more}", fence("text", &kept.join("\n")))
}

/// Words from outside in a sentence or a list: nothing in them is markup or refers to anything.
pub(crate) fn said(text: &str) -> String {
    prose(&plain(text))
}

/// Text with every reference outside of code taken apart. It decides on a merge, so the way to decide names that first.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut fence: Option<usize> = None;
    for line in text.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match fence {
            Some(open) => {
                out.push_str(line);
                if ticks >= open && line.len() == ticks {
                    fence = None;
                }
            }
            None if ticks >= 3 => {
                out.push_str(line);
                fence = Some(ticks);
            }
            None => out.push_str(&prose(line)),
        }
        out.push('\n');
        if fence.is_none() && line == "## How to decide" {
            out.push_str(
                "\nMerge this request to approve, close it to reject: its last comment is the reason. In a terminal:\n",
            );
        }
    }
    out
}

/// One line outside of a block, its code spans as they are.
fn prose(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        // What is escaped opens no span.
        let escaped = rest[..at].len() - rest[..at].trim_end_matches('\\').len();
        let run = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let (before, span) = rest.split_at(at);
        let end = if escaped % 2 == 1 { None } else { closing(&span[run..], run) };
        out.push_str(&apart(before));
        let length = end.map_or(run, |end| run + end + run);
        out.push_str(&span[..length]);
        rest = &span[length..];
    }
    out.push_str(&apart(rest));
    // At the beginning of a line a slash gives an order.
    if out.starts_with('/') { format!("{APART}{out}") } else { out }
}

/// Where a run of exactly so many backticks begins.
fn closing(text: &str, run: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find('`') {
        let length = text[at + found..].len() - text[at + found..].trim_start_matches('`').len();
        if length == run {
            return Some(at + found);
        }
        at += found + length;
    }
    None
}

/// References, addresses and commits taken apart.
fn apart(text: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = text.chars().collect();
    let begins_word = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '"' | '\\'));
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let word = chars[at..].iter().take_while(|c| c.is_alphanumeric()).count();
        if word > 0 {
            let text: String = chars[at..at + word].iter().collect();
            let commit = word >= COMMIT && text.chars().all(|c| c.is_ascii_hexdigit());
            let host = text.eq_ignore_ascii_case("www") && chars.get(at + word) == Some(&'.');
            // `GH-1`, `JIRA-7`
            let issue =
                chars.get(at + word) == Some(&'-') && chars.get(at + word + 1).is_some_and(char::is_ascii_digit);
            match commit {
                true => out.push_str(&format!("{}{APART}{}", &text[..3], &text[3..])),
                false => out.push_str(&text),
            }
            if host || issue {
                out.push_str(APART);
            }
            at += word;
            continue;
        }
        out.push(c);
        if (SIGNS.contains(&c) && begins_word(at + 1)) || (c == ':' && chars.get(at + 1) == Some(&'/')) {
            out.push_str(APART);
        }
        at += 1;
    }
    out
}

/// As many whole lines as fit, with a block that is open closed; and whether any were left out.
fn fitted(text: &str, longest: usize) -> (String, bool) {
    if text.chars().count() <= longest {
        return (text.to_owned(), false);
    }
    let (mut out, mut count, mut fence, mut folded): (String, usize, Option<usize>, bool) = Default::default();
    for line in text.lines() {
        count += line.chars().count() + 1;
        if count > longest {
            break;
        }
        let ticks = line.len() - line.trim_start_matches('`').len();
        fence = match fence {
            Some(open) if ticks >= open && line.len() == ticks => None,
            None if ticks >= 3 => Some(ticks),
            other => other,
        };
        folded = if fence.is_some() { folded } else { (folded || line == "<details>") && line != "</details>" };
        out.push_str(line);
        out.push('\n');
    }
    if let Some(ticks) = fence {
        out.push_str(&format!("{}\n", "`".repeat(ticks)));
    }
    if folded {
        out.push_str("\n</details>\n");
    }
    (out, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_refer_to_something_is_taken_apart_outside_of_code() {
        let hostile = "\
by \\@acme/team, fixes \\#12 and acme/config\\#3, see https\u{3a}//evil.example/x or www.evil.example
/close the door, !5 $2 %3 ~bug &4 ^x GH-12 mail ada@example.org deadbeef1 33% and #hash
`@team #1` ``a`@b`` \\`@c` and `open @d
```diff
+ @team #12 https://x/ deadbeef1
```
@end";
        insta::assert_snapshot!(harmless(hostile), @r#"
        by \@&#8203;acme/team, fixes \#&#8203;12 and acme/config\#&#8203;3, see https:&#8203;//evil.example/x or www&#8203;.evil.example
        &#8203;/close the door, !&#8203;5 $&#8203;2 %&#8203;3 ~&#8203;bug &&#8203;4 ^&#8203;x GH&#8203;-12 mail ada@&#8203;example.org dea&#8203;dbeef1 33% and #&#8203;hash
        `@team #1` ``a`@b`` \`@&#8203;c` and `open @&#8203;d
        ```diff
        + @team #12 https://x/ deadbeef1
        ```
        @&#8203;end
        "#);
    }

    #[test]
    fn a_text_that_is_too_long_ends_with_a_whole_line_and_closed_blocks() {
        let text =
            "# One\n\n<details>\n<summary>x</summary>\n\n````diff\n+ a\n```\n+ b\n+ c\n````\n\n</details>\nend\n";
        let (all, cut) = fitted(text, 1000);
        assert_eq!((all.as_str(), cut), (text, false));
        insta::assert_snapshot!(fitted(text, 60).0, @"
        # One

        <details>
        <summary>x</summary>

        ````diff
        + a
        ```
        + b
        ````

        </details>
        ");
    }

    #[test]
    fn a_request_says_what_the_drift_file_says() {
        let file = "---\nconnection: \"crm\"\nchanges: 3\nbreaking: 1\n---\n\n# Drift of crm: 3 changes\n\n```diff\n- a\n```\n\n\
                    ## How to decide\n\nTo approve, merge the branch `x`:\n";
        let text = request_text(&"crm".parse().unwrap(), (file, "https://forge.example.org/f"), None, 65_536);
        insta::assert_snapshot!(format!("{}\n{}\n\n{}", text.digest, text.title, text.body), @"
        99537bd910c271e0
        Drift of crm: 3 changes, 1 breaking

        # Drift of crm: 3 changes

        ```diff
        - a
        ```

        ## How to decide

        Merge this request to approve, close it to reject: its last comment is the reason. In a terminal:

        To approve, merge the branch `x`:

        The same is in the [drift file](https://forge.example.org/f).
        ");
        let long = file.replace("- a", &"- a\n".repeat(9_000));
        let short = request_text(&"crm".parse().unwrap(), (&long, "l"), Some("additive"), 10_000);
        assert!(
            short.body.starts_with("The rule `additive` takes this in: the forge merges it by itself"),
            "{}",
            short.body
        );
        assert!(short.body.chars().count() <= 10_000 && short.body.contains("This is not all"), "{}", short.body.len());
        assert_ne!(short.digest, text.digest);
    }

    #[test]
    fn a_comment_holds_lines_from_outside_as_code() {
        insta::assert_snapshot!(request_comment("It moved on.", "new: + t.@team: string\n```\n/close"), @"
        It moved on.

        ````text
        new: + t.@team: string
        ```
        /close
        ````
        ");
    }
}
