//! `--launcher slurm`: the batch script of a sweep, and its submission.
//!
//! One task of an array is one worker, which takes run after run. Model and data are read once for many runs; the runs of a job that
//! dies are taken by the others; and the runs that follow from others (warm starts, chosen rates) need no second submission.

use crate::config::slurm::SlurmConfig;
use crate::launch::sweep::{Info, Sweep};
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::{Command, Output};
use support::write_atomic;

/// The path of a sweep's batch script.
pub fn script_path(sweep: &Sweep) -> PathBuf {
    sweep.dir().join("job.sbatch")
}

/// The batch script of a sweep: a worker, or the launcher of its ranks, that replaces the shell, so that Slurm's signals reach it.
///
/// # Errors
/// Words that cannot be written in a line of shell; a command that holds a secret.
pub fn script(sweep: &Sweep, info: &Info, config: &SlurmConfig) -> Result<String> {
    let (program, flags) = info.command.split_first().context("no program")?;
    let workers = sweep.dir().join("workers").to_string_lossy().into_owned();
    let mut text = String::from("#!/bin/bash\n");
    let mut option = |line: String| text += &format!("#SBATCH {line}\n");
    option(format!("--job-name=lora-{}", info.experiment));
    // In an option %, for Slurm, begins a pattern.
    option(format!("--output={}/%A_%a.out", quoted_option(&workers)?));
    option(format!("--chdir={}", quoted_option(&info.folder.to_string_lossy())?));
    option("--open-mode=append".into());
    option("--requeue".into());
    option(format!("--signal=B:USR1@{}", config.warning));
    option(format!("--nodes={}", config.nodes));
    option(format!("--ntasks={}", config.ranks));
    option(format!("--cpus-per-task={}", config.cpus));
    for (name, value) in config.options() {
        option(format!("--{name}={value}"));
    }
    for line in &config.extra {
        option(line.clone());
    }
    if let Some(at_once) = config.at_once {
        text += &format!("# At most {at_once} tasks of an array run at once (sbatch --array=...%{at_once}).\n");
    }
    text += "\n# SIGTERM (scancel, preemption) and SIGUSR1 (the time limit is near) make the worker write its checkpoint and end;\n";
    text += "# after SIGUSR1 it has Slurm queue it again.\n";
    text += "# Before the worker is there to hear SIGUSR1, the shell does.\n";
    text += "trap 'scontrol requeue \"$SLURM_JOB_ID\"; exit 1' USR1\n";
    for line in &config.setup {
        text += &format!("{line}\n");
    }
    let words: Vec<String> = flags.iter().map(|word| quoted(word)).collect::<Result<_>>()?;
    text += &format!(
        "exec {}{} {} \\\n",
        together(config)?,
        quoted(program)?,
        words.join(" ")
    );
    text += &format!(
        "  --worker {}/\"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}\" \\\n",
        quoted(&workers)?
    );
    text += &format!("  --threads {} --jobs 1\n", config.cpus);
    Ok(text)
}

/// The command that starts the ranks of a worker, with a blank after it; nothing for one process.
fn together(config: &SlurmConfig) -> Result<String> {
    let SlurmConfig { ranks, cpus, .. } = config;
    Ok(match &config.mpi {
        _ if *ranks == 1 => String::new(),
        None => format!("mpirun -n {ranks} "),
        // srun does not take the processors of a task from sbatch.
        Some(mpi) => format!(
            "srun --mpi={} --ntasks={ranks} --cpus-per-task={cpus} --kill-on-bad-exit=1 ",
            quoted(mpi)?
        ),
    })
}

/// A word of a shell.
fn quoted(word: &str) -> Result<String> {
    let quoted = shlex::try_quote(word).context("a word of the command line cannot be quoted")?;
    Ok(quoted.into_owned())
}

/// A path in an option of sbatch, whose lines know no more than these.
fn quoted_option(path: &str) -> Result<&str> {
    ensure!(
        !path.contains(|letter: char| letter.is_whitespace() || "%\"'\\".contains(letter)),
        "{path}: Slurm cannot take a folder whose name has blanks, quotes, % or \\"
    );
    Ok(path)
}

/// The ranges of the arrays of this number of workers: `0-999`, `0-4`.
fn arrays(workers: usize, limit: usize) -> Vec<String> {
    let mut arrays = Vec::new();
    let mut left = workers;
    while left > 0 {
        let size = left.min(limit);
        arrays.push(format!("0-{}", size - 1));
        left -= size;
    }
    arrays
}

/// Submits the sweep's batch script, and returns the ids of its arrays.
///
/// # Errors
/// `sbatch` is missing or refuses; arrays that were accepted before are cancelled.
pub fn submit(sweep: &Sweep, workers: usize, config: &SlurmConfig) -> Result<Vec<String>> {
    let script = script_path(sweep);
    let mut jobs = Vec::new();
    for range in arrays(workers, config.array_limit) {
        let range = config.at_once.map_or(range.clone(), |most| format!("{range}%{most}"));
        let mut command = Command::new("sbatch");
        command.args(["--parsable", &format!("--array={range}")]).arg(&script);
        match said(&mut command) {
            // `JOB` or `JOB;CLUSTER`.
            Ok(text) => jobs.push(text.split(';').next().unwrap_or_default().trim().to_owned()),
            Err(error) => {
                cancel(&jobs)?;
                return Err(error.context(format!("submitting {}", script.display())));
            }
        }
    }
    Ok(jobs)
}

