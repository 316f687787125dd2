//! `lora completions` and `lora man`: completions of a shell, and pages of the manual, for all programs.

use crate::analyses::latency::LatencyArgs;
use crate::analyses::subspace::SubspaceArgs;
use crate::app;
use crate::experiment::registry::EXPERIMENTS;
use crate::tools::figures::FiguresArgs;
use crate::tools::pretrain::PretrainArgs;
use anyhow::{Context, Result, ensure};
use clap::{Args, Command, CommandFactory};
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
    /// The program, such as lora, glue or figures
    #[arg(default_value = "lora")]
    program: String,
}

/// `lora man`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora man | man -l -\n  lora man glue > glue.1\n  lora man --out ~/.local/share/man/man1"
)]
pub struct ManArgs {
    /// The program, such as lora, glue or figures
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
    for program in programs(lora) {
        clap_mangen::generate_to(program, dir).with_context(wrong)?;
    }
    let pages = std::fs::read_dir(dir).with_context(wrong)?.count();
    ensure!(pages > 0, "{}: nothing was written", dir.display());
    Ok(format!("{}: {}\n", dir.display(), support::counted(pages, "page")))
}

/// The command lines of all programs.
fn programs(lora: Command) -> Vec<Command> {
    let others = [
        FiguresArgs::command(),
        results::program::command(),
        SubspaceArgs::command(),
        LatencyArgs::command(),
        PretrainArgs::command(),
    ];
    let experiments = EXPERIMENTS.iter().map(app::command);
    std::iter::once(lora).chain(experiments).chain(others).collect()
}

fn program(lora: Command, name: &str) -> Result<Command> {
    let all = programs(lora);
    let names: Vec<String> = all.iter().map(|program| program.get_name().to_owned()).collect();
    let found = all.into_iter().find(|program| program.get_name() == name);
    found.with_context(|| support::unknown("program", name, names.iter().map(String::as_str)))
}
