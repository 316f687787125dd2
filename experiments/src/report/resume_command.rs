//! The command line that resumes the runs.

use std::ffi::OsString;
use std::path::Path;

/// The words of a command line, quoted for a shell, with secrets replaced by `...`. `--resume` is added if this command did not
/// `resume` from checkpoints. A program that was started `by_cargo` is started by it again.
pub fn command(words: impl Iterator<Item = OsString>, resume: bool, by_cargo: bool) -> String {
    let mut words = words.peekable();
    let run = words
        .next_if(|_| by_cargo)
        .map(|program| cargo_run(Path::new(&program)));
    let mut hidden = false;
    let shown = words.map(|word| {
        let word = word.to_string_lossy().into_owned();
        if std::mem::take(&mut hidden) || word.starts_with("hf_") {
            return "...".into();
        }
        match word.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}=..."),
            Some((name, value)) if value.starts_with("hf_") => format!("{name}=..."),
            _ => {
                hidden = word.starts_with("--") && is_secret(&word);
                word
            }
        }
    });
    let mut words: Vec<String> = run.into_iter().flatten().chain(shown).collect();
    if !resume {
        words.push("--resume".into()); // the last of two wins
    }
    // Joining fails only for NUL, which arguments of a process cannot hold.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// Whether `cargo run` started this program.
pub fn by_cargo() -> bool {
    std::env::var_os("CARGO_PKG_NAME").is_some()
}

/// How cargo starts the program at this path of its target folder; arguments may follow.
///
/// `results` is named without its package: with `-p results`, cargo would build the dependencies that it shares with the other
/// programs again, since alone it asks for fewer of their features.
pub fn cargo_run(program: &Path) -> Vec<String> {
    let release = program.parent().is_some_and(|folder| folder.ends_with("release"));
    let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let package: &[&str] = if name == "results" { &[] } else { &["-p", "experiments"] };
    let words = ["cargo", "run"].into_iter().chain(release.then_some("--release"));
    let words = words.chain(package.iter().copied()).chain(["--bin", &name, "--"]);
    words.map(String::from).collect()
}

/// Whether the name of a flag or setting ends with the word for a secret.
fn is_secret(name: &str) -> bool {
    let last = name.rsplit(['.', '-', '_']).next().unwrap_or_default();
    ["token", "secret", "password"].contains(&last.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str], resume: bool) -> Vec<String> {
        shlex::split(&command(words.iter().map(OsString::from), resume, false)).unwrap()
    }

    #[test]
    fn a_shell_reads_back_what_was_typed() {
        let words = [
            "target/debug/glue",
            "--out",
            "my results",
            "--set",
            "label='it''s' $HOME",
            "--model",
            "ä",
        ];
        assert_eq!(said(&words, true), words);
    }

    #[test]
    fn what_cargo_started_it_starts_again() {
        let said = |program: &str| command([program, "--jobs", "2"].iter().map(OsString::from), true, true);
        assert_eq!(
            said("target/debug/glue"),
            "cargo run -p experiments --bin glue -- --jobs 2"
        );
        assert_eq!(
            said("/w/target/release/text"),
            "cargo run --release -p experiments --bin text -- --jobs 2"
        );
        assert_eq!(
            cargo_run(Path::new("target/debug/results")).join(" "),
            "cargo run --bin results --"
        );
    }

    #[test]
    fn going_on_takes_the_checkpoint_up() {
        assert_eq!(
            said(&["glue", "--resume=false"], false),
            ["glue", "--resume=false", "--resume"]
        );
    }

    #[test]
    fn secrets_stay_out() {
        let words = [
            "--hub-token",
            "abc",
            "--token=abc",
            "--set",
            "hub.token=abc",
            "hf_abc",
            "--model=hf_abc",
            "--quiet",
        ];
        let shown = [
            "--hub-token",
            "...",
            "--token=...",
            "--set",
            "hub.token=...",
            "...",
            "--model=...",
            "--quiet",
        ];
        assert_eq!(said(&words, true), shown);
        assert_eq!(said(&["--set", "tokens=3"], true), ["--set", "tokens=3"]);
    }
}
