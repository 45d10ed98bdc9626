//! Which pairs are looked at: all of a usual table; of a wide one, for each field that went, those that could win.
//!
//! This keeps a table of 300 fields that went and 300 that came (90,000 pairs) as quick as one with some thousand pairs: one
//! cheap number per pair, then everything else for [`MOST_PARTNERS`] of each.

use std::collections::HashSet;

use super::level::{Context, Prepared};

/// Up to so many pairs, all are looked at.
const FEW_PAIRS: usize = 4_096;
/// Beyond so many pairs nothing is looked at: a table with so many other names is another table.
const MOST_PAIRS: usize = 4_000_000;
/// For each field that went, so many with the most letters in common are looked at, besides those in its place.
const MOST_PARTNERS: usize = 12;

/// For each field that went, the fields that came which are looked at, sorted.
pub(super) fn shortlist(context: &Context<'_>) -> Vec<Vec<usize>> {
    let (gone, new) = (context.gone.len(), context.new.len());
    if gone * new <= FEW_PAIRS {
        return vec![(0..new).collect(); gone];
    }
    if gone * new > MOST_PAIRS {
        return vec![Vec::new(); gone];
    }
    let letters: Vec<HashSet<(char, char)>> = context.new.iter().map(letters).collect();
    context.gone.iter().map(|from| partners(from, &context.new, &letters)).collect()
}

fn partners(from: &Prepared<'_>, new: &[Prepared<'_>], letters_of: &[HashSet<(char, char)>]) -> Vec<usize> {
    let own = letters(from);
    let mut ranked: Vec<(f64, usize)> = letters_of
        .iter()
        .enumerate()
        .map(|(at, others)| {
            let common = own.iter().filter(|pair| others.contains(pair)).count();
            (common as f64 / (own.len() + others.len()).max(1) as f64, at)
        })
        .collect();
    // Equal ones in the order of the table, so that the same input gives the same output.
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let in_place = |to: &Prepared<'_>| matches!((from.spot, to.spot), (Some(a), Some(b)) if a.same_place(b));
    let mut taken: Vec<usize> = ranked.iter().take(MOST_PARTNERS).map(|(_, at)| *at).collect();
    taken.extend(new.iter().enumerate().filter(|(_, to)| in_place(to)).map(|(at, _)| at));
    taken.sort_unstable();
    taken.dedup();
    taken
}

/// Pairs of neighbouring letters.
fn letters(member: &Prepared<'_>) -> HashSet<(char, char)> {
    let name = &member.name.joined;
    name.chars().zip(name.chars().skip(1)).collect()
}
