//! The best pairing of two sides: each member in at most one pair, and none where no pair gains anything.
//!
//! The Hungarian method with potentials (Kuhn 1955, Munkres 1957; the row-by-row form of Jonker and Volgenant), over the
//! parts of the table that hang together: what shares no possible pair cannot disturb each other.

use std::collections::VecDeque;

/// A pair that may be made, and what it gains; what gains nothing is never made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    pub left: usize,
    pub right: usize,
    pub gain: f64,
}

/// The pairs of greatest total gain, sorted.
pub(super) fn assign(lefts: usize, rights: usize, edges: &[Edge]) -> Vec<(usize, usize)> {
    let mut by_left: Vec<Vec<Edge>> = vec![Vec::new(); lefts];
    let mut by_right: Vec<Vec<Edge>> = vec![Vec::new(); rights];
    for edge in edges.iter().filter(|edge| edge.gain > 0.0) {
        by_left[edge.left].push(*edge);
        by_right[edge.right].push(*edge);
    }
    let mut seen = vec![false; lefts];
    let mut pairs = Vec::new();
    for start in 0..lefts {
        if seen[start] || by_left[start].is_empty() {
            continue;
        }
        let (rows, columns) = part(start, &by_left, &by_right, &mut seen);
        let mut gains = vec![vec![0.0; columns.len()]; rows.len()];
        for (row, left) in rows.iter().enumerate() {
            for edge in &by_left[*left] {
                if let Ok(column) = columns.binary_search(&edge.right) {
                    gains[row][column] = edge.gain;
                }
            }
        }
        pairs.extend(solve(&gains).into_iter().map(|(row, column)| (rows[row], columns[column])));
    }
    pairs.sort_unstable();
    pairs
}

/// Everything that hangs together with a left member, both sides sorted.
fn part(start: usize, by_left: &[Vec<Edge>], by_right: &[Vec<Edge>], seen: &mut [bool]) -> (Vec<usize>, Vec<usize>) {
    let (mut rows, mut columns, mut queue) = (Vec::new(), Vec::new(), VecDeque::from([start]));
    let mut taken = vec![false; by_right.len()];
    seen[start] = true;
    while let Some(left) = queue.pop_front() {
        rows.push(left);
        for edge in &by_left[left] {
            if std::mem::replace(&mut taken[edge.right], true) {
                continue;
            }
            columns.push(edge.right);
            for back in &by_right[edge.right] {
                if !std::mem::replace(&mut seen[back.left], true) {
                    queue.push_back(back.left);
                }
            }
        }
    }
    rows.sort_unstable();
    columns.sort_unstable();
    (rows, columns)
}

/// Rows to columns of greatest total gain, all gains being at least 0; a row whose column gains nothing has no partner.
///
/// Each row also has a column of its own that gains nothing. `n` rows and `m` columns take at most `n² · (n + m)` steps.
fn solve(gains: &[Vec<f64>]) -> Vec<(usize, usize)> {
    let rows = gains.len();
    let real = gains.first().map_or(0, Vec::len);
    let columns = real + rows;
    // Row and column 0 stand for "not yet"; costs are gains with the sign turned.
    let cost = |row: usize, column: usize| if column <= real { -gains[row - 1][column - 1] } else { 0.0 };
    let mut row_price = vec![0.0; rows + 1];
    let mut column_price = vec![0.0; columns + 1];
    let mut holder = vec![0_usize; columns + 1];
    let mut came_from = vec![0_usize; columns + 1];
    for row in 1..=rows {
        holder[0] = row;
        let mut column = 0;
        let mut slack = vec![f64::INFINITY; columns + 1];
        let mut used = vec![false; columns + 1];
        while holder[column] != 0 {
            used[column] = true;
            let (at, mut least, mut next) = (holder[column], f64::INFINITY, 0);
            for other in (1..=columns).filter(|other| !used[*other]) {
                let reduced = cost(at, other) - row_price[at] - column_price[other];
                if reduced < slack[other] {
                    (slack[other], came_from[other]) = (reduced, column);
                }
                if slack[other] < least {
                    (least, next) = (slack[other], other);
                }
            }
            for other in 0..=columns {
                if used[other] {
                    row_price[holder[other]] += least;
                    column_price[other] -= least;
                } else {
                    slack[other] -= least;
                }
            }
            column = next;
        }
        while column != 0 {
            holder[column] = holder[came_from[column]];
            column = came_from[column];
        }
    }
    let made = (1..=real).filter(|column| holder[*column] != 0 && cost(holder[*column], *column) < 0.0);
    made.map(|column| (holder[column] - 1, column - 1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The greatest total gain, by trying everything.
    fn best(gains: &[Vec<f64>], row: usize, used: u32) -> f64 {
        let Some(of_row) = gains.get(row) else { return 0.0 };
        let without = best(gains, row + 1, used);
        of_row
            .iter()
            .enumerate()
            .filter(|(at, _)| used & (1 << at) == 0)
            .fold(without, |most, (at, gain)| most.max(gain + best(gains, row + 1, used | (1 << at))))
    }

    proptest! {
        #[test]
        fn no_other_pairing_gains_more(gains in prop::collection::vec(prop::collection::vec(-2_i32..9, 5), 0..6)) {
            let gains: Vec<Vec<f64>> = gains.iter().map(|row| row.iter().map(|g| f64::from(*g)).collect()).collect();
            let edges: Vec<Edge> = gains.iter().enumerate().flat_map(|(left, row)| {
                row.iter().enumerate().map(move |(right, gain)| Edge { left, right, gain: *gain })
            }).collect();
            let pairs = assign(gains.len(), 5, &edges);
            let total: f64 = pairs.iter().map(|(left, right)| gains[*left][*right]).sum();
            prop_assert!((total - best(&gains, 0, 0)).abs() < 1e-9, "{pairs:?} gain {total}");
            prop_assert!(pairs.iter().all(|(left, right)| gains[*left][*right] > 0.0));
            let mut rights: Vec<usize> = pairs.iter().map(|(_, right)| *right).collect();
            rights.sort_unstable();
            rights.dedup();
            prop_assert_eq!(rights.len(), pairs.len());
        }
    }

    #[test]
    fn the_whole_counts_and_not_the_best_pair() {
        let edge = |left, right, gain| Edge { left, right, gain };
        let edges = [edge(0, 0, 5.0), edge(0, 1, 4.0), edge(1, 0, 4.0), edge(1, 1, 0.0)];
        assert_eq!(assign(2, 2, &edges), [(0, 1), (1, 0)]);
    }
}
