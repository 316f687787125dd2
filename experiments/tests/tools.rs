//! Commands of `lora` that need no run: the doctor, counts of parameters, completions and pages of the manual.

mod world;

use world::{World, command, refused, run, text};

#[test]
fn the_doctor_says_what_is_missing_and_what_to_do() {
    let world = World::new();
    let output = command(env!("CARGO_BIN_EXE_lora"), &["doctor"], world.dir.path())
        .env("LORA_CACHE", world.path("cache"))
        .env("HF_HOME", world.path("hub"))
        .env("LORA_METEOR_DATA", world.path("nothing"))
        .env_remove("LORA_PUNKT_DATA")
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let line = |key: &str| {
        said.lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_else(|| panic!("{key}: {said}"))
    };
    assert!(line("token cache").contains("cache"));
    assert!(line("hub cache").contains("hub"));
    assert!(line("METEOR").contains("nothing, which is not there") && line("METEOR").contains("fetch-meteor-data"));
    assert!(line("Punkt").contains("not here") && line("Punkt").contains("fetch-punkt-data"));
}

#[test]
fn parameters_of_the_papers_models() {
    let dir = tempfile::tempdir().unwrap();
    let params = |args: &[&str]| run(env!("CARGO_BIN_EXE_lora"), &[&["params"], args].concat(), dir.path());
    for (model, count) in [("roberta-base", "294912"), ("roberta-large", "786432")] {
        let output = params(&["--model", model, "--method", "lora", "--set", "r=8"]);
        assert!(
            output.status.success() && text(&output).contains(count),
            "{}",
            text(&output)
        );
    }
    // RoBERTa's published sizes without the head of pretraining; BitFit as in Table 2 (0.1M).
    assert!(text(&params(&["--model", "roberta-base"])).contains("124055040"));
    assert!(text(&params(&["--model", "roberta-base", "--method", "bitfit"])).contains("102144"));
    refused(
        &params(&["--model", "gpt5"]),
        &["the shape of `gpt5` is not known here; known: roberta-base"],
    );
    refused(
        &params(&["--model", "roberta-base", "--method", "lora", "--set", "rank=8"]),
        &["unknown field `rank`"],
    );
    // Every row of Tables 2, 3 and 4 agrees with its closed form, as built where it is built, or says why not.
    let output = params(&["--paper"]);
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    for expected in [
        "102144", "294912", "4718592", "368784", "25194496", "40109568", "37748736",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
}

#[test]
fn completions_and_pages_name_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let lora = |words: &str| {
        run(
            env!("CARGO_BIN_EXE_lora"),
            &words.split(' ').collect::<Vec<_>>(),
            dir.path(),
        )
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&lora(&format!("completions {shell}")));
        for word in ["predict", "adapter", "--adapter", "completions"] {
            assert!(script.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
        assert!(
            text(&lora(&format!("completions {shell} glue"))).contains("sweep"),
            "{shell}"
        );
    }
    assert!(text(&lora("man")).contains(".TH lora 1"));
    assert!(text(&lora("man glue")).contains("sweep"));
    let all = lora("man --out pages");
    assert!(all.status.success(), "{}", text(&all));
    for page in [
        "lora.1",
        "lora-predict.1",
        "glue.1",
        "e2e.1",
        "figures.1",
        "results-compare.1",
        "pretrain.1",
    ] {
        assert!(dir.path().join("pages").join(page).is_file(), "{page}");
    }
    assert!(text(&lora("man subspace")).contains(".TH subspace 1"));
    assert!(text(&lora("completions bash latency")).contains("efficiency"));
    refused(&lora("man gluee"), &["unknown program `gluee`; did you mean `glue`?"]);
}
