//! A stream's fields as sorted hashes, so that two streams of a thousand fields are compared in microseconds.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::model::Stream;

/// The fields of a stream, nested ones too: hashes of their paths, and of paths with types; both sorted.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    paths: Vec<u64>,
    typed: Vec<u64>,
}

/// What two streams have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common {
    /// Fields of the stream that went.
    pub before: usize,
    /// Fields of the one that came.
    pub after: usize,
    /// Fields under one path.
    pub paths: usize,
    /// Of these, fields of one type.
    pub typed: usize,
}

impl Shape {
    pub fn of(stream: &Stream) -> Self {
        let mut shape = Self { paths: Vec::new(), typed: Vec::new() };
        for (path, field) in &stream.fields {
            let mut hasher = DefaultHasher::new();
            path.hash(&mut hasher);
            shape.paths.push(hasher.finish());
            field.ty.hash(&mut hasher);
            shape.typed.push(hasher.finish());
        }
        shape.paths.sort_unstable();
        shape.typed.sort_unstable();
        shape
    }

    pub fn common(&self, other: &Self) -> Common {
        let (before, after) = (self.paths.len(), other.paths.len());
        Common { before, after, paths: both(&self.paths, &other.paths), typed: both(&self.typed, &other.typed) }
    }
}

impl Common {
    /// Share of all fields that both have, 0 to 1; one of another type counts half.
    pub fn share(&self) -> f64 {
        (self.paths + self.typed) as f64 / (self.before + self.after).max(1) as f64
    }
}

/// How many values two sorted lists share.
fn both(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    shared
}
