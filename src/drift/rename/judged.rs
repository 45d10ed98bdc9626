//! A level with all its pairs judged: which go together, how sure that is, and whether values prove it.

use super::contrast::contrast;
use super::features::{self, likeness};
use super::level::{Context, Level, Role};
use super::model::{Judge, Model, probability, standing};
use super::names::Name;
use super::shortlist::shortlist;
use super::values::{Joined, JoinedPair, Sampled};
use super::{assign, names};
use crate::model::FieldPath;

/// Least confidence of a rename: below it, a field went and another came. Of two readings the likelier one is told, and a
/// rename that is missed costs more (its canonical fields starve) than one that a person takes apart; 0.45 gives the best
/// balance of found and wrong on the development corpus, with and without places.
pub const LEAST: f64 = 0.45;
/// Least confidence of a rename whose names have nothing at all in common; it falls to [`LEAST`] at a likeness of [`UNLIKE`].
const LEAST_UNLIKE: f64 = 0.75;
const UNLIKE: f64 = 0.18;
/// Least confidence where values were joined: they tell, so what they leave open is told as open.
const LEAST_JOINED: f64 = 0.6;
/// Score (log-odds) at and below which a pair is never made: a probability of 5 %.
const FLOOR: f64 = -2.944;
/// Score of pairs that are not looked at.
const NEVER: f64 = -30.0;
/// Most log-odds that names and types give before values are added: values may overrule them.
const MOST_BY_NAME: f64 = 4.0;
/// Log-odds of a pair whose names say that they are two things: near copies agree in most rows, so values say nothing for it.
const TWO_THINGS: f64 = -1.0;

// What the corpus of real changes says nothing about is set by hand, in log-odds.
/// Both, or only one, are part of a key that the source defines (or its cursor).
const SAME_ROLE: f64 = 2.0;
const OTHER_ROLE: f64 = -2.0;
/// One may be null and the other not.
const OTHER_NULLS: f64 = -0.3;
/// The source describes both in the same words; half as much against it if in none of the same.
const SAME_DESCRIPTION: f64 = 2.0;

/// Why a pair is not proven while its values wait for a sync.
pub(super) const AWAITED: &str = "it waits for one sync to compare values";

/// Least confidence of a rename whose names are so alike, by names, types and places alone.
pub fn least_confidence(likeness: f64) -> f64 {
    LEAST + (LEAST_UNLIKE - LEAST) * (1.0 - likeness / UNLIKE).max(0.0)
}

/// A pair of the best pairing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Index in [`Level::gone`].
    pub gone: usize,
    /// Index in [`Level::new`].
    pub new: usize,
    /// Probability that a reviewer takes it, 0 to 1.
    pub confidence: f64,
}

/// A level whose pairs are judged.
#[derive(Debug)]
pub struct Judged<'a> {
    pub(super) level: &'a Level<'a>,
    pub(super) context: Context<'a>,
    pub(super) sampled: Option<&'a Sampled>,
    /// Scores by names, types and places, `[gone][new]`, in log-odds.
    scores: Vec<Vec<f64>>,
    /// Confidence of each pair, `[gone][new]`.
    confidences: Vec<Vec<f64>>,
}

impl<'a> Judged<'a> {
    /// Judges all pairs with the shipped parameters.
    pub fn of(level: &'a Level<'a>, sampled: Option<&'a Sampled>) -> Self {
        let ordered = level.gone.iter().chain(&level.new).all(|member| member.field.place.is_some());
        let model = Model::shipped();
        let judge = if ordered { &model.ordered } else { &model.unordered };
        let context = Context::of(level);
        let shortlist = shortlist(&context);
        let alike = likenesses(&context, &shortlist);
        let mut scores = vec![vec![NEVER; level.new.len()]; level.gone.len()];
        for (i, partners) in shortlist.iter().enumerate() {
            for j in partners {
                let pair = features::pair(&context, &alike, i, *j);
                scores[i][*j] = judge.score(&pair.values()) + by_hand(level, i, *j);
            }
        }
        let mut judged = Self { level, context, sampled, scores, confidences: Vec::new() };
        judged.confidences = judged.weighed(judge);
        judged
    }

