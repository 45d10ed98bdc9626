//! Generated drifts: a table, what of it was renamed, and the noise that real sources add.
//!
//! Half of the drifts hold no rename. A quarter of all hold a rename beside near copies: a field equal to the renamed one in
//! 90, 99 or 100 % of rows, a second time stamp, a tidied twin; it stays, or comes with the rename.

use super::boost::Random;
use super::tables::{Pool, varied};

/// A column of a generated table; a row without a value is `None`.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub values: Vec<Option<String>>,
}

/// A table before and after; row by row the same keys.
#[derive(Debug, Default)]
pub struct Drift {
    pub before: Vec<Column>,
    pub after: Vec<Column>,
    /// What was renamed: (old name, new name).
    pub renames: Vec<(String, String)>,
}

/// Share of values edited between the two readings.
const EDITED: f64 = 0.05;
/// Share of values that became null.
const EMPTIED: f64 = 0.01;

/// The drift of this number; the same number and seed give the same drift.
pub fn drift(pools: &[Pool], seed: u64, number: u64) -> Drift {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number.wrapping_mul(0x9e37_79b9));
    let rows = 60 + random.below(200);
    let mut taken = Vec::new();
    while taken.len() < 6 + random.below(4) {
        let pool = &pools[random.below(pools.len())];
        if taken.iter().all(|other: &&Pool| other.name != pool.name) {
            taken.push(pool);
        }
    }
    let columns: Vec<Column> =
        taken.iter().map(|pool| Column { name: pool.name.clone(), values: pool.rows(rows, &mut random) }).collect();
    let mut making = Making { random, pools: taken, drift: Drift { before: columns.clone(), ..Drift::default() } };
    making.drift.after = columns;
    match number % 4 {
        0 | 1 => making.no_rename(),
        2 => making.plain_renames(),
        _ => making.near_copy(),
    }
    let Making { mut random, mut drift, .. } = making;
    for column in &mut drift.after {
        edit(column, &mut random);
    }
    drift
}

struct Making<'a> {
    random: Random,
    pools: Vec<&'a Pool>,
    drift: Drift,
}

