//! Texts that a user gives to a command.

use anyhow::{Context, Result, ensure};
use std::io::{IsTerminal, Read};

/// The texts of the command line, or where there are none the lines of standard input, empty ones too, so that answers stay beside
/// their lines; `what` names them in errors.
///
/// # Errors
/// A terminal as standard input; input that is not UTF-8.
pub fn given(arguments: &[String], what: &str) -> Result<Vec<String>> {
    if !arguments.is_empty() {
        return Ok(arguments.to_vec());
    }
    ensure!(
        !std::io::stdin().is_terminal(),
        "there are no {what}: name some, or a --file, or write them to standard input"
    );
    let mut all = String::new();
    std::io::stdin()
        .read_to_string(&mut all)
        .context("reading standard input")?;
    Ok(all.lines().map(String::from).collect())
}