    /// The renames: the best pairing of the level, as far as it is likely enough; sorted by the field that went.
    pub fn matches(&self) -> Vec<Match> {
        let log_odds = |p: f64| (p.max(1e-12) / (1.0 - p).max(1e-12)).ln();
        let pairs = if self.is_joined() {
            assigned(&self.confidences.iter().map(|row| row.iter().map(|p| log_odds(*p)).collect()).collect::<Vec<_>>())
        } else {
            assigned(&self.scores)
        };
        let least = |pair: &Match| match self.is_counted(pair) {
            true => LEAST_JOINED,
            false => least_confidence(likeness(&self.context.gone[pair.gone], &self.context.new[pair.new])),
        };
        let pairs = pairs.into_iter().map(|(gone, new)| Match { gone, new, confidence: self.confidences[gone][new] });
        pairs.filter(|pair| pair.confidence >= least(pair)).collect()
    }

    /// Confidence of any pair.
    pub fn confidence(&self, gone: usize, new: usize) -> f64 {
        self.confidences[gone][new]
    }

    /// Why values do not prove the pair to be a rename; `None` if they do. Names and types alone prove nothing.
    pub fn doubt(&self, gone: usize, new: usize) -> Option<String> {
        let (from, to) = (&self.level.gone[gone].path, &self.level.new[new].path);
        if self.sampled.is_some_and(|sampled| sampled.awaited) {
            return Some(AWAITED.to_owned());
        }
        let Some((sampled, joined)) = self.sampled.and_then(|sampled| Some((sampled, sampled.pair(from, to)?))) else {
            return Some("only values joined by key could prove a rename".to_owned());
        };
        if let Some((one, other)) = contrast(&self.context.gone[gone].name, &self.context.new[new].name) {
            return Some(format!("{one} and {other} name two things, and many rows may agree in both"));
        }
        if let Some(missing) = self.uncounted(sampled, from, to) {
            return Some(format!("{missing} was not compared with it, and could hold the same values"));
        }
        joined.doubt(sampled.rival(from, to))
    }

    /// The field that surely goes on with the values of one that went: it stayed, and was filled beside it.
    pub fn lives_on(&self, gone: usize) -> Option<&FieldPath> {
        let (stayed, joined) = self.stayed(gone)?;
        self.stayed_doubt(gone, stayed, joined).is_none().then_some(stayed)
    }

    /// Of the fields that stayed, the one that holds most of the values of one that went; more than not.
    pub(super) fn stayed(&self, gone: usize) -> Option<(&FieldPath, &Joined)> {
        let (sampled, from) = (self.sampled?, &self.level.gone[gone].path);
        let held = self.level.kept.iter().filter_map(|kept| Some((&kept.path, sampled.pair(from, &kept.path)?)));
        let held = held.filter(|(_, joined)| joined.share() > 0.5);
        held.max_by(|a, b| a.1.share().total_cmp(&b.1.share()).then_with(|| b.0.cmp(a.0)))
    }

    /// Why it does not surely go on with them; `None` if it does.
    pub(super) fn stayed_doubt(&self, gone: usize, stayed: &FieldPath, joined: &Joined) -> Option<String> {
        let (sampled, from) = (self.sampled?, &self.level.gone[gone].path);
        if let Some((one, other)) = contrast(&self.context.gone[gone].name, &Name::of(stayed.leaf())) {
            return Some(format!("{one} and {other} name two things, and many rows may agree in both"));
        }
        joined.doubt(sampled.rival(from, stayed))
    }

    /// Whose values a field that came holds, of those that went: a copy, if it is not its new name.
    pub fn holds_values_of(&self, new: usize) -> Option<&FieldPath> {
        let (sampled, to) = (self.sampled?, &self.level.new[new].path);
        let holds = |from: &&FieldPath| sampled.pair(from, to).is_some_and(|joined| joined.weight() > 0.0);
        self.level.gone.iter().map(|member| &member.path).find(holds)
    }

    /// A field whose values could be the same, but were not joined with the pair.
    fn uncounted(&self, sampled: &Sampled, from: &FieldPath, to: &FieldPath) -> Option<FieldPath> {
        let came = self.level.new.iter().map(|member| &member.path);
        let stayed = self.level.kept.iter().map(|kept| &kept.path);
        let went = self.level.gone.iter().map(|member| &member.path);
        let missing_partner = came.chain(stayed).find(|other| sampled.pair(from, other).is_none());
        missing_partner.or_else(|| went.into_iter().find(|other| sampled.pair(other, to).is_none())).cloned()
    }

    /// Whether enough values of a pair were joined to tell.
    fn is_counted(&self, pair: &Match) -> bool {
        let (from, to) = (&self.level.gone[pair.gone].path, &self.level.new[pair.new].path);
        self.sampled.and_then(|sampled| sampled.pair(from, to)).is_some_and(Joined::counts)
    }

