//! What is looked at of a pair: numbers that say how the field that went resembles the one that came, and how it stands out.

use super::level::{Context, Prepared, Spot};
use super::names::{Name, difference, shared_letters, stem, word_likeness};
use crate::drift::{Grade, grade};
use crate::model::FieldType;

macro_rules! features {
    ($($name:ident $meaning:literal)*) => {
        /// What is looked at of a pair; see each field.
        #[derive(Debug, Clone, Default)]
        pub(super) struct Pair { $(#[doc = $meaning] pub $name: f64,)* }
        /// The names of all features, in the order of [`Pair::values`]. A model names those it was fitted on.
        pub const FEATURES: &[&str] = &[$(stringify!($name)),*];
        impl Pair {
            /// The features as numbers, in the order of [`FEATURES`].
            pub fn values(&self) -> Vec<f64> { vec![$(self.$name),*] }
        }
    };
}

features! {
    same_name "1 if both names are the same but for case and separators."
    jaro "Likeness of the letters that the names begin with (Jaro-Winkler)."
    edits "1 - edit distance as a share of the longer name."
    letters "Pairs of letters in common (Dice)."
    own_letters "The same without the table's name in front."
    words_from "Share of the old name's words, weighted by how much they say, that the new one holds in some form."
    words_to "Share of the new name's words that the old one holds."
    telling "The most that a word they share says: 0 if every name of the table holds it."
    contained "1 if one name's words are the other's with words before, behind or between."
    more_words "How many words the new name has more."
    replaced_from "How many words of the old name lie between the common beginning and end."
    replaced_to "The same of the new name."
    difference_likeness "Likeness of what differs, as the best of its words."
    same_last "1 if the last words are the same or nearly."
    same_first "1 if the first words are."
    same_meaning "1 if every word of the shorter name has a counterpart, also a synonym."
    same_type "1 if the types are the same."
    type_class "How far the types are apart: 0 same, 1 widened, 2 narrowed, 3 another way to read, within numbers or times, 4 else."
    type_rarity "How rare the type is among all that went and came: 0 if all have it, up to 1."
    kind "What the old field holds: 0 boolean, 1 number, 2 text, 3 time, 4 structure, 5 anything."
    ordered "1 if places are known."
    same_gap "1 if both stand between the same two fields that stayed; 0.5 if one neighbour is the same."
    same_spot "1 if both also have the same number of others in that gap before them, and the gap holds as many as before."
    rank_apart "How many more of the gap stand before the one than before the other."
    from_tail "1 if the old field stood behind all that stayed."
    to_tail "1 if the new one does."
    gap_gone "How many went from the old field's gap."
    gap_new "How many came into the new field's gap."
    place_apart "Difference of the two places, as a share of the table."
    same_place "1 if the place is the same number."
    appended "Share of what came that stands behind all that stayed."
    gone "How many went."
    new "How many came."
    surplus "How many came more than went."
    kept "Share of the names that stayed."
    alike "How many fields that went follow the same replacement of words."
    rivals_from "How many others of what came have the old field's type."
    rivals_to "How many others of what went have the new field's type."
    lead_from "How far the letters are ahead of the old field's next best partner."
    lead_to "How far they are ahead of the new field's next best partner."
    sibling "The most that the new name resembles one that stayed."
    lead_sibling "How far the pair is ahead of that."
    lives_on "Share of the old name's words that the new one lacks, but a name that stayed has: the idea is still in use."
    known_before "Share of the new name's words that the old one lacks, but a name that stayed has."
    companions "How many others of what came hold a word that the new name has and the old one lacks."
    company_gone "How many others of what went hold a word that the old name has and the new one lacks."
    of_table "Share of the new name's words that the table's name holds."
    was_of_table "The same of the old name."
    reference_from "1 if the old name ends like a reference (`id`, `key`, `uuid`)."
    reference_to "1 if the new name does."
    same_ending "How many letters both names end with, up to 10."
    same_beginning "How many letters both begin with, up to 10."
    length_from "Letters of the old name."
    length_to "Letters of the new name."
    words_of_old "Words of the old name."
    kind_gone "How many others of what went hold the same kind of value."
    kind_new "How many others of what came do."
    likeness "Both measures of likeness in one, as rivals are compared by."
}

/// One number for how alike the names are, to compare rivals by.
pub(super) fn likeness(a: &Prepared<'_>, b: &Prepared<'_>) -> f64 {
    if a.name.joined == b.name.joined {
        return 1.0;
    }
    let whole = names_likeness(&a.name, &b.name);
    whole.max(names_likeness(&a.own, &b.own))
}

/// How alike two names are that stand alone, 0 to 1.
pub fn name_likeness(a: &str, b: &str) -> f64 {
    let (a, b) = (Name::of(a), Name::of(b));
    if a.joined == b.joined { 1.0 } else { names_likeness(&a, &b) }
}

fn names_likeness(a: &Name, b: &Name) -> f64 {
    0.5 * shared_letters(&a.joined, &b.joined) + 0.5 * shared_words(a, b)
}

/// Words in common, weighted by length.
fn shared_words(a: &Name, b: &Name) -> f64 {
    let weight = |word: &String| word.chars().count() as f64;
    let total: f64 = a.words.iter().chain(&b.words).map(weight).sum();
    let one = |a: &Name, b: &Name| a.words.iter().map(|word| best(word, &b.words) * weight(word)).sum::<f64>();
    if total == 0.0 { 0.0 } else { (one(a, b) + one(b, a)) / total }
}

fn best(word: &str, others: &[String]) -> f64 {
    others.iter().map(|other| word_likeness(word, other)).fold(0.0, f64::max)
}

/// The features of a pair. `alike` has the [`likeness`] of all pairs that are looked at, `[gone][new]`.
pub(super) fn pair(context: &Context<'_>, alike: &[Vec<f64>], i: usize, j: usize) -> Pair {
    let (from, to) = (&context.gone[i], &context.new[j]);
    let mut pair = Pair::default();
    of_names(context, from, to, &mut pair);
    of_types(context, from, to, &mut pair);
    if let (Some(a), Some(b)) = (from.spot, to.spot) {
        of_places(context, a, b, &mut pair);
    }
    pair.gone = context.gone.len() as f64;
    pair.new = context.new.len() as f64;
    pair.surplus = pair.new - pair.gone;
    pair.kept = context.kept.len() as f64 / context.names as f64;
    pair.alike = context.replaced_alike(i, j) as f64;
    let own = alike[i][j];
    let best = |all: &mut dyn Iterator<Item = f64>| all.fold(0.0, f64::max);
    pair.lead_from = own - best(&mut (0..context.new.len()).filter(|k| *k != j).map(|k| alike[i][k]));
    pair.lead_to = own - best(&mut (0..context.gone.len()).filter(|k| *k != i).map(|k| alike[k][j]));
    pair.sibling = best(&mut context.siblings(&to.name).map(|kept| names_likeness(&to.name, kept)));
    pair.lead_sibling = own - pair.sibling;
    pair.likeness = own;
    of_company(context, i, j, &mut pair);
    pair
}

fn of_names(context: &Context<'_>, from: &Prepared<'_>, to: &Prepared<'_>, pair: &mut Pair) {
    let (a, b) = (&from.name, &to.name);
    let flag = |yes: bool| f64::from(u8::from(yes));
    pair.same_name = flag(a.joined == b.joined);
    pair.jaro = strsim::jaro_winkler(&a.joined, &b.joined);
    pair.edits = strsim::normalized_levenshtein(&a.joined, &b.joined);
    pair.letters = shared_letters(&a.joined, &b.joined);
    pair.own_letters = shared_letters(&from.own.joined, &to.own.joined);
    pair.words_from = covered(context, a, b);
    pair.words_to = covered(context, b, a);
    pair.telling = a
        .words
        .iter()
        .map(|word| if best(word, &b.words) >= 0.7 { context.weight(word, 2) } else { 0.0 })
        .fold(0.0, f64::max);
    let (short, long) = if a.words.len() <= b.words.len() { (a, b) } else { (b, a) };
    pair.contained = flag(!short.words.is_empty() && is_within(&short.words, &long.words));
    pair.more_words = b.words.len() as f64 - a.words.len() as f64;
    let (gone, come) = difference(a, b);
    (pair.replaced_from, pair.replaced_to) = (gone.len() as f64, come.len() as f64);
    pair.difference_likeness = gone.iter().map(|word| best(word, come)).fold(0.0, f64::max);
    let near = |a: Option<&String>, b: Option<&String>| {
        flag(matches!((a, b), (Some(a), Some(b)) if word_likeness(a, b) >= 0.9))
    };
    pair.same_last = near(a.words.last(), b.words.last());
    pair.same_first = near(a.words.first(), b.words.first());
    let least = short.words.iter().map(|word| best(word, &long.words)).fold(1.0, f64::min);
    pair.same_meaning = if short.words.is_empty() { 0.0 } else { least };
}

/// Share of the words of `a`, weighted by how much they say, that `b` holds in some form.
fn covered(context: &Context<'_>, a: &Name, b: &Name) -> f64 {
    let weight = |word: &String| 0.1 + context.weight(word, 2);
    let total: f64 = a.words.iter().map(weight).sum();
    let held: f64 = a.words.iter().map(|word| best(word, &b.words) * weight(word)).sum();
    if total == 0.0 { 0.0 } else { held / total }
}

/// Whether all words of `short` are in `long`, in their order.
fn is_within(short: &[String], long: &[String]) -> bool {
    let mut rest = long.iter();
    short.iter().all(|word| rest.any(|other| word_likeness(word, other) >= 0.9))
}

/// What the words that differ do in the rest of the table.
fn of_company(context: &Context<'_>, i: usize, j: usize, pair: &mut Pair) {
    let (from, to) = (&context.gone[i], &context.new[j]);
    let lacking = |a: &'_ Name, b: &Name| -> Vec<String> {
        a.words.iter().filter(|word| best(word, &b.words) < 0.7).cloned().collect()
    };
    let (lost, won) = (lacking(&from.name, &to.name), lacking(&to.name, &from.name));
    let holds = |name: &Name, words: &[String]| words.iter().any(|w| name.words.iter().any(|o| stem(o) == stem(w)));
    let stayed = |words: &[String]| {
        let held = words.iter().filter(|word| context.stays(word)).count();
        held as f64 / words.len().max(1) as f64
    };
    pair.lives_on = stayed(&lost);
    pair.known_before = stayed(&won);
    let others = |all: &[Prepared<'_>], own: usize, words: &[String]| {
        all.iter().enumerate().filter(|(at, p)| *at != own && holds(&p.name, words)).count() as f64
    };
    pair.companions = others(&context.new, j, &won);
    pair.company_gone = others(&context.gone, i, &lost);
    let of_table = |name: &Name| {
        let held = name.words.iter().filter(|word| best(word, &context.table.words) >= 0.9).count();
        held as f64 / name.words.len().max(1) as f64
    };
    pair.of_table = of_table(&to.name);
    pair.was_of_table = of_table(&from.name);
    let reference = |name: &Name| {
        let last = name.words.last().map(String::as_str).unwrap_or_default();
        f64::from(u8::from(["id", "key", "uuid", "uid", "guid", "ref"].contains(&last)))
    };
    pair.reference_from = reference(&from.name);
    pair.reference_to = reference(&to.name);
    let (a, b) = (&from.name.joined, &to.name.joined);
    pair.same_beginning = a.chars().zip(b.chars()).take(10).take_while(|(a, b)| a == b).count() as f64;
    pair.same_ending = a.chars().rev().zip(b.chars().rev()).take(10).take_while(|(a, b)| a == b).count() as f64;
    (pair.length_from, pair.length_to) = (a.chars().count() as f64, b.chars().count() as f64);
    pair.words_of_old = from.name.words.len() as f64;
    let alike = |all: &[Prepared<'_>], own: usize, ty: &FieldType| {
        all.iter().enumerate().filter(|(at, p)| *at != own && kind(&p.member.field.ty) == kind(ty)).count() as f64
    };
    pair.kind_gone = alike(&context.gone, i, &from.member.field.ty);
    pair.kind_new = alike(&context.new, j, &to.member.field.ty);
}

fn of_types(context: &Context<'_>, from: &Prepared<'_>, to: &Prepared<'_>, pair: &mut Pair) {
    let (a, b) = (&from.member.field.ty, &to.member.field.ty);
    // One name in two writings is one field, whatever became of its type: a retype must not hide the rename.
    let same = a == b || pair.same_name == 1.0;
    pair.same_type = f64::from(u8::from(same));
    pair.type_class = match grade(a, b).grade {
        _ if same => 0.0,
        Grade::Widened => 1.0,
        Grade::Narrowed => 2.0,
        Grade::Reinterpreted if kind(a) == kind(b) => 3.0,
        Grade::Reinterpreted => 4.0,
    };
    pair.kind = kind(a);
    let (gone, new) = (&context.gone, &context.new);
    let of_type = |all: &[Prepared<'_>], ty: &FieldType| all.iter().filter(|p| p.member.field.ty == *ty).count();
    let all = (gone.len() + new.len()) as f64;
    pair.type_rarity = 1.0 - (of_type(gone, a) + of_type(new, a)) as f64 / all;
    let own = usize::from(a == b);
    pair.rivals_from = (of_type(new, a) - own) as f64;
    pair.rivals_to = (of_type(gone, b) - own) as f64;
}

fn kind(ty: &FieldType) -> f64 {
    use FieldType as T;
    match ty {
        T::Boolean => 0.0,
        T::Integer | T::Number | T::Decimal { .. } => 1.0,
        T::String(_) | T::Binary => 2.0,
        T::Date | T::Time | T::TimeTz | T::Timestamp | T::TimestampTz => 3.0,
        T::Object | T::Array | T::Map => 4.0,
        T::Any | T::Union(_) => 5.0,
    }
}

fn of_places(context: &Context<'_>, a: Spot, b: Spot, pair: &mut Pair) {
    let flag = |yes: bool| f64::from(u8::from(yes));
    pair.ordered = 1.0;
    pair.same_gap = (flag(a.previous == b.previous) + flag(a.next == b.next)) / 2.0;
    pair.same_spot = flag(pair.same_gap == 1.0 && a.rank == b.rank && a.crowd == b.crowd);
    pair.rank_apart = b.rank as f64 - a.rank as f64;
    pair.from_tail = flag(a.next.is_none());
    pair.to_tail = flag(b.next.is_none());
    pair.gap_gone = a.crowd as f64;
    pair.gap_new = b.crowd as f64;
    pair.place_apart = (f64::from(b.place) - f64::from(a.place)) / context.names as f64;
    pair.same_place = flag(a.place == b.place);
    pair.appended = context.appended;
}
