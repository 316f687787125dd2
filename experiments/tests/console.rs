//! The output of `glue`: in pipes, on a terminal, as JSON, and after Ctrl-C.

mod world;

use experiments::runner::claim::Claims;
use serde_json::Value;
use std::process::Output;
use world::{World, text};

const ESCAPE: char = '\x1b';

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// `head` comes to its end, `lora` fails at such a learning rate.
const MIXED: [&str; 10] = [
    "--methods",
    "head,lora",
    "--set",
    "methods.lora.train.lr=1e30",
    "--set",
    "train.clip=null",
    "--set",
    "train.batch_size=4",
    "--set",
    "train.epochs=3",
];

fn mixed<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&MIXED[..], more].concat()
}

/// The value of `event` in each line; every line is an object.
fn events(output: &Output) -> Vec<(String, Value)> {
    let event = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        (value["event"].as_str().unwrap().to_string(), value)
    };
    stdout(output).lines().map(event).collect()
}

#[test]
fn in_a_pipe_lines_without_escapes() {
    let world = World::new();
    let first = world.glue(&mixed(&[]));
    assert_eq!(first.status.code(), Some(1), "a run failed");
    let shown = stderr(&first);
    assert_eq!(shown.matches("head · seed 1: epoch").count(), 3, "{shown}");
    assert!(shown.contains("rte · head · seed 1: best dev/accuracy "), "{shown}");
    assert!(shown.contains("1/2 runs, about"), "{shown}");
    assert_eq!(shown.matches("rte · lora · seed 1 failed: ").count(), 1, "{shown}");
    assert!(
        shown.contains("1 of 2 runs failed; the reasons are in out/failed"),
        "{shown}"
    );
    assert!(!text(&first).contains(ESCAPE), "{shown}");
    assert!(stdout(&first).starts_with("GLUE dev sets"), "{}", stdout(&first));
    assert!(
        !std::fs::read_to_string(world.path("out/logs/glue.log"))
            .unwrap()
            .contains(ESCAPE)
    );

    // The failed run is tried again, and fails again.
    let always = world.glue(&mixed(&["--color", "always"]));
    assert!(
        stderr(&always).contains("\x1b[31mrte · lora · seed 1 failed"),
        "{}",
        stderr(&always)
    );
    assert!(!stdout(&always).contains(ESCAPE));
    let forced = world
        .command(&mixed(&["--color", "never"]))
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(!text(&forced).contains(ESCAPE), "{}", text(&forced));
    let no_color = world.command(&mixed(&[])).env("NO_COLOR", "1").output().unwrap();
    assert!(!text(&no_color).contains(ESCAPE), "{}", text(&no_color));
}

#[test]
fn quiet_shows_errors_and_the_table() {
    let world = World::new();
    let output = world.glue(&["--methods", "head", "--quiet"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(stderr(&output), "");
    assert!(stdout(&output).starts_with("GLUE dev sets"), "{}", stdout(&output));
    let log = std::fs::read_to_string(world.path("out/logs/glue.log")).unwrap();
    assert!(log.contains("head · seed 1: best"), "the log has it all: {log}");
    let output = world.glue(&mixed(&["-q"]));
    let lines: Vec<String> = stderr(&output).lines().map(String::from).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("rte · lora · seed 1 failed: "), "{lines:?}");
    assert!(lines[1].starts_with("1 of 2 runs failed"), "{lines:?}");
    let output = world.glue(&["--methods", "lorra", "--quiet"]);
    assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
}

#[test]
fn json_lines_and_nothing_else() {
    let world = World::new();
    let output = world.glue(&["--methods", "head", "--json", "--dry-run"]);
    assert_eq!(events(&output).len(), 1);
    assert_eq!(events(&output)[0].1["runs"][0]["state"], "missing");

    let output = world.glue(&mixed(&["--json"]));
    let told = events(&output);
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["plan", "epoch", "epoch", "epoch", "run", "run", "table"]);
    assert!(stderr(&output).contains("epoch 1") && !text(&output).contains(ESCAPE));
    let record = std::fs::read_to_string(&world.records("runs")[0]).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    for (i, eval) in record["evals"].as_array().unwrap().iter().enumerate() {
        let epoch = &told[i + 1].1;
        for key in ["epoch", "step", "train_loss", "metrics"] {
            assert_eq!(epoch[key], eval[key], "{key}");
        }
    }
    let (finished, failed, table) = (&told[4].1, &told[5].1, &told[6].1);
    assert_eq!((&finished["id"], &finished["best"]), (&record["id"], &record["best"]));
    assert_eq!(finished["status"], "finished");
    assert_eq!(
        (failed["status"].as_str(), failed["method"].as_str()),
        (Some("failed"), Some("lora"))
    );
    assert!(failed["error"].as_str().unwrap().contains("the loss became"));
    assert_eq!(table["tables"][0]["rows"][0]["cells"][1], "head");
    assert!(table["go_on"].is_null());

    // Without the setting of `lora`, which would be a flag without effect.
    let again = world.glue(&[&["--methods", "head"], &MIXED[4..], &["--json", "--quiet"]].concat());
    let told = events(&again);
    assert_eq!(stderr(&again), "");
    assert_eq!((told.len(), &told[0].1["runs"][0]["state"]), (2, &Value::from("done")));
    assert_eq!(told[1].1["tables"][0]["rows"][0], table["tables"][0]["rows"][0]);
    let refused = world.glue(&["--json", "--methods", "lorra"]);
    assert_eq!((stdout(&refused).as_str(), refused.status.code()), ("", Some(1)));
}

