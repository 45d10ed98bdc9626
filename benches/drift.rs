//! Fingerprint and comparison of a catalog of 100 streams with 1,000 fields each, as ratios to hashing and to parsing the same
//! bytes in the same run; half the catalog must take about half as long, also where every stream goes by another name. And one
//! stream with 300 fields that went and 300 that came, which must not take long.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod timing;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use aam::drift::compare;
use aam::model::{Catalog, Field, FieldPath, FieldType, Stream, StreamName};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use timing::best_on_processor as best;

/// What 300 × 300 renames may take at most.
const MOST_RENAMES: Duration = Duration::from_secs(2);
/// Twice the catalog may take at most so many times as long.
const MOST_GROWTH: f64 = 3.0;

fn main() -> ExitCode {
    let half = measure(50);
    let whole = measure(100);
    let growth = whole.as_secs_f64() / half.as_secs_f64();
    println!("twice the streams: {growth:.2} times as long (limit {MOST_GROWTH})");
    let moves: Vec<f64> = [own_fields as Fields, same_fields].map(growth_of_moves).to_vec();
    let growth = moves.into_iter().fold(growth, f64::max);
    let (before, after) = (stream("", 300), stream("_code", 300));
    let renames = best(|| drop(black_box(compare(&before, &after))));
    println!("300 removed and 300 added: {:.1} ms (limit {} ms)", ms(renames), MOST_RENAMES.as_millis());
    if growth > MOST_GROWTH || renames > MOST_RENAMES { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The fields of a stream, by its number.
type Fields = fn(usize) -> Stream;

fn same_fields(_: usize) -> Stream {
    fields("", 1_000)
}

fn own_fields(stream: usize) -> Stream {
    fields(&format!("_of_{stream}"), 1_000)
}

/// Every stream of a catalog in another namespace: prints the figures and returns how many times as long twice as many take.
fn growth_of_moves(fields: Fields) -> f64 {
    let catalog = |namespace: &str, streams: usize| Catalog {
        streams: (0..streams).map(|n| (StreamName::within(namespace, format!("stream_{n}")), fields(n))).collect(),
    };
    let time = |streams: usize| {
        let (before, after) = (catalog("a", streams), catalog("b", streams));
        best(|| assert_eq!(black_box(compare(&before, &after)).len(), streams))
    };
    let (half, whole) = (time(50), time(100));
    let growth = whole.as_secs_f64() / half.as_secs_f64();
    let what = if fields(0) == fields(1) { "the same fields" } else { "fields of their own" };
    println!("100 renamed streams with {what}: {:.1} ms, {growth:.2} times 50 (limit {MOST_GROWTH})", ms(whole));
    growth
}

/// Prints the figures of a catalog and returns the time of fingerprint and comparison together.
fn measure(streams: usize) -> Duration {
    let catalog = Catalog {
        streams: (0..streams).map(|n| (StreamName::bare(format!("stream_{n}")), fields("", 1_000))).collect(),
    };
    let mut other = catalog.clone();
    for stream in other.streams.values_mut() {
        stream.fields.insert(FieldPath::top("field_0"), Field::new(FieldType::Number, true));
    }
    let bytes = serde_json::to_vec(&catalog.body()).unwrap();
    let hash = best(|| {
        black_box(Sha256::digest(&bytes));
    });
    let parse = best(|| drop(black_box(serde_json::from_slice::<Value>(&bytes).unwrap())));
    let fingerprint = best(|| drop(black_box(catalog.fingerprint())));
    let diff = best(|| assert_eq!(black_box(compare(&catalog, &other)).len(), streams));
    println!("{streams} streams × 1000 fields, {:.1} MiB as JSON", bytes.len() as f64 / 1024.0 / 1024.0);
    for (what, time) in [("SHA-256", hash), ("serde_json", parse), ("fingerprint", fingerprint), ("compare", diff)] {
        let ratio = |other: Duration| time.as_secs_f64() / other.as_secs_f64();
        println!("  {what:12} {:8.1} ms  {:6.2} × SHA-256  {:5.2} × serde_json", ms(time), ratio(hash), ratio(parse));
    }
    fingerprint + diff
}

fn fields(suffix: &str, count: usize) -> Stream {
    let field = |n| (FieldPath::top(format!("field_{n}{suffix}")), Field::new(FieldType::String(None), true));
    Stream { fields: (0..count).map(field).collect(), ..Stream::default() }
}

fn stream(suffix: &str, count: usize) -> Catalog {
    Catalog { streams: [(StreamName::bare("accounts"), fields(suffix, count))].into() }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
