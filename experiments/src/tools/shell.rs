//! `lora completions` and `lora man`: completions of a shell, and pages of the manual, for all programs.

use crate::app;
use crate::experiment::registry::{self, EXPERIMENTS};
use anyhow::{Context, Result, ensure};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::PathBuf;

/// `lora completions`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora completions bash > ~/.local/share/bash-completion/completions/lora\n  lora completions zsh glue > ~/.zfunc/_glue\n  lora completions fish > ~/.config/fish/completions/lora.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
    /// The program: lora, or an experiment such as glue
    #[arg(default_value = "lora")]
    program: String,
}

/// `lora man`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora man | man -l -\n  lora man glue > glue.1\n  lora man --out ~/.local/share/man/man1"
)]
pub struct ManArgs {
    /// The program: lora, or an experiment such as glue
    #[arg(default_value = "lora", conflicts_with = "out")]
    program: String,
    /// Write the pages of all programs and of the commands of lora to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The script of completions; `lora` is the command line of that program.
///
/// # Errors
/// A program that there is not; text that is not UTF-8.
pub fn completions(args: &CompletionsArgs, lora: Command) -> Result<String> {
    let mut command = program(lora, &args.program)?;
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, &args.program, &mut script);
    String::from_utf8(script).context("the script of completions")
}

/// The page of the manual, or a line about the files written.
///
/// # Errors
/// A program that there is not; a folder that cannot be written.
pub fn man(args: &ManArgs, lora: Command) -> Result<String> {
    let Some(dir) = &args.out else {
        let mut page = Vec::new();
        Man::new(program(lora, &args.program)?).render(&mut page)?;
        return String::from_utf8(page).context("the page of the manual");
    };
    let wrong = || format!("writing to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(wrong)?;
    clap_mangen::generate_to(lora, dir).with_context(wrong)?;
    for experiment in EXPERIMENTS.iter() {
        clap_mangen::generate_to(app::command(experiment), dir).with_context(wrong)?;
    }
    let pages = std::fs::read_dir(dir).with_context(wrong)?.count();
    ensure!(pages > 0, "{}: nothing was written", dir.display());
    Ok(format!("{}: {}\n", dir.display(), support::counted(pages, "page")))
}

fn program(lora: Command, name: &str) -> Result<Command> {
    if name == "lora" {
        return Ok(lora);
    }
    let experiment = registry::find(name).context("the programs are lora and the experiments")?;
    Ok(app::command(experiment))
}
