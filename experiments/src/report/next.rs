//! The end of an experiment's output: where everything was written, and the next commands.

use crate::experiment::Experiment;
use crate::plan::planned::Planned;
use crate::report::resume_command;
use crate::task::run_paths::RunPaths;
use results::Store;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The paths and commands, one a line; `base` is the model's folder, where the name of the model in records does not find it.
pub fn commands(experiment: &Experiment, store: &Store, runs: &[Planned], base: Option<&Path>) -> String {
    let out = store.dir();
    let at = |folder: &str| out.join(folder).display().to_string();
    let records = |folder: &str| {
        runs.iter()
            .filter(|run| out.join(folder).join(format!("{}.json", run.id)).is_file())
            .count()
    };
    let of = |folder: &str| match records(folder) {
        0 => None,
        count => Some(format!("{} ({})", at(folder), support::counted(count, "record"))),
    };
    let written: Vec<String> = of("runs")
        .into_iter()
        .chain(of("failed"))
        .chain([at("tables")])
        .collect();
    let mut text = format!("Written: {}\n", written.join(", "));
    if records("runs") == 0 {
        return text;
    }
    let shown = quoted(out);
    let own = out == Path::new(results::OWN);
    let figures = if own {
        String::new()
    } else {
        format!(" --results {shown}")
    };
    text += &next("To draw all tables and figures", &program("figures", &figures));
    let methods: BTreeSet<&str> = runs.iter().map(|run| run.config.method_name.as_str()).collect();
    let usual = ["full", "lora"].into_iter().find(|method| methods.contains(method));
    let baseline = usual.or_else(|| methods.first().copied());
    // Fewer seeds give no verdict.
    let seeds: BTreeSet<u64> = runs.iter().map(|run| run.config.seed).collect();
    if let Some(baseline) = baseline.filter(|_| methods.len() > 1 && seeds.len() >= results::verdict::FEWEST) {
        let rest = format!(" compare --baseline {baseline} --results {shown}");
        text += &next("To compare the methods by a paired test", &program("results", &rest));
    }
    let rest = format!(" export --results {shown} --out runs.csv");
    text += &next("To write one table for pandas", &program("results", &rest));
    text + &asking(experiment, out, runs, base)
}

/// How to use a run's adapter, or how to keep one.
fn asking(experiment: &Experiment, out: &Path, runs: &[Planned], base: Option<&Path>) -> String {
    let mut kept: Vec<&Planned> = runs.iter().collect();
    kept.retain(|run| RunPaths::new(out, &run.id).weights().is_file());
    // LoRA's, or else the last.
    let kept = kept.iter().find(|run| run.config.method_name == "lora").or(kept.last());
    let writes = |run: &Planned| run.config.decode.is_some();
    match kept {
        Some(run) => {
            let paired = run.rows.paired;
            let (verb, text) = match (writes(run), paired) {
                (true, _) => ("generate", "\"A text.\""),
                (false, false) => ("predict", "\"A text.\""),
                // A tab divides a pair.
                (false, true) => ("predict", "$'A text.\\tAnother.'"),
            };
            let base = base
                .map(|folder| format!(" --base {}", quoted(folder)))
                .unwrap_or_default();
            let rest = format!(" {verb} --adapter {}/{}{base} {text}", quoted(out), run.id);
            next(&format!("To ask {}", run.title()), &program("lora", &rest))
        }
        None => format!(
            "No weights were kept for `lora {}`: `{} --keep` keeps them, with another\n`--out` for runs that are done, which are not computed again.\n",
            if runs.iter().any(writes) { "generate" } else { "predict" },
            experiment.name
        ),
    }
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    shlex::try_quote(&path.to_string_lossy()).map_or_else(|_| path.display().to_string(), Into::into)
}

/// The program of that name beside this one, where this one is in a target folder of cargo.
fn beside(name: &str) -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let built = exe.parent()?;
    (built.ends_with("debug") || built.ends_with("release")).then(|| built.join(name))
}

fn next(what: &str, command: &str) -> String {
    format!("{what}:\n  {command}\n")
}

/// A program and its arguments as this one was called: through cargo, from the folder in which cargo put it, or by its name.
fn program(name: &str, rest: &str) -> String {
    let built = beside(name);
    if resume_command::by_cargo() {
        let cargo = resume_command::cargo_run(&built.unwrap_or_else(|| name.into())).join(" ");
        let words = format!("{cargo}{rest}");
        return words.strip_suffix(" --").map(String::from).unwrap_or(words);
    }
    let path = built.map_or_else(|| name.to_owned(), |path| path.display().to_string());
    let quoted = shlex::try_quote(&path).map_or_else(|_| path.clone(), String::from);
    format!("{quoted}{rest}")
}
