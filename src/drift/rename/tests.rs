//! What detection finds, and what it must not find, on small tables; and its laws.

use proptest::prelude::*;

use super::*;
use crate::model::{Field, FieldPath};

/// `name type [place]`, separated by commas.
fn fields(text: &str) -> Vec<(FieldPath, Field)> {
    let one = |text: &str| {
        let mut parts = text.split_whitespace();
        let path = FieldPath::top(parts.next().unwrap());
        let mut field = Field::from_shape(parts.next().unwrap()).unwrap();
        field.place = parts.next().map(|place| place.parse().unwrap());
        (path, field)
    };
    text.split(',').filter(|text| !text.trim().is_empty()).map(one).collect()
}

/// Runs with the level between two tables.
fn between<T>(before: &str, after: &str, run: impl FnOnce(&Level<'_>) -> T) -> T {
    let (before, after) = (fields(before), fields(after));
    let member = |(path, field): &'_ (FieldPath, Field)| (path.clone(), field.clone());
    let find = |all: &[(FieldPath, Field)], path: &FieldPath| all.iter().find(|(other, _)| other == path).map(member);
    let alone = |all: &[(FieldPath, Field)], others: &[(FieldPath, Field)]| -> Vec<(FieldPath, Field)> {
        all.iter().filter(|(path, _)| find(others, path).is_none()).map(member).collect()
    };
    let (gone, new) = (alone(&before, &after), alone(&after, &before));
    fn members(all: &[(FieldPath, Field)]) -> Vec<Member<'_>> {
        all.iter().map(|(path, field)| Member { path: path.clone(), field, role: Role::Plain }).collect()
    }
    let kept = before.iter().filter_map(|(path, field)| {
        Some(Kept { path: path.clone(), before: field.place, after: find(&after, path)?.1.place })
    });
    run(&Level { table: "accounts", kept: kept.collect(), gone: members(&gone), new: members(&new) })
}

fn told(level: &Level<'_>, sampled: Option<&Sampled>) -> String {
    let judged = Judged::of(level, sampled);
    let line = |found: &Match| {
        let automatic = if judged.doubt(found.gone, found.new).is_none() { ", proven" } else { "" };
        format!("{} -> {}{automatic}", level.gone[found.gone].path, level.new[found.new].path)
    };
    judged.matches().iter().map(line).collect::<Vec<_>>().join("; ")
}

fn found(before: &str, after: &str) -> String {
    between(before, after, |level| told(level, None))
}

/// What joining found: `(from, to, equal of 100 keys, distinct values)`; what is not listed agrees in 2 of 100.
fn joined(level: &Level<'_>, known: &[(&str, &str, u64, u64)]) -> Sampled {
    let others = || level.new.iter().map(|m| &m.path).chain(level.kept.iter().map(|kept| &kept.path));
    let mut sampled = Sampled::default();
    for from in &level.gone {
        for to in others() {
            let is = |known: &&(&str, &str, u64, u64)| known.0 == from.path.root() && known.1 == to.root();
            let (equal, distinct) = known.iter().find(is).map_or((2, 90), |known| (known.2, known.3));
            let joined = Joined {
                keys: 100,
                equal,
                differing: 100 - equal,
                distinct,
                chance: 1.0 / distinct as f64,
                ..Joined::default()
            };
            sampled.joined.push(JoinedPair { from: from.path.clone(), to: to.clone(), joined });
        }
    }
    sampled
}

fn with_values(before: &str, after: &str, known: &[(&str, &str, u64, u64)]) -> String {
    between(before, after, |level| told(level, Some(&joined(level, known))))
}

#[test]
fn case_separators_order_and_abbreviations_are_seen_through() {
    let rest = "id integer, city string, active boolean, updated_at timestamp";
    let found = |gone: &str, new: &str| found(&format!("{rest}, {gone}"), &format!("{rest}, {new}"));
    assert_eq!(found("createdAt timestamp", "created_at timestamp"), "createdAt -> created_at");
    assert_eq!(found("annual_rev number", "annual_revenue number"), "annual_rev -> annual_revenue");
    assert_eq!(found("street_name string", "name_street string"), "street_name -> name_street");
    assert_eq!(
        found("qty integer, label string", "quantity integer, full_label string"),
        "qty -> quantity; label -> full_label"
    );
    assert_eq!(
        found("cable_id integer, cable_type string", "link_type string, link_id integer"),
        "cable_id -> link_id; cable_type -> link_type"
    );
}

