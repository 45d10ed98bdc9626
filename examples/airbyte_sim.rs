//! The tests' stand-in for Airbyte as a server to play with: `cargo run --example airbyte_sim -- --port 8000`.
//!
//! It forgets everything when it ends. Sources and destinations of PostgreSQL are real: a discover reads the database
//! that their settings name, and a sync moves its rows. What it was asked is printed, one line per call.
#![allow(clippy::print_stdout, reason = "it is a program to look at")]

#[path = "../tests/support/airbyte/mod.rs"]
mod airbyte;

use std::time::Duration;

use airbyte::{Standin, Version};
use anyhow::Context as _;
use clap::Parser;

/// Play an Airbyte of any version
#[derive(Parser)]
struct Arguments {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The version to play, from 0.63 on
    #[arg(long, default_value = "1.8")]
    version: Version,
    /// Ask for no token, as an installation with authentication switched off
    #[arg(long)]
    no_auth: bool,
    /// The destination's version: 3.x loads directly, 2.x has raw and typed tables
    #[arg(long, default_value = "3.0.6")]
    destination: String,
    /// How long each attempt of a sync takes at least, in seconds
    #[arg(long, default_value_t = 2)]
    sync_takes: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let standin = Standin::on(arguments.port, arguments.version)
        .await
        .with_context(|| format!("listening on port {}", arguments.port))?;
    standin.edit(|state| {
        state.job_takes = Duration::from_secs(arguments.sync_takes);
        for definition in state.definitions.iter_mut().filter(|d| d.repository == "airbyte/destination-postgres") {
            definition.tag.clone_from(&arguments.destination);
        }
        if arguments.no_auth {
            state.credentials = None;
        }
    });
    println!("Airbyte {} is played at {}", arguments.version, standin.url);
    if let Some((id, secret)) = standin.edit(|state| state.credentials.clone()) {
        println!("client id {id}, client secret {secret}");
    }
    println!("workspace {}", standin.edit(|state| state.workspaces[0].id));
    follow(&standin).await
}

/// Prints each call once it is answered, and what breaks the contract; at the end how often that was.
async fn follow(standin: &Standin) -> anyhow::Result<()> {
    let (mut shown, mut broken) = (0, 0);
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut ends = false;
    while !ends {
        tokio::select! {
            stop = tokio::signal::ctrl_c() => { stop?; ends = true; }
            _ = terminated.recv() => ends = true,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        for entry in standin.log().iter().skip(shown) {
            let status = entry.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
            println!("{status:>3} {}{}", entry.name(), if entry.is_write() { " (write)" } else { "" });
            shown += 1;
        }
        for violation in standin.violations() {
            println!("!!! {violation}");
            broken += 1;
        }
    }
    if standin.has_contract() {
        println!("Contract: {broken} violations in {shown} calls");
    } else {
        println!("SKIPPED: contract: Airbyte's documents are not at hand");
    }
    Ok(())
}
