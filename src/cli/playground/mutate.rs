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
    /// Make a table or a file
    Create {
        /// TABLE or exports/FILE.csv
        target: Target,
        /// Of a table NAME:TYPE, of a file NAME
        #[arg(required = true, value_name = "COLUMN")]
        columns: Vec<String>,
    },
    /// Give a column, a table or a file another name
    Rename {
        /// TABLE, TABLE.COLUMN, exports/FILE.csv or exports/FILE.csv:COLUMN
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
        /// Never null: rows that are there hold this
        #[arg(long, value_name = "VALUE")]
        required: Option<String>,
    },
    /// Drop a column, a table or a file with its values
    Drop {
        /// TABLE, TABLE.COLUMN, exports/FILE.csv or exports/FILE.csv:COLUMN
        target: Target,
    },
    /// Refuse nulls in a table's column
    Require {
        /// TABLE.COLUMN
        target: Target,
    },
    /// Allow nulls in a table's column
    Relax {
        /// TABLE.COLUMN
        target: Target,
    },
    /// Give a table another primary key
    Key {
        /// TABLE
        target: Target,
        /// Its columns; none: the table has no key any more
        columns: Vec<String>,
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
            Self::Create { target, .. }
            | Self::Rename { target, .. }
            | Self::Add { target, .. }
            | Self::Drop { target }
            | Self::Require { target }
            | Self::Relax { target }
            | Self::Key { target, .. }
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
    let path = dir.join(file.as_str());
    let edit = match &args.change {
        Change::Create { columns, .. } => return make_file(&path, columns, args.dry_run),
        Change::Rename { to, .. } if column.is_none() => {
            let Ok(Target::File(to, None)) = to.parse() else { bail!("its new name is like exports/people.csv") };
            return if args.dry_run { Ok(()) } else { Ok(std::fs::rename(&path, dir.join(to.as_str()))?) };
        }
        Change::Drop { .. } if column.is_none() => {
            return if args.dry_run { Ok(()) } else { Ok(std::fs::remove_file(&path)?) };
        }
        Change::Rename { to, .. } => Edit::Rename { column: named()?, to },
        Change::Add { kind: Some(_), .. }
        | Change::Add { required: Some(_), .. }
        | Change::Retype { .. }
        | Change::Require { .. }
        | Change::Relax { .. }
        | Change::Key { .. } => {
            bail!("a CSV file has no types and no key: change its values with `update`")
        }
        Change::Add { .. } => Edit::Add { column: named()? },
        Change::Drop { .. } => Edit::Drop { column: named()? },
        Change::Insert { rows, .. } => Edit::Insert { rows: (*rows).into() },
        Change::Update { value, rows, .. } => Edit::Update { column: named()?, value, rows: (*rows).into() },
    };
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

/// Makes a file that holds only its header.
fn make_file(path: &Path, columns: &[String], dry_run: bool) -> anyhow::Result<()> {
    let mut header = csv::Writer::from_writer(Vec::new());
    header.write_record(columns)?;
    let header = header.into_inner().map_err(|error| error.into_error())?;
    if dry_run {
        return Ok(());
    }
    let mut file = std::fs::File::create_new(path)?;
    Ok(file.write_all(&header)?)
}

async fn change_table(
    crm: &mut PgConnection,
    table: &str,
    column: Option<&str>,
    args: &Mutate,
    context: &Context,
) -> anyhow::Result<()> {
    let columns = columns(crm, table).await?;
    let makes = matches!(args.change, Change::Create { .. });
    if columns.is_empty() && !makes {
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
    let named = || {
        let first = columns.first().map_or("COLUMN", |column| column.name.as_str());
        column.with_context(|| format!("name a column too, like {table}.{first}"))
    };
    let key = columns.iter().find(|c| c.is_identity).map(|c| c.name.as_str());
    let t = ident(table);
    let order = key.map_or_else(String::new, |key| format!(" ORDER BY {}", ident(key)));
    Ok(match change {
        Change::Create { columns, .. } => {
            let one = |text: &String| {
                let (name, kind) = text.split_once(':').context("a column is NAME:TYPE")?;
                anyhow::Ok(format!("{} {}", ident(name), type_name(kind)?))
            };
            let columns = columns.iter().map(one).collect::<Result<Vec<_>, _>>()?;
            format!("CREATE TABLE {t} ({})", columns.join(", "))
        }
        Change::Rename { to, .. } if column.is_none() => format!("ALTER TABLE {t} RENAME TO {}", ident(to)),
        Change::Drop { .. } if column.is_none() => format!("DROP TABLE {t} CASCADE"),
        Change::Require { .. } => format!("ALTER TABLE {t} ALTER COLUMN {} SET NOT NULL", ident(named()?)),
        Change::Relax { .. } => format!("ALTER TABLE {t} ALTER COLUMN {} DROP NOT NULL", ident(named()?)),
        Change::Key { columns, .. } => {
            let drop = format!("ALTER TABLE {t} DROP CONSTRAINT IF EXISTS {} CASCADE", ident(&format!("{table}_pkey")));
            match columns.is_empty() {
                true => drop,
                false => {
                    let columns = columns.iter().map(|name| ident(name)).collect::<Vec<_>>().join(", ");
                    format!("{drop}, ADD CONSTRAINT {} PRIMARY KEY ({columns})", ident(&format!("{table}_pkey")))
                }
            }
        }
        Change::Rename { to, .. } => format!("ALTER TABLE {t} RENAME COLUMN {} TO {}", ident(named()?), ident(to)),
        Change::Add { kind, required, .. } => {
            let kind = kind.as_deref().context("say its type too, like text")?;
            let filled = required.as_ref().map(|value| format!(" NOT NULL DEFAULT {}", literal(value)));
            format!("ALTER TABLE {t} ADD COLUMN {} {}{}", ident(named()?), type_name(kind)?, filled.unwrap_or_default())
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