#[test]
fn the_same_name_in_another_writing_is_a_rename_whatever_its_type() {
    let rest = "id integer, name string, city string, active boolean, updated_at timestamp";
    let found = |gone: &str, new: &str| found(&format!("{rest}, {gone}"), &format!("{rest}, {new}"));
    assert_eq!(found("zipCode integer", "zip_code string"), "zipCode -> zip_code");
    assert_eq!(found("startDate string", "start_date timestamp_tz"), "startDate -> start_date");
    assert_eq!(
        found("zipCode integer, fax string", "zip_code string, website string"),
        "zipCode -> zip_code",
        "and the others are not drawn in"
    );
    // other names, and other types, say no such thing
    assert_eq!(found("zipCode integer", "postal_area string"), "");
}

#[test]
fn what_is_unrelated_is_no_rename() {
    let rest = "id integer, name string, city string, active boolean, updated_at timestamp";
    let found = |gone: &str, new: &str| found(&format!("{rest}, {gone}"), &format!("{rest}, {new}"));
    assert_eq!(found("fax string", "website string"), "");
    assert_eq!(found("active_flag boolean", "rating integer"), "");
    assert_eq!(found("fax string, notes string", "website string, rating integer, score number"), "");
}

#[test]
fn of_two_and_two_that_fit_alike_both_candidates_are_told_and_nothing_is_proven() {
    let (before, after) = ("id integer, phone_a string, phone_b string", "id integer, phone_c string, phone_d string");
    between(before, after, |level| {
        let judged = Judged::of(level, None);
        for gone in 0..2 {
            let told: String = judged.candidates(gone).iter().map(|line| format!("{line}\n")).collect();
            assert!(told.contains("phone_c") && told.contains("phone_d"), "{told}");
            assert!((0..2).all(|new| judged.doubt(gone, new).is_some()));
            assert!((0..2).all(|new| judged.confidence(gone, new) < 0.85));
        }
    });
    // values that agree as well in both tell nothing more
    let alike = [
        ("phone_a", "phone_c", 97, 90),
        ("phone_a", "phone_d", 97, 90),
        ("phone_b", "phone_c", 97, 90),
        ("phone_b", "phone_d", 97, 90),
    ];
    assert!(!with_values(before, after, &alike).contains("proven"));
}

#[test]
fn place_decides_where_it_is_known() {
    let (before, after) = (
        "id integer 0, phone string 1, city string 2",
        "id integer 0, phone_x string 1, city string 2, phone_y string 3",
    );
    assert_eq!(found(before, after), "phone -> phone_x");
}

#[test]
fn only_values_joined_by_key_prove_a_rename() {
    let (before, after) = ("id integer, fax string, city string", "id integer, website string, city string");
    assert_eq!(with_values(before, after, &[("fax", "website", 95, 90)]), "fax -> website, proven");
    assert_eq!(with_values(before, after, &[("fax", "website", 3, 90)]), "", "other values");
    let same_name = ("id integer, createdAt timestamp", "id integer, created_at timestamp");
    assert!(!found(same_name.0, same_name.1).contains("proven"), "names alone, whatever their score");
    let few = between(same_name.0, same_name.1, |level| {
        let mut sampled = joined(level, &[("createdAt", "created_at", 100, 90)]);
        sampled.joined.iter_mut().for_each(|pair| (pair.joined.keys, pair.joined.equal) = (12, 12));
        told(level, Some(&sampled))
    });
    assert_eq!(few, "createdAt -> created_at", "too few keys");
}