impl Making<'_> {
    fn no_rename(&mut self) {
        for at in 0..1 + self.random.below(2) {
            match self.random.below(5) {
                // Something else of like content came.
                0 | 1 => {
                    let pool = self.pools[at];
                    let rows = self.drift.before[at].values.len();
                    let values = pool.rows(rows, &mut self.random);
                    self.remove(&pool.name.clone());
                    let name = self.unlike(&pool.name);
                    self.add(Column { name, values });
                }
                2 => self.remove(&self.pools[at].name.clone()),
                3 => {
                    let rows = self.drift.before[at].values.len();
                    let values = self.pools[at].rows(rows, &mut self.random);
                    let name = format!("{}_{}", word(&mut self.random), self.pools[at].name);
                    self.add(Column { name, values });
                }
                // One of two that are nearly the same went, and a third thing came.
                _ => {
                    let (first, second) = self.contrast(at);
                    let copy = self.near(at);
                    self.both(at, &first, &Column { name: second, values: copy });
                    self.remove(&first);
                    let rows = self.drift.before[at].values.len();
                    let values = self.pools[at].rows(rows, &mut self.random);
                    let name = word(&mut self.random);
                    self.add(Column { name, values });
                }
            }
        }
    }

    fn plain_renames(&mut self) {
        for at in 0..1 + self.random.below(3) {
            let name = self.pools[at].name.clone();
            let new = self.renamed(&name);
            self.rename(&name, &new);
        }
        // Unrelated columns of like content, some of them renamed to nothing alike.
        for at in 0..self.random.below(3) {
            let rows = self.drift.before[at].values.len();
            let values = self.pools[at].rows(rows, &mut self.random);
            let name = self.unlike(&self.pools[at].name.clone());
            self.add(Column { name, values });
        }
    }

    /// A rename, while a near copy of it stays, comes, or goes.
    fn near_copy(&mut self) {
        let (first, second) = self.contrast(0);
        let copy = Column { name: second.clone(), values: self.near(0) };
        self.both(0, &first, &copy);
        let new = self.renamed(&first);
        match self.random.below(4) {
            0 | 1 => self.rename(&first, &new),
            2 => {
                self.rename(&first, &new);
                self.drift.before.retain(|column| column.name != second);
            }
            _ => {
                // Both are renamed at once.
                let other = self.renamed(&second);
                self.rename(&first, &new);
                if other != new {
                    self.rename(&second, &other);
                }
            }
        }
    }

    /// Two names for two things of one kind.
    fn contrast(&mut self, at: usize) -> (String, String) {
        let base = self.pools[at].name.replace("billing_", "").replace("created", "seen");
        let (a, b) = [
            ("billing_", "shipping_"),
            ("created_", "updated_"),
            ("home_", "work_"),
            ("", "normalized_"),
            ("first_", "last_"),
        ][self.random.below(5)];
        (format!("{a}{base}"), format!("{b}{base}"))
    }

    /// Values equal to a column's in 90, 99 or 100 % of rows, some of them written otherwise.
    fn near(&mut self, at: usize) -> Vec<Option<String>> {
        let other = [0.1, 0.01, 0.0][self.random.below(3)];
        let tidy = self.random.below(3) == 0;
        let random = &mut self.random;
        let values = &self.drift.before[at].values;
        let near = |value: &Option<String>| {
            let value = value.as_ref()?;
            if random.share() < other {
                return Some(varied(value, random));
            }
            Some(if tidy { value.trim().to_lowercase() } else { value.clone() })
        };
        values.iter().map(near).collect()
    }

    /// Gives the first column that name, and puts its copy beside it; both are there before and after.
    fn both(&mut self, at: usize, first: &str, copy: &Column) {
        let old = self.pools[at].name.clone();
        for columns in [&mut self.drift.before, &mut self.drift.after] {
            columns.retain(|column| column.name != first && column.name != copy.name || column.name == old);
            columns.iter_mut().filter(|column| column.name == old).for_each(|column| column.name = first.to_owned());
            columns.push(copy.clone());
        }
    }

    fn remove(&mut self, name: &str) {
        self.drift.after.retain(|column| column.name != name);
    }

    fn add(&mut self, column: Column) {
        let known = |columns: &[Column]| columns.iter().any(|other| other.name == column.name);
        if !known(&self.drift.before) && !known(&self.drift.after) {
            self.drift.after.push(column);
        }
    }

    fn rename(&mut self, name: &str, new: &str) {
        let known = |columns: &[Column]| columns.iter().any(|other| other.name == new);
        if known(&self.drift.before) || known(&self.drift.after) {
            return;
        }
        let random = &mut self.random;
        let Some(column) = self.drift.after.iter_mut().find(|column| column.name == name) else { return };
        column.name = new.to_owned();
        let way = random.below(6);
        column.values.iter_mut().flatten().for_each(|value| *value = rewritten(value, way));
        self.drift.renames.push((name.to_owned(), new.to_owned()));
    }

    /// Another name for the same thing, as people rename.
    fn renamed(&mut self, name: &str) -> String {
        let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        match self.random.below(6) {
            0 if words.len() > 1 && words.iter().all(|word| word.is_ascii()) => {
                words[0].to_owned() + &words[1..].iter().map(|word| capital(word)).collect::<String>()
            }
            1 => words.iter().map(|word| word.chars().take(4).collect::<String>()).collect::<Vec<_>>().join("_") + "_",
            2 => format!("{}_{name}", word(&mut self.random)),
            3 => format!("{name}_{}", word(&mut self.random)),
            4 => format!("{}_{}", word(&mut self.random), words.last().copied().unwrap_or("x")),
            _ => format!("{}_{}", word(&mut self.random), word(&mut self.random)),
        }
    }

    fn unlike(&mut self, name: &str) -> String {
        match self.random.below(3) {
            0 => format!("{}_{}", word(&mut self.random), name.rsplit('_').next().unwrap_or("x")),
            1 => format!("{name}_{}", word(&mut self.random)),
            _ => format!("{}_{}", word(&mut self.random), word(&mut self.random)),
        }
    }
}

fn word(random: &mut Random) -> String {
    const WORDS: [&str; 20] = [
        "main",
        "crm",
        "customer",
        "legacy",
        "external",
        "segment",
        "priority",
        "score",
        "label",
        "channel",
        "batch",
        "branch",
        "territory",
        "remark",
        "rating",
        "origin",
        "campaign",
        "contract",
        "detail",
        "audit",
    ];
    WORDS[random.below(WORDS.len())].to_owned()
}

/// A value in another writing that means the same.
fn rewritten(value: &str, way: usize) -> String {
    match way {
        0 => value.to_uppercase(),
        1 => format!(" {value} "),
        2 if value.contains('T') && value.ends_with('Z') => value.replace('T', " ").replace('Z', "+00:00"),
        2 if value.parse::<f64>().is_ok() && value.contains('.') => format!("{value}00"),
        _ => value.to_owned(),
    }
}

fn edit(column: &mut Column, random: &mut Random) {
    for value in &mut column.values {
        let chance = random.share();
        if chance < EMPTIED {
            *value = None;
        } else if chance < EMPTIED + EDITED {
            *value = Some(value.as_ref().map_or_else(|| "new".to_owned(), |value| varied(value, random) + "1"));
        }
    }
}