/// Writes the batch script, submits it, and says what to do next.
///
/// # Errors
/// As [`script`] and [`submit`]; the folder of a sweep that was not submitted is removed.
pub fn launch(sweep: &Sweep, workers: usize, config: &SlurmConfig, missing: usize) -> Result<String> {
    let submitted = || {
        let mut info = sweep.info()?;
        write_atomic(script_path(sweep), script(sweep, &info, config)?.as_bytes())?;
        info.jobs = submit(sweep, workers, config)?;
        sweep.keep(&info)?;
        Ok::<_, anyhow::Error>(info.jobs)
    };
    let jobs = submitted().inspect_err(|_| drop(std::fs::remove_dir_all(sweep.dir())))?;
    let (script, out) = (script_path(sweep), sweep.out());
    Ok(format!(
        "{missing} runs for {workers} workers: job {}\nscript: {}\nstate:  lora sweep status --out {out}\ntable:  this command again, when all is done\n",
        jobs.join(", "),
        script.display(),
        out = out.display()
    ))
}

/// Cancels jobs.
///
/// # Errors
/// `scancel` is missing or refuses.
pub fn cancel(jobs: &[String]) -> Result<()> {
    if !jobs.is_empty() {
        said(Command::new("scancel").args(jobs))?;
    }
    Ok(())
}

/// The tasks of these jobs that are queued or run, as (task, state, node or reason); none where Slurm has forgotten them.
///
/// # Errors
/// `squeue` is missing.
pub fn queue(jobs: &[String]) -> Result<Vec<(String, String, String)>> {
    let mut command = Command::new("squeue");
    command.args(["--noheader", "--array", "--format=%i|%T|%R", "--jobs", &jobs.join(",")]);
    let text = match said(&mut command) {
        // What squeue says of jobs that ended a while ago.
        Err(error) if format!("{error:#}").contains("Invalid job id") => String::new(),
        other => other?,
    };
    let line = |line: &str| {
        let mut parts = line.splitn(3, '|').map(|part| part.trim().to_owned());
        Some((parts.next()?, parts.next()?, parts.next()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The output of a command of Slurm.
fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = match command.output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!("`{name}` is not on this machine's PATH: give the command on a machine from which jobs are submitted")
        }
        other => other.with_context(|| format!("running {name}"))?,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    ensure!(status.success(), "{name}: {}", text(&stderr));
    Ok(text(&stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sweep in a temporary folder.
    fn sweep() -> (tempfile::TempDir, Sweep, Info) {
        let dir = tempfile::tempdir().unwrap();
        let by = crate::runner::host::Host::default();
        let sweep = Sweep::create(dir.path(), "glue", crate::launch::args::Launcher::Slurm, 2, by).unwrap();
        let info = sweep.info().unwrap();
        (dir, sweep, info)
    }

    #[test]
    fn more_workers_than_an_array_holds_make_several() {
        assert_eq!(arrays(3, 1000), ["0-2"]);
        assert_eq!(arrays(5, 2), ["0-1", "0-1", "0-0"]);
    }

    #[test]
    fn a_script_quotes_what_was_typed() {
        let (_dir, sweep, mut info) = sweep();
        info.command = ["/bin/glue", "--set", "label=it's $HOME"].map(String::from).into();
        let config = SlurmConfig {
            partition: Some("gpu".into()),
            extra: vec!["--exclude=n7".into()],
            setup: vec!["module load cuda".into()],
            cpus: 4,
            ..SlurmConfig::default()
        };
        let text = script(&sweep, &info, &config).unwrap();
        for line in [
            "#SBATCH --partition=gpu",
            "#SBATCH --exclude=n7",
            "#SBATCH --cpus-per-task=4",
            "#SBATCH --signal=B:USR1@120",
            "module load cuda",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in {text}");
        }
        let words = shlex::split(&text.split("exec ").nth(1).unwrap().replace("\\\n", " ")).unwrap();
        assert_eq!(&words[..3], &info.command[..]);
        assert_eq!(&words[words.len() - 4..], ["--threads", "4", "--jobs", "1"]);
        info.folder = "/a b".into();
        assert!(
            script(&sweep, &info, &config)
                .unwrap_err()
                .to_string()
                .contains("has blanks")
        );
    }

    #[test]
    fn ranks_are_started_by_mpirun_or_by_srun() {
        let (_dir, sweep, mut info) = sweep();
        info.command = vec!["/bin/glue".into()];
        let of = |yaml: &str| {
            let text = script(&sweep, &info, &serde_yaml::from_str(yaml).unwrap()).unwrap();
            let line = text.split("exec ").nth(1).unwrap().replace("\\\n", " ");
            let words = shlex::split(&line).unwrap();
            let program = words.iter().position(|word| word == "/bin/glue").unwrap();
            (text, words[..program].join(" "))
        };
        let (text, started) = of("{ranks: 3}");
        assert!(text.contains("\n#SBATCH --nodes=1\n#SBATCH --ntasks=3\n"), "{text}");
        assert_eq!(started, "mpirun -n 3");
        let (text, started) = of("{ranks: 4, nodes: 2, cpus: 8, mpi: pmix}");
        assert!(text.contains("\n#SBATCH --nodes=2\n#SBATCH --ntasks=4\n"), "{text}");
        assert_eq!(
            started,
            "srun --mpi=pmix --ntasks=4 --cpus-per-task=8 --kill-on-bad-exit=1"
        );
        assert_eq!(of("{}").1, "");
    }
}
