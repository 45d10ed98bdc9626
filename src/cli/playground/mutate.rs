//! `aam playground mutate`: changes of the sample CRM and the exports, and of nothing else.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::super::{Context, Exit};
use super::export::{self, Edit};
use super::target::Target;
use super::{READY, open, state};
use crate::model::RepoPath;
use crate::wiring::sample::{SampleCluster, close};

/// Change a sample source, as its owners would without telling anyone
///
/// TARGET is a table or column of the sample CRM (accounts, contacts, opportunities), like `accounts.website`, or a CSV file or
/// column of the exports, like `exports/contacts.csv:Phone`. Prints what was done.
#[derive(Debug, Args)]
pub(super) struct Mutate {
    #[command(subcommand)]
    change: Change,
    /// Print what would be done, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Give a column another name
    Rename {
        /// TABLE.COLUMN or exports/FILE.csv:COLUMN
        target: Target,
        /// Its new name
        to: String,
    },
    /// Add an empty column
    Add {
        /// TABLE.COLUMN or exports/FILE.csv:COLUMN
        target: Target,
        /// Its PostgreSQL type; files have none
        #[arg(value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Drop a column with its values
    Drop {
        /// TABLE.COLUMN or exports/FILE.csv:COLUMN
        target: Target,
    },
    /// Give a table's column another type
    Retype {
        /// TABLE.COLUMN
        target: Target,
        /// A PostgreSQL type, like bigint
        #[arg(value_name = "TYPE")]
        kind: String,
    },
    /// Add rows: copies of the first ones, with keys of their own
    Insert {
        /// TABLE or exports/FILE.csv
        target: Target,
        /// How many
        #[arg(long, default_value_t = 3)]
        rows: u16,
    },
    /// Put a value into a column of the first rows
    Update {
        /// TABLE.COLUMN or exports/FILE.csv:COLUMN
        target: Target,
        /// The value
        value: String,
        /// How many rows
        #[arg(long, default_value_t = 3)]
        rows: u16,
    },
}

impl Change {
    fn target(&self) -> &Target {
        match self {
            Self::Rename { target, .. }
            | Self::Add { target, .. }
            | Self::Drop { target }
            | Self::Retype { target, .. }
            | Self::Insert { target, .. }
            | Self::Update { target, .. } => target,
        }
    }
}

/// Runs `aam playground mutate`.
pub(super) async fn run(args: &Mutate, context: &Context) -> anyhow::Result<Exit> {
    let dir = open(&context.root, &[READY])?;
    match args.change.target() {
        Target::File(file, column) => {
            edit_file(&dir, file, column.as_deref(), args).with_context(|| format!("changing {file}"))?;
            context.out.data(&format!("changed {file}"));
        }
        Target::Table(table, column) => {
            let cluster = SampleCluster::start(&state(&dir)).await?;
            let mut crm = cluster.connect("crm").await?;
            let done = change_table(&mut crm, table, column.as_deref(), args, context).await;
            close(crm).await;
            cluster.stop().await?;
            done.with_context(|| format!("changing table {table} of the sample CRM"))?;
        }
    }
    if args.dry_run {
        context.out.say("nothing was changed");
    }
    Ok(Exit::InSync)
}

fn edit_file(dir: &Path, file: &RepoPath, column: Option<&str>, args: &Mutate) -> anyhow::Result<()> {
    let named = || column.context("name a column too, like exports/contacts.csv:Phone");
    let edit = match &args.change {
        Change::Rename { to, .. } => Edit::Rename { column: named()?, to },
        Change::Add { kind: Some(_), .. } | Change::Retype { .. } => {
            bail!("a CSV file has no types: change its values with `update`")
        }
        Change::Add { .. } => Edit::Add { column: named()? },
        Change::Drop { .. } => Edit::Drop { column: named()? },
        Change::Insert { rows, .. } => Edit::Insert { rows: (*rows).into() },
        Change::Update { value, rows, .. } => Edit::Update { column: named()?, value, rows: (*rows).into() },
    };
    let path = dir.join(file.as_str());
    let text = std::fs::read_to_string(&path)?;
    let text = export::edit(&text, &edit)?;
    if args.dry_run {
        return Ok(());
    }
    // Aside and moved into place: aam must not read half a file.
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    new.persist(&path)?;
    Ok(())
}

async fn change_table(
    crm: &mut PgConnection,
    table: &str,
    column: Option<&str>,
    args: &Mutate,
    context: &Context,
) -> anyhow::Result<()> {
    let columns = columns(crm, table).await?;
    if columns.is_empty() {
        bail!("there is no such table");
    }
    let sql = statement(&args.change, table, column, &columns)?;
    context.out.data(&crate::diag::escape(&sql));
    if !args.dry_run {
        // Built by `statement`, which quotes every name and value.
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(crm).await?;
    }
    Ok(())
}

/// A column of a table.
struct Column {
    name: String,
    /// Numbers itself: the table's key.
    is_identity: bool,
}

async fn columns(crm: &mut PgConnection, table: &str) -> anyhow::Result<Vec<Column>> {
    let rows = sqlx::query(
        "SELECT attname::text, attidentity <> '' FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = $1 AND attnum > 0 AND NOT attisdropped
         ORDER BY attnum",
    );
    let rows = rows.bind(table).fetch_all(crm).await?;
    Ok(rows.iter().map(|row| Column { name: row.get(0), is_identity: row.get(1) }).collect())
}

/// The SQL of a change.
fn statement(change: &Change, table: &str, column: Option<&str>, columns: &[Column]) -> anyhow::Result<String> {
    let has = |name: &str| columns.iter().any(|c| c.name == name);
    let named = || column.with_context(|| format!("name a column too, like {table}.{}", columns[0].name));
    let key = columns.iter().find(|c| c.is_identity).map(|c| c.name.as_str());
    let t = ident(table);
    let order = key.map_or_else(String::new, |key| format!(" ORDER BY {}", ident(key)));
    Ok(match change {
        Change::Rename { to, .. } => format!("ALTER TABLE {t} RENAME COLUMN {} TO {}", ident(named()?), ident(to)),
        Change::Add { kind, .. } => {
            let kind = kind.as_deref().context("say its type too, like text")?;
            format!("ALTER TABLE {t} ADD COLUMN {} {}", ident(named()?), type_name(kind)?)
        }
        Change::Drop { .. } => format!("ALTER TABLE {t} DROP COLUMN {}", ident(named()?)),
        Change::Retype { kind, .. } => {
            let (c, kind) = (ident(named()?), type_name(kind)?);
            format!("ALTER TABLE {t} ALTER COLUMN {c} TYPE {kind} USING {c}::{kind}")
        }
        Change::Insert { rows, .. } => {
            let key = key.context("it has no key that numbers itself")?;
            let number = format!("(SELECT max({0}) FROM {t}) + place.n", ident(key));
            let mut new = vec![format!("{}, {number}", literal(key))];
            if has("name") {
                new.push(format!("'name', old.name || ' ' || {number}"));
            }
            if has("email") {
                new.push(format!("'email', 'new' || {number} || '@example.com'"));
            }
            new.extend(["created_at", "updated_at"].into_iter().filter(|c| has(c)).map(|c| format!("'{c}', now()")));
            format!(
                "INSERT INTO {t} SELECT (jsonb_populate_record(NULL::{t}, to_jsonb(old) || jsonb_build_object({}))).* \
                 FROM generate_series(1, {rows}) AS place(n) \
                 JOIN (SELECT *, row_number() OVER ({}) AS \"#\", count(*) OVER () AS \"of\" FROM {t}) AS old \
                 ON old.\"#\" = 1 + (place.n - 1) % old.\"of\"",
                new.join(", "),
                order.trim_start()
            )
        }
        Change::Update { value, rows, .. } => {
            let stamp = if has("updated_at") && column != Some("updated_at") { ", updated_at = now()" } else { "" };
            format!(
                "UPDATE {t} SET {} = {}{stamp} WHERE ctid IN (SELECT ctid FROM {t}{order} LIMIT {rows})",
                ident(named()?),
                literal(value)
            )
        }
    })
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A type's name is no identifier (`numeric(12,2)`, `double precision`, `text[]`), so only harmless characters pass.
fn type_name(text: &str) -> anyhow::Result<&str> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || " _(),[]".contains(c);
    if text.trim().is_empty() || !text.chars().all(harmless) {
        bail!("{text:?} is no type: write one like text, bigint or numeric(12,2)");
    }
    Ok(text)
}
