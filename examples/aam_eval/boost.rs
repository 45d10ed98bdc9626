//! Fits boosted trees: gradient boosting with the logistic loss (Friedman 2001; second-order leaves as in XGBoost, Chen and
//! Guestrin 2016), on features cut into bins. The same rows and seed give the same trees.

use aam::drift::rename::{Node, Tree};

/// How trees are grown; chosen on the development corpus by leave-one-project-out.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many.
    pub trees: usize,
    /// Splits from root to leaf.
    pub depth: usize,
    /// Share of each tree's answer that is taken.
    pub rate: f64,
    /// Share of the rows that each tree sees.
    pub rows: f64,
    /// Share of the features that each tree sees.
    pub features: f64,
    /// Least weight (sum of `p (1 - p)`) in a leaf.
    pub least: f64,
    /// Added to the weight of a leaf, so that small ones say little.
    pub calm: f64,
}

/// Most cuts of one feature.
const CUTS: usize = 48;

/// Pseudo-random numbers from a seed (SplitMix64, Steele et al. 2014): the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, but not, 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `count`, which must not be 0.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.share() * count as f64) as usize).min(count - 1)
    }
}

/// Rows of features, cut into bins once.
struct Binned {
    /// `[feature]`: upper limits of all bins but the last.
    cuts: Vec<Vec<f64>>,
    /// `[feature][row]`
    bins: Vec<Vec<u8>>,
}

fn binned(rows: &[&[f64]], features: usize) -> Binned {
    let mut cuts = Vec::with_capacity(features);
    let mut bins = Vec::with_capacity(features);
    for feature in 0..features {
        let mut values: Vec<f64> = rows.iter().map(|row| row[feature]).collect();
        values.sort_unstable_by(f64::total_cmp);
        let mut limits: Vec<f64> = (1..CUTS)
            .map(|cut| cut * values.len() / CUTS)
            .filter(|at| *at > 0 && *at < values.len())
            .map(|at| (values[at - 1] + values[at]) / 2.0)
            .collect();
        values.dedup();
        if values.len() <= CUTS {
            limits = values.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        }
        limits.dedup();
        // what the file holds is what is compared
        limits.iter_mut().for_each(|limit| *limit = round(*limit));
        bins.push(rows.iter().map(|row| limits.partition_point(|limit| row[feature] > *limit) as u8).collect());
        cuts.push(limits);
    }
    Binned { cuts, bins }
}

/// Few enough digits for a data file that people can look at.
pub fn round(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

/// The log-odds of the positive rows, and the trees that correct them.
pub fn fit(rows: &[&[f64]], positive: &[bool], settings: Settings, seed: u64) -> (f64, Vec<Tree>) {
    let features = rows.first().map_or(0, |row| row.len());
    let share = positive.iter().filter(|p| **p).count() as f64 / rows.len().max(1) as f64;
    let share = share.clamp(1e-3, 1.0 - 1e-3);
    let start = round((share / (1.0 - share)).ln());
    let data = binned(rows, features);
    let mut random = Random(seed);
    let mut scores = vec![start; rows.len()];
    let mut trees = Vec::with_capacity(settings.trees);
    for _ in 0..settings.trees {
        let slopes: Vec<(f64, f64)> = scores
            .iter()
            .zip(positive)
            .map(|(score, positive)| {
                let p = 1.0 / (1.0 + (-score).exp());
                (f64::from(u8::from(*positive)) - p, p * (1.0 - p))
            })
            .collect();
        let seen: Vec<usize> = (0..rows.len()).filter(|_| random.share() < settings.rows).collect();
        let looked: Vec<usize> = (0..features).filter(|_| random.share() < settings.features).collect();
        let mut growth = Growth { data: &data, slopes: &slopes, looked: &looked, settings, nodes: Vec::new() };
        growth.grow(seen, settings.depth);
        let tree = Tree(growth.nodes);
        for (row, score) in rows.iter().zip(&mut scores) {
            *score += tree.value(row);
        }
        trees.push(tree);
    }
    (start, trees)
}

struct Growth<'a> {
    data: &'a Binned,
    slopes: &'a [(f64, f64)],
    looked: &'a [usize],
    settings: Settings,
    nodes: Vec<Node>,
}

impl Growth<'_> {
    /// Adds the subtree of these rows and returns its root.
    fn grow(&mut self, rows: Vec<usize>, depth: usize) -> usize {
        let at = self.nodes.len();
        let (slope, weight) = self.sums(&rows);
        self.nodes.push(Node::Leaf(round(self.settings.rate * slope / (weight + self.settings.calm))));
        let Some((feature, bin)) = (depth > 0).then(|| self.best_split(&rows, slope, weight)).flatten() else {
            return at;
        };
        let bins = &self.data.bins[feature];
        let (left, right): (Vec<usize>, Vec<usize>) = rows.into_iter().partition(|row| usize::from(bins[*row]) <= bin);
        let limit = self.data.cuts[feature][bin];
        let left = self.grow(left, depth - 1);
        let right = self.grow(right, depth - 1);
        self.nodes[at] = Node::Split(feature, limit, left, right);
        at
    }

    fn sums(&self, rows: &[usize]) -> (f64, f64) {
        rows.iter().map(|row| self.slopes[*row]).fold((0.0, 0.0), |(a, b), (slope, weight)| (a + slope, b + weight))
    }

    /// The split that gains most: its feature and the last bin that goes left.
    fn best_split(&self, rows: &[usize], slope: f64, weight: f64) -> Option<(usize, usize)> {
        let Settings { calm, least, .. } = self.settings;
        let worth = |slope: f64, weight: f64| slope * slope / (weight + calm);
        let mut best = (1e-6, None);
        for feature in self.looked {
            let cuts = self.data.cuts[*feature].len();
            let mut sums = vec![(0.0, 0.0); cuts + 1];
            let bins = &self.data.bins[*feature];
            for row in rows {
                let sum = &mut sums[usize::from(bins[*row])];
                sum.0 += self.slopes[*row].0;
                sum.1 += self.slopes[*row].1;
            }
            let (mut left_slope, mut left_weight) = (0.0, 0.0);
            for (bin, (s, w)) in sums.iter().enumerate().take(cuts) {
                left_slope += s;
                left_weight += w;
                if left_weight < least || weight - left_weight < least {
                    continue;
                }
                let gain = worth(left_slope, left_weight) + worth(slope - left_slope, weight - left_weight)
                    - worth(slope, weight);
                if gain > best.0 {
                    best = (gain, Some((*feature, bin)));
                }
            }
        }
        best.1
    }
}
