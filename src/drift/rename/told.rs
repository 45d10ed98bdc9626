//! Tells what spoke for and against a pair.

use super::evidence::{About, Counts, Line};
use super::judged::{AWAITED, Judged};
use super::level::Role;
use super::names::{difference, word_likeness};
use super::values::{Joined, percent};
use crate::drift::{Grade, grade};
use crate::model::FieldPath;

/// Other candidates below this confidence are not told of.
const LEAST_TOLD: f64 = 0.1;
/// How many other candidates are told of.
const MOST_TOLD: usize = 3;

impl Judged<'_> {
    /// What was seen of a pair and how it counted.
    pub fn lines(&self, gone: usize, new: usize) -> Vec<Line> {
        let mut lines = vec![self.name(gone, new), self.types(gone, new)];
        lines.extend(self.place(gone, new));
        lines.extend(self.role(gone, new));
        lines.extend(self.description(gone, new));
        lines.extend(self.table(gone, new));
        lines.push(self.rivals(gone, new));
        lines.extend(self.values(gone, new));
        lines
    }

    /// For a field that went without a partner: who could be it, best first. Empty if nobody is likely.
    pub fn candidates(&self, gone: usize) -> Vec<Line> {
        let mut likely: Vec<(f64, usize)> = (0..self.level.new.len())
            .map(|new| (self.confidence(gone, new), new))
            .filter(|(confidence, _)| *confidence >= LEAST_TOLD)
            .collect();
        likely.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let line = |(confidence, new): &(f64, usize)| {
            let seen = format!("it may live on as {} ({confidence:.2})", self.level.new[*new].path);
            Line::new(About::Rivals, Counts::Neither, seen)
        };
        let stayed = self.stayed(gone).map(|(stayed, joined)| {
            let seen = format!("{stayed} stayed and holds its values: {}", counted(joined));
            match self.stayed_doubt(gone, stayed, joined) {
                None => Line::new(About::Values, Counts::For, seen),
                Some(doubt) => Line::new(About::Values, Counts::Neither, format!("{seen}; but {doubt}")),
            }
        });
        likely.iter().take(MOST_TOLD).map(line).chain(stayed).collect()
    }

    fn name(&self, gone: usize, new: usize) -> Line {
        let (a, b) = (&self.context.gone[gone].name, &self.context.new[new].name);
        if a.joined == b.joined {
            return Line::new(About::Name, Counts::For, "the same but for case and separators");
        }
        let likeness = super::features::likeness(&self.context.gone[gone], &self.context.new[new]);
        let near = |word: &&String| b.words.iter().any(|other| word_likeness(word, other) >= 0.7);
        let shared: Vec<&str> = a.words.iter().filter(near).map(String::as_str).collect();
        let (lost, won) = difference(a, b);
        let in_common = match shared.is_empty() {
            true => "no word in common".to_owned(),
            false => format!("{} in common", shared.join(", ")),
        };
        let replaced = match (lost.join(" "), won.join(" ")) {
            (lost, won) if lost.is_empty() => format!("{won} is new"),
            (lost, won) if won.is_empty() => format!("{lost} is gone"),
            (lost, won) => format!("{won} for {lost}"),
        };
        let counts = match likeness {
            alike if alike >= 0.6 => Counts::For,
            alike if alike >= 0.35 => Counts::Neither,
            _ => Counts::Against,
        };
        Line::new(About::Name, counts, format!("{in_common}, {replaced}; likeness {likeness:.2}"))
    }

    fn types(&self, gone: usize, new: usize) -> Line {
        let (was, is) = (self.level.gone[gone].field, self.level.new[new].field);
        let nulls = if was.nullable == is.nullable { "" } else { ", one may be null and the other not" };
        if was.ty == is.ty {
            let came = self.level.new.iter().filter(|other| other.field.ty == is.ty).count();
            let others = match came {
                0 | 1 => String::new(),
                2 => ", as is another that came".to_owned(),
                _ => format!(", as are {} others that came", came - 1),
            };
            let counts = if nulls.is_empty() { Counts::For } else { Counts::Neither };
            return Line::new(About::Type, counts, format!("both are {}{others}{nulls}", is.ty));
        }
        let graded = grade(&was.ty, &is.ty);
        let counts = if graded.grade == Grade::Widened { Counts::Neither } else { Counts::Against };
        Line::new(About::Type, counts, format!("{} and {}: {}{nulls}", was.ty, is.ty, graded.reason))
    }

    fn place(&self, gone: usize, new: usize) -> Option<Line> {
        let (a, b) = (self.context.gone[gone].spot?, self.context.new[new].spot?);
        let name = |at: Option<usize>| at.map(|at| self.level.kept[at].path.to_string());
        let between = match (name(a.previous), name(a.next)) {
            (Some(previous), Some(next)) => format!("between {previous} and {next}"),
            (Some(previous), None) => format!("behind {previous}, at the end"),
            (None, Some(next)) => format!("before {next}, at the beginning"),
            (None, None) => return None,
        };
        Some(match (a.same_place(b), a.next.is_none()) {
            // What is appended stands at the end, too.
            (true, true) => Line::new(About::Place, Counts::Neither, format!("both stand {between}")),
            (true, false) => Line::new(About::Place, Counts::For, format!("both stand {between}")),
            (false, _) => {
                Line::new(About::Place, Counts::Against, format!("the old one stood {between}, the new one elsewhere"))
            }
        })
    }

    fn role(&self, gone: usize, new: usize) -> Option<Line> {
        let word = |role: Role| match role {
            Role::Plain => "neither key nor cursor",
            Role::Key => "part of the key",
            Role::Cursor => "the cursor",
        };
        match (self.level.gone[gone].role, self.level.new[new].role) {
            (Role::Plain, Role::Plain) => None,
            (a, b) if a == b => Some(Line::new(About::Role, Counts::For, format!("both are {}", word(a)))),
            (a, b) => {
                let seen = format!("the old one was {}, the new one is {}", word(a), word(b));
                Some(Line::new(About::Role, Counts::Against, seen))
            }
        }
    }

    fn description(&self, gone: usize, new: usize) -> Option<Line> {
        let (a, b) = (&self.level.gone[gone].field.description, &self.level.new[new].field.description);
        let likeness = super::names::shared_letters(a.as_ref()?, b.as_ref()?);
        let counts = if likeness >= 0.5 { Counts::For } else { Counts::Against };
        Some(Line::new(About::Description, counts, format!("likeness {likeness:.2}")))
    }

    fn table(&self, gone: usize, new: usize) -> Option<Line> {
        let alike = self.context.replaced_alike(gone, new);
        (alike > 1).then(|| {
            let seen = format!("{alike} fields that went have a partner by the same replacement of words");
            Line::new(About::Table, Counts::For, seen)
        })
    }

    fn rivals(&self, gone: usize, new: usize) -> Line {
        let mut rivals: Vec<(f64, &FieldPath)> = (0..self.level.new.len())
            .filter(|other| *other != new)
            .map(|other| (self.confidence(gone, other), &self.level.new[other].path))
            .chain(
                (0..self.level.gone.len())
                    .filter(|other| *other != gone)
                    .map(|other| (self.confidence(other, new), &self.level.gone[other].path)),
            )
            .filter(|(confidence, _)| *confidence >= LEAST_TOLD)
            .collect();
        rivals.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        if rivals.is_empty() {
            return Line::new(About::Rivals, Counts::For, "no other field could be the partner");
        }
        let told: Vec<String> = rivals.iter().take(MOST_TOLD).map(|(p, path)| format!("{path} ({p:.2})")).collect();
        let own = self.confidence(gone, new);
        let seen = format!("this pair {own:.2}; other candidates: {}", told.join(", "));
        Line::new(About::Rivals, Counts::Against, seen)
    }

    fn values(&self, gone: usize, new: usize) -> Vec<Line> {
        let (from, to) = (&self.level.gone[gone].path, &self.level.new[new].path);
        let Some(sampled) = self.sampled else {
            return vec![Line::new(About::Values, Counts::Neither, "no values were compared")];
        };
        if sampled.awaited {
            return vec![Line::new(About::Values, Counts::Neither, AWAITED)];
        }
        let Some(joined) = sampled.pair(from, to) else {
            let line =
                sampled.alike(from, to).map(|alike| Line::new(About::Values, sign(alike.weight()), alike.to_string()));
            let nothing = "values could not be joined: of its records none have landed, or nothing tells them apart";
            return vec![line.unwrap_or_else(|| Line::new(About::Values, Counts::Neither, nothing))];
        };
        let mut lines = vec![Line::new(About::Values, sign(joined.weight()), counted(joined))];
        if let Some(rival) = sampled.rival(from, to) {
            let counts = match joined.doubt(Some(rival)) == joined.doubt(None) {
                _ if !joined.counts() => Counts::Neither,
                true => Counts::For,
                false => Counts::Against,
            };
            let seen = format!("next best is {}, the same in {} of rows", rival.name, percent(rival.share));
            lines.push(Line::new(About::Values, counts, seen));
        }
        lines
    }
}

fn sign(weight: f64) -> Counts {
    match weight {
        weight if weight > 0.5 => Counts::For,
        weight if weight < -0.5 => Counts::Against,
        _ => Counts::Neither,
    }
}

fn counted(joined: &Joined) -> String {
    let Joined { keys, equal, differing, one_null, both_null, distinct, .. } = *joined;
    format!(
        "of {keys} keys, {equal} hold the same value ({}), {differing} another, {one_null} a value on one side only, \
         {both_null} none; {distinct} distinct values",
        percent(joined.share())
    )
}
