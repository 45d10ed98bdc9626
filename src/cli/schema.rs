//! `aam schema KIND`: JSON Schemas for editors.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{Context, Exit};
use crate::spec::schema::{SchemaKind, schema};

/// Print the JSON Schema (2020-12) of a kind of file
///
/// An editor that knows it completes specs and marks typing errors:
/// put `# yaml-language-server: $schema=FILE` at the top of a spec.
#[derive(Debug, Args)]
pub struct Schema {
    /// Which kind
    #[arg(value_parser = kinds())]
    kind: SchemaKind,
}

fn kinds() -> impl TypedValueParser<Value = SchemaKind> {
    PossibleValuesParser::new(SchemaKind::ALL.map(SchemaKind::word)).map(|word| {
        SchemaKind::ALL.into_iter().find(|kind| kind.word() == word).expect("clap lets only these words through")
    })
}

/// Runs `aam schema`.
pub fn run(args: &Schema, context: &Context) -> anyhow::Result<Exit> {
    context.out.data(&serde_json::to_string_pretty(&schema(args.kind))?);
    Ok(Exit::InSync)
}
