//! `aam events`: canonical events and dead letters.

use clap::Args;

use super::{Context, Exit, act};
use crate::diag::escape;
use crate::ports::EventFilter;
use crate::wiring::{self, App};

/// Show canonical events, the newest last
#[derive(Debug, Args)]
pub struct Events {
    /// Only this connection's
    connection: Option<String>,
    /// Only this entity's
    #[arg(long)]
    entity: Option<String>,
    /// Only this record's, by its key as `aam events` prints it
    #[arg(long)]
    key: Option<String>,
    /// At most so many, the newest
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Show the records that could not be mapped, and why
    #[arg(long, requires = "connection")]
    dead: bool,
}

/// Runs `aam events`.
pub async fn run(args: &Events, context: &Context) -> anyhow::Result<Exit> {
    wiring::with_app(&context.root, context.config.as_deref(), async |app| show(args, app, context).await).await
}

async fn show(args: &Events, app: &App, context: &Context) -> anyhow::Result<Exit> {
    let row = match &args.connection {
        Some(name) => Some(act::connection(app, name).await?),
        None => None,
    };
    let store = &app.reconciler.doors().events;
    if let (true, Some(row)) = (args.dead, &row) {
        let (letters, all) = store.dead_letters(row.id, args.limit).await?;
        let mut text = String::new();
        for letter in letters.iter().rev() {
            let reason = letter.reason.replace('\n', "; ");
            let mapping = match letter.mapping.get(..8) {
                Some(short) => format!(" (mapping {short})"),
                None => String::new(),
            };
            text.push_str(&format!(
                "! {} {} {}: {}{mapping}\n",
                letter.entity,
                escape(&letter.stream.to_string()),
                escape(letter.record_key.as_deref().unwrap_or(&letter.raw_id)),
                escape(&reason)
            ));
        }
        act::print(context, &letters, &text)?;
        context.out.say(&format!("Dead letters: {} of {all}", letters.len()));
    } else {
        let filter = EventFilter {
            connection: row.map(|row| row.id),
            entity: args.entity.clone(),
            record_key: args.key.clone(),
            limit: args.limit,
        };
        let events = store.events(&filter).await?;
        let mut text = String::new();
        for event in &events {
            let op = format!("{:?}", event.op).to_lowercase();
            text.push_str(&escape(&format!(
                "{:>6}  {}  {op}  {} {}  {}",
                event.position, event.connection_name, event.entity, event.record_key, event.data
            )));
            text.push('\n');
        }
        act::print(context, &events, &text)?;
    }
    Ok(Exit::InSync)
}
