//! A sync by the embedded engine, from PostgreSQL and from CSV, in rows and bytes per second and as a ratio to the plainest
//! way to carry the same rows: one `COPY … TO STDOUT` into one `COPY … FROM STDIN`, in the same run on the same server.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::io::Write;
use std::time::{Duration, Instant};

use aam::spec::StreamMode;
use futures_util::StreamExt;
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;

use harness::{Bench, handle, run};

#[path = "../tests/it/embedded/harness.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod harness;
#[path = "../tests/it/support/mod.rs"]
mod support;

const ROWS: usize = 200_000;

/// A table as a CRM has it: numbers, text, money, dates, some nulls.
const TABLE: &str = "
    CREATE TABLE accounts (id int PRIMARY KEY, name text NOT NULL, billing_state text, annual_revenue numeric(12,2),
        employees int, website text, note text, is_deleted boolean NOT NULL, created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL);
    INSERT INTO accounts SELECT i, 'Account ' || i, (array['CA','NY','TX',NULL])[1 + i % 4], i * 1.25, i % 1000,
        'https://example.org/accounts/' || i, repeat('some words about it, ', i % 8), i % 50 = 0,
        '2024-01-01T00:00:00Z'::timestamptz + i * interval '1 minute', '2025-01-01T00:00:00Z'::timestamptz + i * interval '1 s'
    FROM generate_series(1, 200000) i;
    ANALYZE accounts;
";

fn main() {
    aam::wiring::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::new().await;
        run(&bench.source, TABLE).await;
        let (plain, bytes) = pipe(&bench.source, &bench.landing).await;
        report("COPY to COPY", plain, bytes, plain);
        let synced = best(async || sync(&bench, "public/accounts", StreamMode::FullRefreshOverwrite).await).await;
        report("sync from PostgreSQL", synced, bytes, plain);

        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("accounts.csv");
        let csv_bytes = export(&bench.source, &csv).await;
        let plain = best(async || import(&bench.landing, &csv).await).await;
        report("CSV file to COPY", plain, csv_bytes, plain);
        let mut times = Vec::new();
        for _ in 0..3 {
            // A file that was read is not read again, so each run has a connection of its own.
            let path = folder.path().to_str().unwrap();
            let bench = Bench::reading(handle("files", "file", serde_json::json!({"path": path}))).await;
            times.push(sync(&bench, "accounts", StreamMode::FullRefreshOverwrite).await);
        }
        report("sync from CSV", times.into_iter().min().unwrap(), csv_bytes, plain);
    });
}

fn report(what: &str, time: Duration, bytes: u64, plain: Duration) {
    let seconds = time.as_secs_f64();
    println!(
        "{what:22} {:8.0} rows/s {:7.1} MB/s  {:5.2} times the time of the plain copy",
        ROWS as f64 / seconds,
        bytes as f64 / 1e6 / seconds,
        seconds / plain.as_secs_f64()
    );
}

/// The best of three runs.
async fn best(mut work: impl AsyncFnMut() -> Duration) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        best = best.min(work().await);
    }
    best
}

/// One sync of one stream, from the order to the ended job.
async fn sync(bench: &Bench, stream: &str, mode: StreamMode) -> Duration {
    let id = bench.configure(vec![bench.stream(stream, mode).await]).await;
    let start = Instant::now();
    let job = bench.sync_ok(&id).await;
    assert_eq!(job.rows, ROWS as u64);
    start.elapsed()
}

/// Carries the table from one database into another as the server writes it; the best of three, and the bytes.
async fn pipe(source: &PgPool, landing: &PgPool) -> (Duration, u64) {
    let mut bytes = 0;
    let time = best(async || {
        run(landing, LIKE).await;
        let start = Instant::now();
        let mut rows = source.copy_out_raw("COPY accounts TO STDOUT").await.unwrap();
        let mut copy = landing.copy_in_raw("COPY plain FROM STDIN").await.unwrap();
        bytes = 0;
        let mut buffer = Vec::new();
        while let Some(piece) = rows.next().await {
            let piece = piece.unwrap();
            bytes += piece.len() as u64;
            buffer.extend_from_slice(&piece);
            if buffer.len() > 256 * 1024 {
                copy.send(&buffer[..]).await.unwrap();
                buffer.clear();
            }
        }
        copy.send(&buffer[..]).await.unwrap();
        assert_eq!(copy.finish().await.unwrap(), ROWS as u64);
        start.elapsed()
    });
    (time.await, bytes)
}

/// The landing side of the plain copies.
const LIKE: &str = "DROP TABLE IF EXISTS plain; CREATE TABLE plain (id int, name text, billing_state text,
    annual_revenue numeric(12,2), employees int, website text, note text, is_deleted boolean, created_at timestamptz,
    updated_at timestamptz)";

/// Writes the table as CSV with a header; how many bytes.
async fn export(source: &PgPool, to: &std::path::Path) -> u64 {
    let mut file = std::io::BufWriter::new(std::fs::File::create(to).unwrap());
    let mut rows = source.copy_out_raw("COPY accounts TO STDOUT (FORMAT csv, HEADER)").await.unwrap();
    while let Some(piece) = rows.next().await {
        file.write_all(&piece.unwrap()).unwrap();
    }
    file.flush().unwrap();
    std::fs::metadata(to).unwrap().len()
}

/// Sends the file to the server as it is.
async fn import(landing: &PgPool, csv: &std::path::Path) -> Duration {
    run(landing, LIKE).await;
    let start = Instant::now();
    let bytes = std::fs::read(csv).unwrap();
    let mut copy = landing.copy_in_raw("COPY plain FROM STDIN (FORMAT csv, HEADER)").await.unwrap();
    for piece in bytes.chunks(256 * 1024) {
        copy.send(piece).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), ROWS as u64);
    start.elapsed()
}
