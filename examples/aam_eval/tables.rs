//! Pools of values that generated tables are filled from: columns of CSV files, the playground's own and those of a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::boost::Random;

/// A column with fewer distinct values is not used: where every row holds the same, no value tells two columns apart, and a
/// generated "other column of like content" would be the column itself.
const LEAST_VALUES: usize = 3;

/// A column whose values others are made like.
#[derive(Debug, Clone)]
pub struct Pool {
    pub name: String,
    pub values: Vec<String>,
    /// Share of rows without a value.
    pub nulls: f64,
    /// Distinct values as a share of all: of a column of keys or texts it is 1.
    pub distinct: f64,
}

/// Pools of the playground's tables, and of the CSV files of a folder.
pub fn pools(folder: Option<&Path>) -> anyhow::Result<Vec<Pool>> {
    let mut pools = invented();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("playground/contacts.csv"), &mut pools)?;
    if let Some(folder) = folder {
        let entries = std::fs::read_dir(folder).with_context(|| format!("{}: cannot be read", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "csv")) {
            add(file, &mut pools)?;
        }
    }
    Ok(pools)
}

/// What a file does not have: the kinds of columns of the playground's database (`playground/crm.sql`).
fn invented() -> Vec<Pool> {
    let list = |name: &str, values: &[&str], distinct: f64| Pool {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        nulls: 0.03,
        distinct,
    };
    vec![
        list("annual_rev", &["180000.50", "253411.37", "9120.00", "77.25", "1000000.00"], 1.0),
        list("employees", &["12", "49", "860", "233", "7"], 0.6),
        list("billing_state", &["CA", "NY", "WA", "TX", "MA", "IL", "OR"], 0.05),
        list("is_deleted", &["true", "false"], 0.01),
        list("created_at", &["2026-01-05T08:00:00Z", "2026-02-11T15:20:43Z", "2025-12-31T23:59:59Z"], 1.0),
        list("close_date", &["2026-03-01", "2026-06-30", "2025-11-15"], 0.4),
        list("stage", &["open", "won", "lost", "qualified"], 0.03),
        list("currency", &["EUR", "USD", "GBP"], 0.02),
        list("owner_email", &["ines@crm.example.com", "tomasz@crm.example.com", "aiko@crm.example.com"], 0.9),
        list("website", &["alder-freight.example.com", "dune-optics.example.com", "ember-kilns.example.com"], 1.0),
        list("phone", &["+1 555 0100", "+49 30 901820", "+44 20 7946 0958"], 1.0),
        list("billing_street", &["12 Harbour Lane", "7 Elm Street", "48 Ridge Road", "3 Quarry Row"], 1.0),
    ]
}

fn add(file: &Path, pools: &mut Vec<Pool>) -> anyhow::Result<()> {
    let shown = file.display();
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(file).with_context(|| format!("{shown}"))?;
    let names: Vec<String> =
        reader.headers().with_context(|| format!("{shown}:1"))?.iter().map(str::to_owned).collect();
    let mut columns: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    let mut rows = 0_usize;
    for record in reader.records() {
        let record = record.with_context(|| format!("{shown}"))?;
        rows += 1;
        for (value, column) in record.iter().zip(&mut columns).filter(|(value, _)| !value.is_empty()) {
            column.push(value.chars().take(80).collect());
        }
    }
    for (name, values) in names.into_iter().zip(columns).filter(|(_, values)| !values.is_empty()) {
        let count = values.iter().collect::<BTreeSet<_>>().len();
        if count < LEAST_VALUES {
            continue;
        }
        let distinct = count as f64 / values.len() as f64;
        let nulls = (1.0 - values.len() as f64 / rows as f64).min(0.8);
        pools.push(Pool { name, values, nulls, distinct });
    }
    Ok(())
}

impl Pool {
    /// So many rows of like content.
    pub fn rows(&self, count: usize, random: &mut Random) -> Vec<Option<String>> {
        // as many distinct values for a longer column as it would have
        let wanted = ((self.distinct * count as f64) as usize).max(self.values.len().min(12)).max(1);
        let few: BTreeSet<&String> = self.values.iter().collect();
        let mut stock: Vec<String> = few.into_iter().cloned().collect();
        while stock.len() < wanted && self.distinct > 0.1 {
            let like = stock[random.below(stock.len())].clone();
            stock.push(varied(&like, random));
        }
        let null = |random: &mut Random| random.share() < self.nulls;
        (0..count).map(|_| if null(random) { None } else { Some(stock[random.below(stock.len())].clone()) }).collect()
    }
}

/// Another value of the same shape: some of its letters and digits are others.
pub fn varied(value: &str, random: &mut Random) -> String {
    let other = |c: char, random: &mut Random| match c {
        '0'..='9' if random.share() < 0.5 => char::from(b'0' + random.below(10) as u8),
        'a'..='z' if random.share() < 0.3 => char::from(b'a' + random.below(26) as u8),
        'A'..='Z' if random.share() < 0.3 => char::from(b'A' + random.below(26) as u8),
        c => c,
    };
    value.chars().map(|c| other(c, random)).collect()
}