#[test]
fn of_too_few_keys_values_say_nothing() {
    let tables =
        [("phone string", "tel string"), ("billing_state string", "state string"), ("fax string", "web string")];
    for (gone, new) in tables {
        for (keys, equal) in [(1, 1), (3, 0), (19, 19)] {
            between(&format!("id integer, {gone}"), &format!("id integer, {new}"), |level| {
                let mut sampled = joined(level, &[]);
                let counted =
                    Joined { keys, equal, differing: keys - equal, distinct: 1, chance: 1.0, ..Joined::default() };
                sampled.joined.iter_mut().for_each(|pair| pair.joined = counted);
                let (with, without) = (Judged::of(level, Some(&sampled)), Judged::of(level, None));
                assert_eq!(told(level, Some(&sampled)), told(level, None), "{keys} keys, {equal} equal");
                assert!((with.confidence(0, 0) - without.confidence(0, 0)).abs() < 0.02, "{keys} keys, {equal} equal");
                let lines: String = with.lines(0, 0).iter().map(|line| format!("{line}\n")).collect();
                assert!(lines.contains("= values: of "), "{lines}");
            });
        }
    }
}

#[test]
fn what_was_compared_outlives_a_drift_that_changes() {
    let path = |name: &str| FieldPath::top(name);
    let kept = |rows: &[&str], gone: &[&str]| {
        let gone = gone.iter().copied().map(path).collect();
        KeptValues::of(rows.iter().copied(), &[path("id")], &gone, "salt".into()).unwrap()
    };
    let question = |gone: &[&str]| Question {
        gone: gone.iter().copied().map(path).collect(),
        present: vec![path("tel")],
        came: [path("tel")].into(),
        required: Default::default(),
    };
    let landed = [r#"{"id": 1, "tel": "a"}"#, r#"{"id": 2, "tel": "b"}"#];
    let first = kept(&[r#"{"id": 1, "phone": "a"}"#, r#"{"id": 2, "phone": null}"#], &["phone"]);
    let first = first.compare(landed, &[path("id")], &question(&["phone"])).unwrap();
    let count = |sampled: &Sampled, gone: &str| sampled.pair(&path(gone), &path("tel")).map(|joined| joined.keys);
    assert_eq!(count(&first, "phone"), Some(1), "a key of which no value was kept says nothing");

    let second = kept(&[r#"{"id": 2, "fax": "x"}"#], &["fax"]);
    let second = second.compare(landed, &[path("id")], &question(&["phone", "fax"])).unwrap();
    let mut arrival = Arrival { known: first, ..Arrival::default() };
    arrival.found(second);
    let compared = arrival.compared.as_ref().unwrap();
    assert_eq!((count(compared, "phone"), count(compared, "fax")), (Some(1), Some(1)));
    assert!(compared.asked.len() == 2 && !arrival.is_awaited());
}

#[test]
fn values_that_tell_little_prove_nothing() {
    let (before, after) = ("id integer, status string, city string", "id integer, status_code string, city string");
    assert_eq!(with_values(before, after, &[("status", "status_code", 100, 2)]), "status -> status_code");
    assert_eq!(with_values(before, after, &[("status", "status_code", 100, 60)]), "status -> status_code, proven");
}

#[test]
fn near_copies_are_never_proven() {
    let (before, after) =
        ("id integer, street string, city string", "id integer, road string, lane string, city string");
    for copy in [90, 99, 100] {
        let known = [("street", "road", 95, 90), ("street", "lane", copy, 90)];
        assert!(
            !with_values(before, after, &known).contains("proven"),
            "{copy} of 100 rows agree in another that came"
        );
        let known = [("street", "road", 95, 90), ("street", "city", copy, 90)];
        assert!(!with_values(before, after, &known).contains("proven"), "{copy} of 100 rows agree in one that stayed");
    }
    let (before, after) = ("id integer, billing_zip string", "id integer, shipping_zip string");
    assert_eq!(with_values(before, after, &[("billing_zip", "shipping_zip", 99, 90)]), "", "two things by name");
    // What was not counted may be a copy.
    let partly = between("id integer, fax string, city string", "id integer, telefax string, city string", |level| {
        let mut sampled = joined(level, &[("fax", "telefax", 97, 90)]);
        sampled.joined.retain(|pair| pair.to.root() != "city");
        told(level, Some(&sampled))
    });
    assert_eq!(partly, "fax -> telefax");
}

#[test]
fn profiles_raise_and_lower_and_never_prove() {
    let values = |prefix: &str| (0..50).map(|n| Some(format!("{prefix}{n}"))).collect::<Vec<_>>();
    let profile = |values: &[Option<String>]| Profile::of(values.iter().map(Option::as_deref));
    let (mails, numbers) = (profile(&values("a@b.example ")), profile(&values("")));
    let likeness = |a: &Profile, b: &Profile| a.beside(b).likeness();
    assert!(likeness(&mails, &mails) > 0.99 && likeness(&mails, &numbers) < 0.6, "{}", likeness(&mails, &numbers));
    insta::assert_snapshot!(mails.beside(&numbers), @"likeness 0.32 of 50 values before and 50 now: no value in 0 % and 0 %, distinct 100 % and 100 %, length 13.8 and 1.8; in common are characters 13 %, patterns 0 %, frequent values 0 %, range 0 %");
    between("id integer, mail string", "id integer, contact string", |level| {
        let plain = Judged::of(level, None).confidence(0, 0);
        let question = Question {
            gone: vec![FieldPath::top("mail")],
            present: vec![FieldPath::top("id"), FieldPath::top("contact")],
            came: [FieldPath::top("contact")].into(),
            required: Default::default(),
        };
        let with = |before: &str, after: &str| {
            let (gone, came) =
                ([(FieldPath::top("mail"), values(before))], [(FieldPath::top("contact"), values(after))]);
            let sampled = Sampled::apart(&question, &gone.into(), &came.into());
            let stored = serde_json::to_string(&sampled).unwrap();
            assert!(!stored.contains("example"), "shares and no values: {stored}");
            let judged = Judged::of(level, Some(&sampled));
            assert!(judged.doubt(0, 0).is_some());
            judged.confidence(0, 0)
        };
        let mail = "a@b.example ";
        assert!(with(mail, mail) > plain && with(mail, "") < plain);
    });
}

#[test]
fn a_field_that_stayed_and_holds_the_values_is_told_and_goes_on_if_it_is_sure() {
    let (before, after) =
        ("id integer, phone string, phone2 string, city string", "id integer, phone2 string, city string");
    let told = |known: &[(&str, &str, u64, u64)]| {
        between(before, after, |level| {
            let sampled = joined(level, known);
            let judged = Judged::of(level, Some(&sampled));
            let lines: String = judged.candidates(0).iter().map(|line| format!("{line}\n")).collect();
            format!("{lines}{:?}", judged.lives_on(0).map(ToString::to_string))
        })
    };
    insta::assert_snapshot!(told(&[("phone", "phone2", 97, 90)]), @r#"
    + values: phone2 stayed and holds its values: of 100 keys, 97 hold the same value (97 %), 3 another, 0 a value on one side only, 0 none; 90 distinct values
    Some("phone2")
    "#);
    insta::assert_snapshot!(told(&[("phone", "phone2", 97, 90), ("phone", "city", 90, 90)]), @"
    = values: phone2 stayed and holds its values: of 100 keys, 97 hold the same value (97 %), 3 another, 0 a value on one side only, 0 none; 90 distinct values; but city holds the same values in 90 % of rows, too
    None
    ");
    insta::assert_snapshot!(told(&[("phone", "phone2", 70, 90)]), @"
    = values: phone2 stayed and holds its values: of 100 keys, 70 hold the same value (70 %), 30 another, 0 a value on one side only, 0 none; 90 distinct values; but 70 % of the joined values are equal, fewer than 88 %
    None
    ");
    assert_eq!(told(&[]), "None");
}

#[test]
fn values_are_compared_whatever_their_writing() {
    for (a, b) in [
        ("Alder Freight", " alder  freight"),
        ("12.50", "12.5"),
        ("-0", "0.00"),
        ("2026-01-05T08:00:00Z", "2026-01-05 08:00:00+00"),
        ("2026-01-05T00:00:00.000Z", "2026-01-05"),
        ("2026/01/05", "2026-01-05"),
    ] {
        assert!(same_value(a, b), "{a} and {b}: {} and {}", plain(a), plain(b));
    }
    for (a, b) in [("007", "7"), ("12.5", "125"), ("2026-01-05", "2026-05-01"), ("", "0"), ("日本日本日本日本日", "x")]
    {
        assert!(!same_value(a, b), "{a} and {b}");
    }
}

#[test]
fn a_wide_table_is_judged_by_its_likeliest_pairs() {
    let table = |suffix: &str| (0..300).map(|n| format!("field_{n}{suffix} string,")).collect::<String>();
    let told = found(&table(""), &table("x"));
    assert!(told.contains("field_142 -> field_142x;") && told.matches("->").count() > 100, "{told}");
}

fn names() -> impl Strategy<Value = Vec<(String, &'static str, bool)>> {
    let word =
        prop::sample::select(vec!["id", "name", "fullName", "qty", "quantity", "a b", "日本", "_", "created_at", "x1"]);
    let ty = prop::sample::select(vec!["integer", "string", "timestamp!", "boolean"]);
    prop::collection::btree_map((word, 0..3_u8).prop_map(|(word, n)| format!("{word}{n}")), (ty, any::<bool>()), 0..7)
        .prop_map(|fields| fields.into_iter().map(|(name, (ty, kept))| (name, ty, kept)).collect())
}

proptest! {
    #[test]
    fn detection_does_not_depend_on_the_order_given(gone in names(), new in names(), turn in 0..7_usize) {
        let shapes: Vec<Field> = gone.iter().chain(&new).map(|(_, ty, _)| Field::from_shape(ty).unwrap()).collect();
        let members = |list: &[(String, &str, bool)], at: usize, mark: &str| -> Vec<(FieldPath, usize)> {
            list.iter().enumerate().map(|(n, (name, ..))| (FieldPath::top(format!("{mark}{name}")), at + n)).collect()
        };
        let (gone, new) = (members(&gone, 0, ""), members(&new, gone.len(), "n"));
        let run = |gone: &[(FieldPath, usize)], new: &[(FieldPath, usize)]| {
            let member = |(path, at): &(FieldPath, usize)| Member { path: path.clone(), field: &shapes[*at], role: Role::Plain };
            let level = Level { table: "t", kept: Vec::new(), gone: gone.iter().map(member).collect(), new: new.iter().map(member).collect() };
            let judged = Judged::of(&level, None);
            let mut pairs: Vec<_> = judged.matches().iter()
                .map(|m| (level.gone[m.gone].path.to_string(), level.new[m.new].path.to_string(), format!("{:.9}", m.confidence))).collect();
            pairs.sort();
            let all: Vec<f64> = (0..gone.len()).flat_map(|i| (0..new.len()).map(move |j| (i, j))).map(|(i, j)| judged.confidence(i, j)).collect();
            (pairs, all)
        };
        let (pairs, all) = run(&gone, &new);
        prop_assert!(all.iter().all(|p| (0.0..=1.0).contains(p)), "{:?}", all);
        for side in [|p: &(String, String, String)| p.0.clone(), |p: &(String, String, String)| p.1.clone()] {
            let mut once: Vec<String> = pairs.iter().map(side).collect();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), pairs.len());
        }
        let (mut turned_gone, mut turned_new) = (gone.clone(), new);
        if !gone.is_empty() { turned_gone.rotate_left(turn % gone.len()); }
        turned_new.reverse();
        // of pairings that gain the same, any may be taken: only what is told must not be less sure
        let (turned, mut others) = run(&turned_gone, &turned_new);
        let mut all = all;
        all.sort_by(f64::total_cmp);
        others.sort_by(f64::total_cmp);
        prop_assert!(all.iter().zip(&others).all(|(a, b)| (a - b).abs() < 1e-9));
        let sum = |pairs: &[(String, String, String)]| pairs.iter().map(|p| p.2.parse::<f64>().unwrap()).sum::<f64>();
        prop_assert!(pairs == turned || (sum(&pairs) - sum(&turned)).abs() < 0.2, "{:?} {:?}", pairs, turned);
    }
}
