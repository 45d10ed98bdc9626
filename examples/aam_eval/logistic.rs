//! Fits a logistic curve over a few numbers, by Newton's method with a small penalty on large factors.

/// The factors, and what is added. Deterministic; `penalty` is what a factor of 1 costs, in log-likelihood, twice.
pub fn fit(rows: &[Vec<f64>], positive: &[bool], penalty: f64) -> (Vec<f64>, f64) {
    let size = rows.first().map_or(0, Vec::len) + 1;
    let mut weights = vec![0.0; size];
    for _ in 0..50 {
        let mut slope: Vec<f64> = weights.iter().map(|w| -penalty * w).collect();
        let mut curve = vec![vec![0.0; size]; size];
        for (at, line) in curve.iter_mut().enumerate() {
            line[at] = penalty;
        }
        for (row, positive) in rows.iter().zip(positive) {
            let row: Vec<f64> = row.iter().copied().chain([1.0]).collect();
            let log_odds: f64 = row.iter().zip(&weights).map(|(a, b)| a * b).sum();
            let p = 1.0 / (1.0 + (-log_odds).exp());
            let miss = f64::from(u8::from(*positive)) - p;
            for a in 0..size {
                slope[a] += miss * row[a];
                for b in 0..size {
                    curve[a][b] += p * (1.0 - p) * row[a] * row[b];
                }
            }
        }
        let step = solved(curve, slope);
        weights.iter_mut().zip(&step).for_each(|(weight, step)| *weight += step);
        if step.iter().all(|step| step.abs() < 1e-9) {
            break;
        }
    }
    let offset = weights.pop().unwrap_or(0.0);
    (weights, offset)
}

/// Solves a symmetric, positive definite system by elimination.
fn solved(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for at in 0..size {
        for below in at + 1..size {
            let factor = matrix[below][at] / matrix[at][at];
            let (above, rest) = matrix.split_at_mut(below);
            rest[0].iter_mut().zip(&above[at]).skip(at).for_each(|(value, upper)| *value -= factor * upper);
            right[below] -= factor * right[at];
        }
    }
    for at in (0..size).rev() {
        let known: f64 = (at + 1..size).map(|column| matrix[at][column] * right[column]).sum();
        right[at] = (right[at] - known) / matrix[at][at];
    }
    right
}
