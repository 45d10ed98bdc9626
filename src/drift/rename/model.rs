//! The fitted parameters, and how they turn what is looked at of a pair into a probability.
//!
//! Two steps. Boosted trees give each pair a score by itself, in log-odds. Then, for the pairs of the best assignment, a
//! logistic curve over the score and the pair's lead over its rivals gives the probability that a reviewer takes it.
//! `cargo run --release --example aam_eval -- fit` makes the file; see `docs/drift-evidence.md`.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The parameters that are shipped.
static SHIPPED: LazyLock<Model> = LazyLock::new(|| {
    let model: Model =
        serde_json::from_str(include_str!("model.json")).expect("model.json was written by `aam_eval fit`");
    assert_eq!(model.features, super::FEATURES, "model.json was fitted on other features: run `aam_eval fit`");
    model
});

/// Parameters for tables whose places are known, and for those whose are not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Model {
    /// The features that it was fitted on, in order.
    pub features: Vec<String>,
    /// Where the source keeps places.
    pub ordered: Judge,
    /// Where it does not.
    pub unordered: Judge,
}

/// One set of parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Judge {
    /// The score of a pair: their sum.
    pub trees: Vec<Tree>,
    /// Score before any tree, in log-odds.
    pub start: f64,
    /// From score and standing to the final log-odds: one factor for each of [`standing`]'s numbers.
    pub factors: Vec<f64>,
    /// What is added to that.
    pub offset: f64,
}

/// A decision tree: the value of the leaf that a pair ends in is added to its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree(pub Vec<Node>);

/// A node of a tree; nodes lead only to later ones. In the file a list of one or four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub enum Node {
    /// `(feature, limit, left, right)`: left if the feature is at most the limit.
    Split(usize, f64, usize, usize),
    /// What the leaf adds.
    Leaf(f64),
}

impl TryFrom<Vec<f64>> for Node {
    type Error = String;

    fn try_from(numbers: Vec<f64>) -> Result<Self, String> {
        match numbers[..] {
            [value] => Ok(Self::Leaf(value)),
            [feature, limit, left, right] => Ok(Self::Split(feature as usize, limit, left as usize, right as usize)),
            _ => Err(format!("a node has one or four numbers, not {}", numbers.len())),
        }
    }
}

impl From<Node> for Vec<f64> {
    fn from(node: Node) -> Self {
        match node {
            Node::Leaf(value) => vec![value],
            Node::Split(feature, limit, left, right) => vec![feature as f64, limit, left as f64, right as f64],
        }
    }
}

impl Tree {
    /// What the tree adds to the score of a pair.
    pub fn value(&self, features: &[f64]) -> f64 {
        let mut at = 0;
        loop {
            match self.0.get(at) {
                Some(Node::Split(feature, limit, left, right)) => {
                    let next = if features[*feature] <= *limit { *left } else { *right };
                    // A file whose nodes lead backwards must not hang.
                    if next <= at {
                        return 0.0;
                    }
                    at = next;
                }
                Some(Node::Leaf(value)) => return *value,
                None => return 0.0,
            }
        }
    }
}

impl Model {
    /// The shipped parameters, read once.
    pub fn shipped() -> &'static Self {
        &SHIPPED
    }
}

impl Judge {
    /// The score of a pair by itself, in log-odds.
    pub fn score(&self, features: &[f64]) -> f64 {
        self.start + self.trees.iter().map(|tree| tree.value(features)).sum::<f64>()
    }

    /// The log-odds that a reviewer takes a pair of the best assignment.
    pub fn settled(&self, standing: &[f64]) -> f64 {
        self.offset + self.factors.iter().zip(standing).map(|(factor, value)| factor * value).sum::<f64>()
    }
}

/// How a pair stands among its rivals: its own score, its score against all others of the same row and column together,
/// and how many fields went and came (as logarithms). `scores` are log-odds, `[gone][new]`.
pub fn standing(scores: &[Vec<f64>], i: usize, j: usize) -> Vec<f64> {
    let own = scores[i][j];
    let row = scores[i].iter().enumerate().filter(|(k, _)| *k != j).map(|(_, score)| score.exp());
    let column = scores.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, row)| row[j].exp());
    let rivals: f64 = row.chain(column).sum();
    let size = |n: usize| (n as f64).ln();
    vec![own, own - (1.0 + rivals).ln(), size(scores.len()), size(scores[i].len())]
}

/// A probability from log-odds.
pub fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}