    /// Whether enough values of fields of this level were joined.
    fn is_joined(&self) -> bool {
        let of_level = |path: &FieldPath| self.level.gone.iter().any(|member| member.path == *path);
        let told = |pair: &JoinedPair| pair.joined.counts() && of_level(&pair.from);
        self.sampled.is_some_and(|sampled| sampled.joined.iter().any(told))
    }

    /// Confidences from scores and values.
    fn weighed(&self, judge: &Judge) -> Vec<Vec<f64>> {
        let scores = &self.scores;
        let by_name = |i: usize, j: usize| {
            if scores[i][j] == NEVER { NEVER } else { judge.settled(&standing(scores, i, j)) }
        };
        let all = |value: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
            (0..scores.len()).map(|i| (0..scores[i].len()).map(|j| value(i, j)).collect()).collect()
        };
        let Some(sampled) = self.sampled.filter(|sampled| !sampled.awaited) else {
            return all(&|i, j| probability(by_name(i, j)));
        };
        let stayed: Vec<FieldPath> = self.level.kept.iter().map(|kept| kept.path.clone()).collect();
        let odds = all(&|i, j| {
            let (from, to) = (&self.level.gone[i].path, &self.level.new[j].path);
            let by_values = sampled.weight(from, to, &stayed);
            let by_name = by_name(i, j).clamp(-MOST_BY_NAME, MOST_BY_NAME);
            match contrast(&self.context.gone[i].name, &self.context.new[j].name) {
                None => (by_name + by_values).exp(),
                Some(_) => (by_name.min(0.0) + by_values.min(0.0) + TWO_THINGS).exp(),
            }
        });
        if !self.is_joined() {
            return all(&|i, j| odds[i][j] / (1.0 + odds[i][j]));
        }
        // One field has one partner: rivals whose values agree as well take from each other.
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        all(&|i, j| {
            let row = most(&mut (0..odds[i].len()).filter(|k| *k != j).map(|k| odds[i][k]));
            let column = most(&mut (0..odds.len()).filter(|k| *k != i).map(|k| odds[k][j]));
            odds[i][j] / (1.0 + odds[i][j] + row + column)
        })
    }
}

/// What is looked at of all pairs of a level: `[gone][new][feature]`. For fitting.
pub fn looked_at(level: &Level<'_>) -> Vec<Vec<Vec<f64>>> {
    let context = Context::of(level);
    let all: Vec<Vec<usize>> = vec![(0..level.new.len()).collect(); level.gone.len()];
    let alike = likenesses(&context, &all);
    let features = |i: usize, j: usize| features::pair(&context, &alike, i, j).values();
    (0..level.gone.len()).map(|i| (0..level.new.len()).map(|j| features(i, j)).collect()).collect()
}

/// The best pairing by scores in log-odds, `[gone][new]`, sorted; none of a pair whose score is hopeless.
pub fn assigned(scores: &[Vec<f64>]) -> Vec<(usize, usize)> {
    let news = scores.first().map_or(0, Vec::len);
    let edges: Vec<assign::Edge> = scores
        .iter()
        .enumerate()
        .flat_map(|(left, row)| {
            let edge = move |(right, score): (usize, &f64)| assign::Edge { left, right, gain: score - FLOOR };
            row.iter().enumerate().map(edge)
        })
        .collect();
    assign::assign(scores.len(), news, &edges)
}

fn likenesses(context: &Context<'_>, shortlist: &[Vec<usize>]) -> Vec<Vec<f64>> {
    let mut alike = vec![vec![0.0; context.new.len()]; context.gone.len()];
    for (i, partners) in shortlist.iter().enumerate() {
        for j in partners {
            alike[i][*j] = likeness(&context.gone[i], &context.new[*j]);
        }
    }
    alike
}

/// Log-odds for what the corpus says nothing about.
fn by_hand(level: &Level<'_>, i: usize, j: usize) -> f64 {
    let (from, to) = (&level.gone[i], &level.new[j]);
    let role = match (from.role, to.role) {
        (Role::Plain, Role::Plain) => 0.0,
        (a, b) if a == b => SAME_ROLE,
        _ => OTHER_ROLE,
    };
    let nulls = if from.field.nullable == to.field.nullable { 0.0 } else { OTHER_NULLS };
    let described = match (&from.field.description, &to.field.description) {
        (Some(a), Some(b)) => (names::shared_letters(a, b) - 1.0 / 3.0) * 1.5 * SAME_DESCRIPTION,
        _ => 0.0,
    };
    role + nulls + described
}
