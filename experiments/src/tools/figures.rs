//! `figures`: tables, figures and their page from the records. It runs without libtorch.

use anyhow::Result;
use clap::Parser;
use results::publish::{self, publish};

/// Draws all tables and figures again from the records, and the page that shows them.
#[derive(Parser, Debug)]
#[command(
    name = "figures",
    version,
    after_help = "Examples:
  figures
  figures --published
  figures --only fig3,table7
  figures --results my-results --out /tmp/drawn"
)]
pub struct FiguresArgs {
    #[command(flatten)]
    args: publish::Args,
}

/// Draws them, and says what was written.
///
/// # Errors
/// As [`publish()`].
pub fn draw(args: &FiguresArgs) -> Result<String> {
    Ok(publish(&args.args)?.to_string())
}
