//! The drift file.

use super::*;

#[test]
fn a_drift_file_tells_everything() {
    let connection = connection(&catalog(BEFORE), mapping(MAPPING));
    let after = BEFORE.replace("annual_rev ", "annual_revenue ").replace("fax_number string, ", "");
    let repair = drafted(&connection, "", &catalog(&after));
    let part = repair.proposed.unwrap();
    let text = part.commit.edits.last().unwrap().after.clone().unwrap();
    insta::assert_snapshot!(text, @r#"
    ---
    connection: "crm"
    drift: s1:1bc40952e9c43cc6475d8a4ec0758674c9d1ea60047f3b273360e1d8be831cca
    base: s1:80c1d455f53c86b6dca646bc4088519e6f3df55eddc49339371ef80a72091391
    version: 2
    changes: 2
    breaking: 2
    severity: breaking_for_mapping
    confidence: 0.60
    automatic: "no: what went may live on under another name"
    ---

    # Drift of crm: 2 changes

    ```diff
    ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)   [AAM-D006]
    - public/accounts.fax_number: string   [AAM-D005]
    ```

    What a code means: `aam explain CODE`.

    ## Evidence

    ```text
    ~ public/accounts.annual_rev -> annual_revenue: decimal(12,2)
        + name: annual, rev in common, revenue for rev; likeness 0.89
        + type: both are decimal(12,2)
        + rivals: no other field could be the partner
        = values: no values were compared
        confidence 0.66; not automatic: only values joined by key could prove a rename
    ```

    ## What it touches

    ```text
    mappings/crm.yaml:11  canonical field account.fax reads fax_number: starves
        2 events in 7 days carried it
    mappings/crm.yaml:10  canonical field account.annual_revenue reads annual_rev: the repair follows the new name
        about 1,240 events a day carried it
    mappings/crm.yaml:12  canonical field account.label reads annual_rev: the repair follows the new name
        about 1,240 events a day carried it
    public.accounts  column fax_number: dropped by the first sync after approval, with the values
    public.accounts  column annual_rev: dropped by the first sync after approval, which adds annual_revenue
        rows that are not read again hold no value in annual_revenue
    public/accounts  left out of syncs until this is decided; the first sync after that catches up
        account gets no new events from it meanwhile
        last synced 2026-11-20 13:58 UTC
    ```

    Events are counted in the 7 days before 2026-11-20 14:03 UTC, when this was first seen.

    ## What it means for data

    - New rows carry no value for a field that is gone; canonical fields that only it feeds get no value from new rows.
    - New rows carry the value under the new name; with this repair it reaches the same canonical fields. A record whose values are unchanged gives no new event.

    ## What remains to do

    - account.fax starves: its source is gone and its entry is taken out; new events carry no value for it until it is mapped anew. Before merging you may map it to another field instead

    ## Diff

    ```diff
    --- a/mappings/crm.yaml
    +++ b/mappings/crm.yaml
    @@ -8,6 +8,5 @@
         fields:
           name: name                      # the display name
    -      annual_revenue: {from: annual_rev, as: decimal}
    -      fax: fax_number
    -      label: {expr: 'name ~ " " ~ annual_rev'}
    +      annual_revenue: {from: annual_revenue, as: decimal}
    +      label: {expr: 'name ~ " " ~ annual_revenue'}
         deleted_when: is_deleted
    --- a/connectors.d/crm.lock.yaml
    +++ b/connectors.d/crm.lock.yaml
    @@ -1,6 +1,6 @@
     # Written by aam. The approved schema of connection crm; a change is approved by merging it.
     id: 00000000-0000-0000-0000-000000000007
    -version: 1
    -fingerprint: s1:80c1d455f53c86b6dca646bc4088519e6f3df55eddc49339371ef80a72091391
    +version: 2
    +fingerprint: s1:1bc40952e9c43cc6475d8a4ec0758674c9d1ea60047f3b273360e1d8be831cca
     streams:
       public/accounts:
    @@ -8,6 +8,5 @@
         modes: [full_refresh]
         fields:
    -      annual_rev: decimal(12,2)
    -      fax_number: string
    +      annual_revenue: decimal(12,2)
           id: integer!
           is_deleted: boolean
    ```

    ## How to decide

    A person decides, because what went may live on under another name.

    To approve, merge the branch `aam/drift/default/crm`:

    ```sh
    git merge aam/drift/default/crm      # or: aam drift approve crm
    ```

    To reject, and not be asked again for these changes:

    ```sh
    aam drift reject crm --reason "…"
    ```
    "#);
}

/// The drift file of what is proposed.
fn file_of(before: &Catalog, after: &Catalog) -> String {
    let connection = connection(before, mapping(MAPPING));
    let part = drafted(&connection, "", after).proposed.unwrap();
    let text = part.commit.edits.last().unwrap().after.clone().unwrap();
    assert!(text.len() <= file::MOST_BYTES, "{} bytes", text.len());
    assert!(!(text.clone() + &part.commit.body).contains(['\u{1b}', '\u{202e}']));
    text
}

/// Streams `public/t00`, `public/t01`, … with `fields` fields each, beside the accounts.
fn wide(accounts: &str, streams: usize, fields: impl Fn(usize, usize) -> String) -> Catalog {
    let mut all = catalog(accounts);
    for stream in 0..streams {
        let fields = (0..30).map(|n| fields(stream, n)).filter(|field| !field.is_empty());
        let fields: Vec<String> = std::iter::once("id integer!".to_owned()).chain(fields).collect();
        let one = catalog(&fields.join(", ")).streams.into_values().next().unwrap();
        all.streams.insert(format!("public/t{stream:03}").parse().unwrap(), one);
    }
    all
}

#[test]
fn forty_changes_are_folded_by_rule_below_what_breaks() {
    let before = wide(BEFORE, 2, |_, n| if n < 15 { format!("f{n:02} integer!") } else { String::new() });
    let no_fax = BEFORE.replace("fax_number string, ", "");
    let after = wide(&no_fax, 2, |stream, n| match (stream, n) {
        (0, ..15) => format!("f{n:02} integer"),
        (1, ..15) => format!("f{n:02} integer!"),
        (1, 15..) => format!("g{n:02} string!"),
        (0, 15..25) => format!("g{n:02} string!"),
        _ => String::new(),
    });
    let text = file_of(&before, &after);
    let (what, rest) =
        text.split_once("\n## Evidence").unwrap_or_else(|| text.split_once("\n## What it touches").unwrap());
    insta::assert_snapshot!(what, @r#"
    ---
    connection: "crm"
    drift: s1:2455f7e1d77d2ac2b4f62e8d746bafc32ae938244fc205ab7b9f41157b218f4a
    base: s1:59e1a9ac737d36649252af8cb7b59a48f05206ee100b70774577d09b9f78b984
    version: 2
    changes: 41
    breaking: 1
    severity: breaking_for_mapping
    confidence: 0.60
    automatic: "no: what went may live on under another name"
    ---

    # Drift of crm: 41 changes

    1 of them breaks what is in use:

    ```diff
    - public/accounts.fax_number: string   [AAM-D005]
    ```

    <details>
    <summary>25 fields added that are never null in 2 streams [AAM-D004]</summary>

    ```diff
    + public/t000.g15: string!
    + public/t000.g16: string!
    + public/t000.g17: string!
    + public/t000.g18: string!
    + public/t000.g19: string!
    + public/t000.g20: string!
    + public/t000.g21: string!
    + public/t000.g22: string!
    + public/t000.g23: string!
    + public/t000.g24: string!
    + public/t001.g15: string!
    + public/t001.g16: string!
    + public/t001.g17: string!
    + public/t001.g18: string!
    + public/t001.g19: string!
    + public/t001.g20: string!
    + public/t001.g21: string!
    + public/t001.g22: string!
    + public/t001.g23: string!
    + public/t001.g24: string!
    + public/t001.g25: string!
    + public/t001.g26: string!
    + public/t001.g27: string!
    + public/t001.g28: string!
    + public/t001.g29: string!
    ```

    </details>

    <details>
    <summary>15 fields may be null now [AAM-D010]</summary>

    ```diff
    ~ public/t000.f00: may be null now
    ~ public/t000.f01: may be null now
    ~ public/t000.f02: may be null now
    ~ public/t000.f03: may be null now
    ~ public/t000.f04: may be null now
    ~ public/t000.f05: may be null now
    ~ public/t000.f06: may be null now
    ~ public/t000.f07: may be null now
    ~ public/t000.f08: may be null now
    ~ public/t000.f09: may be null now
    ~ public/t000.f10: may be null now
    ~ public/t000.f11: may be null now
    ~ public/t000.f12: may be null now
    ~ public/t000.f13: may be null now
    ~ public/t000.f14: may be null now
    ```

    </details>

    What a code means: `aam explain CODE`.
    "#);
    let diff = rest.split_once("## Diff").unwrap().1.split_once("## How to decide").unwrap().0;
    let diff: Vec<&str> = diff.lines().take(30).collect();
    insta::assert_snapshot!(diff.join("\n"), @r#"


    ```diff
    --- a/mappings/crm.yaml
    +++ b/mappings/crm.yaml
    @@ -9,5 +9,4 @@
           name: name                      # the display name
           annual_revenue: {from: annual_rev, as: decimal}
    -      fax: fax_number
           label: {expr: 'name ~ " " ~ annual_rev'}
         deleted_when: is_deleted
    ```

    <details>
    <summary>The lock: 81 lines</summary>

    ```diff
    --- a/connectors.d/crm.lock.yaml
    +++ b/connectors.d/crm.lock.yaml
    @@ -1,6 +1,6 @@
     # Written by aam. The approved schema of connection crm; a change is approved by merging it.
     id: 00000000-0000-0000-0000-000000000007
    -version: 1
    -fingerprint: s1:59e1a9ac737d36649252af8cb7b59a48f05206ee100b70774577d09b9f78b984
    +version: 2
    +fingerprint: s1:2455f7e1d77d2ac2b4f62e8d746bafc32ae938244fc205ab7b9f41157b218f4a
     streams:
       public/accounts:
    @@ -9,5 +9,4 @@
         fields:
    "#);
}

#[test]
fn three_thousand_changes_have_a_bounded_file_that_says_where_the_rest_is() {
    // 100 streams: the first two lose 30 fields each and get others, the rest get 30 each.
    let before = wide(BEFORE, 100, |stream, n| if stream < 2 { format!("old_{n:02} integer") } else { String::new() });
    let after = wide(&BEFORE.replace("fax_number string, ", ""), 100, |stream, n| match stream {
        ..2 => format!("zz{} binary!", "q".repeat(n + 1)),
        _ => format!("field_{n:02} string!"),
    });
    let text = file_of(&before, &after);
    // Of lines that begin alike one is enough.
    let alike = |a: &&str, b: &&str| ["+ ", "- "].iter().any(|sign| a.starts_with(sign) && b.starts_with(sign));
    let lines: Vec<&str> = text.lines().collect();
    let lines: Vec<&str> = lines.chunk_by(alike).map(|run| run[0]).collect();
    let shown = |from: &str, to: &str| {
        let start = lines.iter().position(|line| line.starts_with(from)).unwrap();
        let end = lines.iter().position(|line| line.starts_with(to)).unwrap();
        lines[start..end].join("\n")
    };
    insta::assert_snapshot!(shown("# Drift", "## What it touches"), @r#"
    # Drift of crm: 3061 changes

    1 of them breaks what is in use:

    ```diff
    - public/accounts.fax_number: string   [AAM-D005]
    ```

    <details>
    <summary>3000 fields added that are never null in 100 streams [AAM-D004]</summary>

    ```diff
    + public/t000  30: zzq, zzqq, zzqqq, zzqqqq, …
    ```

    … and 40 more lines; `git show aam/drift/default/crm` has all.

    </details>

    <details>
    <summary>60 fields gone that nothing uses in 2 streams [AAM-D005]</summary>

    ```diff
    - public/t000  30: old_00, old_01, old_02, old_03, …
    ```

    </details>

    What a code means: `aam explain CODE`.
    "#);
    insta::assert_snapshot!(shown("## What it touches", "## What it means"), @r#"
    ## What it touches

    ```text
    mappings/crm.yaml:11  canonical field account.fax reads fax_number: starves
        2 events in 7 days carried it
    public.accounts  column fax_number: dropped by the first sync after approval, with the values
    public.t000  columns old_00, old_01, old_02 and 27 more: dropped by the first sync after approval, with the values
    public.t001  columns old_00, old_01, old_02 and 27 more: dropped by the first sync after approval, with the values
    public/accounts  left out of syncs until this is decided; the first sync after that catches up
        account gets no new events from it meanwhile
        last synced 2026-11-20 13:58 UTC
    ```

    Events are counted in the 7 days before 2026-11-20 14:03 UTC, when this was first seen.
    "#);
    assert!(text.len() < 40_000, "{} bytes", text.len());
    assert!(text.contains("more lines; `git show aam/drift/default/crm` has all."), "{text}");
}

#[test]
fn hostile_names_stay_text_and_do_not_grow_the_file() {
    let hostile = "\"a```\\u{a}# <script></details>\\u{1b}[2J | \u{202e}\"";
    let many: Vec<String> = (0..50).map(|n| format!("f{n:02} string!")).collect();
    let text = file_of(&catalog(BEFORE), &catalog(&format!("{BEFORE}, {}, {hostile} string!", many.join(", "))));
    // No line of its own, and the fence around it is longer than its backticks.
    assert!(!text.lines().any(|line| line.starts_with("# <script>") || line.starts_with("<script")));
    assert!(text.contains("````diff"));
    assert_eq!(text.matches("<details>").count(), text.matches("\n</details>\n").count());
    insta::assert_snapshot!(text.lines().find(|line| line.contains("script")).unwrap(), @r#"+ public/accounts  51: "a```\u{a}# <script></details>\u{1b}[2J | \u{202e}", f00, f01, f02, …"#);

    let long: Vec<String> =
        (0..200).map(|n| format!("{}{n:03} string!", "ab`".repeat(700).replace('`', "_"))).collect();
    file_of(&catalog(BEFORE), &catalog(&format!("{BEFORE}, {}", long.join(", "))));
    let gone: Vec<String> = (0..200).map(|n| format!("{}{n:03} string", "x".repeat(1_900))).collect();
    file_of(&catalog(&format!("{BEFORE}, {}", gone.join(", "))), &catalog(&BEFORE.replace("fax_number string, ", "")));
}
