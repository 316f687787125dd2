//! Learning rates chosen on held-out rows, and the profile.

mod world;

use results::record::RunRecord;
use world::{World, text};

const RATES: &str = "rates={factors: [0.5, 2], held_out: 3, seeds: [5]}";

fn records(world: &World) -> Vec<RunRecord> {
    let read = |path: std::path::PathBuf| RunRecord::from_json(&std::fs::read(&path).unwrap(), &path).unwrap();
    world.records("runs").into_iter().map(read).collect()
}

#[test]
fn the_best_rate_on_held_out_rows_trains_the_runs_that_count() {
    let world = World::new();
    let args = [
        "--methods",
        "full,head",
        "--seeds",
        "1..2",
        "--set",
        RATES,
        "--set",
        "train.select=last",
    ];
    let first = world.glue(&args);
    assert!(first.status.success(), "{}", text(&first));
    let all = records(&world);
    let (tries, runs): (Vec<_>, Vec<_>) = all.iter().partition(|run| run.tries_a_rate());
    assert_eq!((tries.len(), runs.len()), (4, 4));
    for run in &runs {
        let choice = run.rates.as_ref().unwrap();
        assert_eq!(run.config["train"]["lr"].as_f64(), Some(choice.rate));
        assert_eq!(
            (choice.metric.as_str(), choice.held_out, choice.tried.len()),
            ("held_out/accuracy", 3, 2)
        );
        for tried in &choice.tried {
            let of = tries.iter().find(|other| other.id == tried.runs[0]).unwrap();
            assert_eq!((of.seed, of.config["train"]["lr"].as_f64()), (5, Some(tried.rate)));
            assert_eq!(tried.scores, [of.evals.last().unwrap().metrics["held_out/accuracy"]]);
            assert!(tried.mean() <= choice.tried.iter().find(|t| t.rate == choice.rate).unwrap().mean());
        }
        assert!(
            run.selection
                .starts_with("last epoch; the learning rate is the best of 2"),
            "{}",
            run.selection
        );
        assert!(run.evals[0].metrics.contains_key("dev/accuracy"));
    }
    let shown = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(
        shown.contains("- full") && shown.contains("Learning rates ("),
        "{shown}"
    );
    assert!(!shown.contains("held_out"), "{shown}");

    let again = world.glue(&args);
    assert!(
        text(&again).contains("4 in the store, 0 to compute"),
        "{}",
        text(&again)
    );
    assert_eq!(first.stdout, again.stdout);
    assert_eq!(records(&world), all);

    let plan = world.glue(&[&args[..], &["--dry-run"]].concat());
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    let (tries, rest) = plan
        .split_once("Then, with the best rate of each task and method")
        .unwrap_or_else(|| panic!("{plan}"));
    let heading = |part: &str| part.lines().find(|line| line.starts_with("run ")).map(str::to_owned);
    let named = |part: &str| heading(part).is_some_and(|line| line.split_whitespace().any(|word| word == "lr"));
    assert!(named(tries) && !named(rest), "{plan}");
}

#[test]
fn rates_that_cannot_be_used_are_refused() {
    let world = World::new();
    for (set, said) in [
        ("rates={factors: [1], held_out: 3, seeds: [5]}", "rates.factors"),
        ("rates={factors: [1, 2], held_out: 1, seeds: [5]}", "rates.held_out"),
        ("rates={factors: [1, 2], held_out: 3, seeds: []}", "rates.seeds"),
        ("limit.held_out=3", "set `rates.held_out`"),
    ] {
        let output = world.glue(&["--methods", "head", "--set", set]);
        assert!(
            !output.status.success() && text(&output).contains(said),
            "{set}: {}",
            text(&output)
        );
    }
    assert!(world.records("runs").is_empty());
}

#[test]
fn a_profile_is_a_table_and_a_trace() {
    let world = World::new();
    let trace = world.path("trace.json");
    let output = world.glue(&["--methods", "lora", "--profile", trace.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in [
        "forward",
        "backward",
        "optimiser",
        "evaluation",
        "matrix products",
        "GFLOP/s",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |category: &str| events.iter().filter(|event| event["cat"] == category).count();
    assert!(of("phase") >= 4 && of("matrix products") > 0 && of("attention") > 0);
    let folder = world.path("model");
    let refused = world.glue(&["--methods", "head", "--profile", folder.to_str().unwrap()]);
    assert!(
        !refused.status.success() && text(&refused).contains("a folder"),
        "{}",
        text(&refused)
    );
}