#[test]
fn a_run_that_another_process_computes_is_left_to_it() {
    let world = World::new();
    let args = ["--methods", "head", "--json"];
    let plan = events(&world.glue(&[&args[..], &["--dry-run"]].concat()));
    let id = plan[0].1["runs"][0]["id"].as_str().unwrap();
    let claims = Claims::new(world.path("out/checkpoints"), None);
    let claim = claims.take(id).unwrap();
    let output = world.glue(&args);
    let told = events(&output);
    assert_eq!((told.len(), &told[1].1["status"]), (3, &Value::from("elsewhere")));
    assert!(
        stderr(&output).contains("being computed by another process"),
        "{}",
        stderr(&output)
    );
    assert!(world.records("runs").is_empty() && world.records("tensorboard").is_empty());
    // A process that ends without a word leaves its claim, and nothing that stops the next one.
    drop(claim);
    assert!(world.glue(&args).status.success());
    assert_eq!(world.records("runs").len(), 1);
    assert_eq!(std::fs::read_dir(world.path("out/checkpoints")).unwrap().count(), 0);
}

/// Nobody reads on: neither stdout nor stderr takes a byte more.
#[test]
fn a_reader_that_leaves_stops_no_run() {
    let world = World::new();
    let mut command = world.command(&["--methods", "head", "--json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(world.records("runs").len(), 1);
}

#[test]
fn event_files_lie_beside_the_records() {
    let world = World::new();
    let output = world.glue(&["--methods", "my/lora,head", "--set", "methods.my/lora.kind=lora"]);
    assert!(output.status.success(), "{}", text(&output));
    let folders = world.records("tensorboard");
    let names: Vec<&str> = folders
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap())
        .collect();
    assert!(names.len() == 2 && names[0].starts_with("rte-head-s1-") && names[1].starts_with("rte-my_lora-s1-"));
    for folder in &folders {
        let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
        assert!(file.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
        assert!(file.metadata().unwrap().len() > 100);
    }
}

#[test]
fn event_files_that_cannot_be_written_are_done_without() {
    let world = World::new();
    world.write("out/tensorboard", "a file where a folder should be");
    let output = world.glue(&["--methods", "lora,head"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(stderr(&output).matches("WARN").count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("the run continues without TensorBoard's files"));
    assert_eq!(world.records("runs").len(), 2);
}

#[cfg(unix)]
mod unix {
    use super::world::on_a_terminal;
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, ChildStderr, Command, Stdio};

    /// Whether there is an escape code that sets a colour.
    fn coloured(text: &str) -> bool {
        text.split("\x1b[").skip(1).any(|code| {
            let end = code.find(|c: char| !c.is_ascii_digit() && c != ';');
            end.is_some_and(|end| code[end..].starts_with('m') && !["", "0"].contains(&&code[..end]))
        })
    }

    #[test]
    fn on_a_terminal_bars_and_a_line_a_run() {
        let world = World::new();
        let seen = on_a_terminal(world.command(&mixed(&[])));
        assert!(seen.contains("all runs") && seen.contains("steps"), "{seen}");
        assert!(seen.contains("rte · head · seed 1: best dev/accuracy "), "{seen}");
        assert!(!seen.contains("head · seed 1: epoch"), "the bar shows that: {seen}");
        assert!(coloured(&seen) && seen.contains("GLUE dev sets"), "{seen}");
        let run = |more: &[&str], variable: (&str, &str)| {
            let _ = std::fs::remove_dir_all(world.path("out"));
            let mut command = world.command(&mixed(more));
            command.env(variable.0, variable.1);
            on_a_terminal(command)
        };
        let no_color = run(&[], ("NO_COLOR", "1"));
        assert!(no_color.contains("all runs") && !coloured(&no_color), "{no_color}");
        let never = run(&["--color", "never"], ("CLICOLOR_FORCE", "1"));
        assert!(never.contains("all runs") && !coloured(&never), "{never}");
        let dumb = run(&[], ("TERM", "dumb"));
        assert!(
            dumb.contains("head · seed 1: epoch 3") && !dumb.contains(ESCAPE),
            "{dumb}"
        );
        for flag in ["--quiet", "--json"] {
            let seen = run(&[flag, "--color", "never"], ("TERM", "xterm"));
            assert!(!seen.contains("all runs") && !seen.contains(ESCAPE), "{seen}");
        }
    }

    /// Starts `glue` and waits for a line on stderr that contains `sign`.
    fn start(mut command: Command, sign: &str) -> (Child, BufReader<ChildStderr>) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        wait_for(&mut lines, sign);
        (child, lines)
    }

    fn wait_for(lines: &mut BufReader<ChildStderr>, sign: &str) {
        let (mut seen, mut line) = (String::new(), String::new());
        while !line.contains(sign) {
            seen.push_str(&line);
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "`{sign}` never came: {seen}");
        }
    }

    fn interrupt(child: &Child) {
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    }

    /// Exit status, stdout, and the rest of stderr.
    fn end(child: Child, mut lines: BufReader<ChildStderr>) -> (Option<i32>, String, String) {
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), stdout(&output), rest)
    }

    #[test]
    fn ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on() {
        let world = World::new();
        world.rte("train", 400);
        let long = ["--set", "train.batch_size=2", "--set", "methods.lora.train.epochs=8"];
        let odd = ["--resume=false", "--set", "label=odd 'n \"$HOME\""];
        let args = [
            &["--methods", "head,lora", "--set", "methods.lora.kind=lora"][..],
            &long,
            &odd,
        ]
        .concat();
        let (child, lines) = start(world.command(&args), "lora · seed 1: epoch 1");
        interrupt(&child);
        let (status, table, rest) = end(child, lines);
        assert_eq!(status, Some(130), "{rest}");
        assert!(rest.contains("Stopping after this step"), "{rest}");
        assert!(
            table.contains("head") && !table.contains("lora"),
            "what is finished: {table}"
        );
        assert_eq!(world.records("runs").len(), 1);
        let checkpoints = world.records("checkpoints");
        assert!(
            checkpoints
                .iter()
                .any(|p| p.extension().is_some_and(|e| e == "safetensors"))
        );
        let (_, command) = rest.split_once("To resume:\n  ").unwrap_or_else(|| panic!("{rest}"));
        let words = shlex::split(command).unwrap();
        assert_eq!(words[words.len() - 4..], [odd[0], odd[1], odd[2], "--resume"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", command.trim()]).current_dir(world.dir.path());
        let output = shell.env("LORA_CACHE", world.path("cache")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            stderr(&output).contains("lora · seed 1: resumes from step"),
            "{}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("1 in the store, 1 to compute"),
            "{}",
            stderr(&output)
        );
        assert_eq!(world.records("runs").len(), 2);
    }

    #[test]
    fn a_second_ctrl_c_ends_at_once() {
        let world = World::new();
        world.rte("train", 5000);
        // One step of 5000 forward passes.
        let args = [
            "--methods",
            "full",
            "--set",
            "train.batch_size=1",
            "--set",
            "train.accumulate=5000",
        ];
        let twice = || {
            let (child, mut lines) = start(world.command(&args), "1 to compute");
            interrupt(&child);
            wait_for(&mut lines, "Stopping after this step");
            interrupt(&child);
            end(child, lines)
        };
        // The first one may come before the step begins, and then nothing is left to end.
        let in_time = |(_, _, rest): &(Option<i32>, String, String)| !rest.starts_with("Stopped.");
        let (status, table, rest) = (0..5).map(|_| twice()).find(in_time).expect("five times too early");
        assert_eq!((status, table.as_str(), rest.as_str()), (Some(130), "", ""));
        assert!(world.records("runs").is_empty() && world.records("failed").is_empty());
        world.rte("train", 40);
        let after = world.glue(&["--methods", "full"]);
        assert!(after.status.success(), "{}", text(&after));
    }
}

/// Lines of a program's help that are examples, with those of its commands.
fn examples(program: &str, command: &[String]) -> Vec<String> {
    let help = std::process::Command::new(program)
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let lines_of = |head: &str| {
        let lines = help.lines().skip_while(|line| *line != head).skip(1);
        lines
            .take_while(|line| line.starts_with("  "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut all = lines_of("Examples:");
    for line in lines_of("Commands:").iter().filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().unwrap();
        if name != "help" {
            all.extend(examples(program, &[command, &[name.to_owned()]].concat()));
        }
    }
    all
}

#[test]
fn examples_of_help_can_be_copied_from_80_columns() {
    let mut all = 0;
    for program in [
        env!("CARGO_BIN_EXE_lora"),
        env!("CARGO_BIN_EXE_glue"),
        env!("CARGO_BIN_EXE_e2e"),
        env!("CARGO_BIN_EXE_text"),
        env!("CARGO_BIN_EXE_ablations"),
        env!("CARGO_BIN_EXE_subspace"),
        env!("CARGO_BIN_EXE_latency"),
    ] {
        let lines = examples(program, &[]);
        let wide: Vec<&String> = lines.iter().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{program}: {wide:#?}");
        all += lines.len();
    }
    assert!(all > 50, "{all}");
}
