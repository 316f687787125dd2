//! Summaries and Table 2 over a small made-up store, with the values worked out by hand.

mod common;

use common::{failed, run, tables};
use results::frame::{frame, summary};
use results::record::Rows;
use results::table::TERMINAL_WIDTH;
use results::{RunRecord, Selection, TABLES, Table};

fn selection(runs: Vec<RunRecord>) -> Selection {
    Selection {
        runs,
        ..Selection::default()
    }
}

/// lora: mrpc over 3 seeds, cola over 2, rte over 1. full: mrpc over 1, nothing else; one run failed.
fn small() -> Selection {
    let mut part = selection(vec![
        run(3, "lora", "mrpc", 3, 0.90),
        run(1, "lora", "mrpc", 1, 0.80),
        run(2, "lora", "mrpc", 2, 0.84),
        run(4, "lora", "cola", 1, 0.50),
        run(5, "lora", "cola", 2, 0.60),
        run(6, "lora", "rte", 1, 0.625),
        run(7, "full", "mrpc", 1, 0.875),
    ]);
    part.failed = vec![failed(8, "full", "cola", 1, "loss is NaN at step 3")];
    part
}

/// A run of each of the paper's tasks under one of its rows.
fn paper_like() -> Selection {
    let tasks = ["mnli", "sst-2", "mrpc", "cola", "qnli", "qqp", "rte", "sts-b"];
    let runs = tasks
        .iter()
        .enumerate()
        .flat_map(|(i, task)| (1..=2).map(move |seed| (10 * i as u64 + seed, *task, seed)));
    let runs = runs.map(|(n, task, seed)| {
        let mut run = run(n, "lora", task, seed, 0.85 + 0.01 * seed as f64);
        run.paper_row = Some("rob_base_lora".into());
        run.model = "roberta-base".into();
        run.label = "RoBERTa-base on GLUE".into();
        run
    });
    selection(runs.collect())
}

fn only(tables: Vec<Table>) -> Table {
    assert_eq!(tables.len(), 1);
    tables.into_iter().next().unwrap()
}

#[test]
fn summaries_for_odd_even_and_single_seeds() {
    let part = small();
    let all = summary(frame(&part.runs).unwrap()).unwrap();
    let find = |method: &str, task: &str| {
        all.iter()
            .find(|s| s.method == method && s.task == task && s.metric != "dev/aaa")
            .unwrap()
    };
    let odd = find("lora", "mrpc");
    assert_eq!((odd.median, odd.seeds.as_slice()), (Some(0.84), [1, 2, 3].as_slice()));
    // numpy.std([.8, .84, .9], ddof=1) = 0.05033222956847166
    assert!((odd.std.unwrap() - 0.050_332_229_568_471_66).abs() < 1e-15);
    assert!((odd.mean.unwrap() - 0.846_666_666_666_666_7).abs() < 1e-15);
    let even = find("lora", "cola");
    assert_eq!((even.median, even.seeds.len()), (Some(0.55), 2));
    let single = find("full", "mrpc");
    assert_eq!(
        (single.median, single.std, single.params),
        (Some(0.875), None, (1000, 1000))
    );
    assert!(
        all.iter()
            .all(|s| s.variant.is_empty() && s.selection == "best epoch on dev")
    );
}

#[test]
fn a_method_has_one_name_in_every_table() {
    let mut runs = Vec::new();
    for (n, (name, kind)) in [("bare", "head"), ("prefix", "pre_layer"), ("ft_top2", "ft_top")]
        .into_iter()
        .enumerate()
    {
        let mut text = e2e(n as u64, name, 1, 0.5, None);
        text.config["method"] = serde_json::json!({"kind": kind});
        runs.push(text);
        let mut glue = run(10 + n as u64, kind, "mrpc", 1, 0.5);
        glue.config["method"] = serde_json::json!({"kind": kind});
        runs.push(glue);
    }
    let stored = selection(runs);
    let names = |table: &Table| {
        let mut names: Vec<String> = table
            .printed()
            .iter()
            .filter(|row| row[0] == "tiny")
            .map(|row| row[1].clone())
            .collect();
        names.sort();
        names.dedup();
        names
    };
    for kind in ["table2", "table3", "table15"] {
        let kind = TABLES.iter().find(|known| known.name() == kind).unwrap();
        let table = only(kind.tables(&stored).unwrap());
        assert_eq!(names(&table), ["ft_top", "head", "pre_layer"], "{}", kind.name());
    }
}

#[test]
fn small_store_in_every_rendering() {
    let table = only(tables("table2", &small()).unwrap());
    assert_eq!(table.name, "table2-made-up");
    assert_eq!(
        table.csv().unwrap(),
        "\
numbers,Model,Method,Trained,+ Head,MRPC,MRPC ±,MRPC n,CoLA,CoLA ±,CoLA n,RTE,RTE ±,RTE n,Avg,Avg ±,Avg n
ours,tiny,lora,73728,770,84.0000,5.0332,3,55.0000,7.0711,2,62.5000,,1,67.1667,,
ours,tiny,full,1000,770,87.5000,,1,,,,,,,,,
"
    );
    let markdown = table.markdown();
    assert!(markdown.starts_with("\
**GLUE dev sets: made-up numbers**

| Model | Method | Trained | + Head | MRPC | CoLA | RTE | Avg |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
| tiny | lora | 73,728 | 770 | 84.0 ±5.0 (n=3) | 55.0 ±7.1 (n=2) | 62.5 (n=1) | 67.2 |
| tiny | full (n=1) | 1,000 | 770 | 87.5 | – | – | – |

- All numbers are ours; none is quoted, and no row is a row of the paper.
- Cells: median over seeds ± sample standard deviation (n - 1), in per cent; accuracy for MRPC, RTE; matthews for CoLA. Seeds: from 1, 2, 3, not the same in every cell.
- Selection: best epoch on dev.
"), "{markdown}");
    assert!(
        markdown.contains("Failed: tiny full cola seed 1 (0000000000000008): loss is NaN at step 3"),
        "{markdown}"
    );
    assert!(
        markdown.contains("cola dddddddddddd; mrpc dddddddddddd; rte dddddddddddd"),
        "{markdown}"
    );
    let latex = table.latex();
    assert!(
        latex.contains("tiny & lora & 73,728 & 770 & 84.0 $\\pm$5.0 (n=3) & 55.0 $\\pm$7.1 (n=2)"),
        "{latex}"
    );
    assert!(
        latex.contains("\\begin{tabular}{llrrrrrr}\n\\toprule\n") && latex.contains("\\bottomrule"),
        "{latex}"
    );
    let mut reversed = small();
    reversed.runs.reverse();
    assert_eq!(
        only(tables("table2", &reversed).unwrap()),
        table,
        "the order of the records does not matter"
    );
}

#[test]
fn a_paper_row_brings_the_papers_numbers_and_the_difference() {
    let table = only(tables("table2", &paper_like()).unwrap());
    assert_eq!(
        (table.name.as_str(), table.rows.len(), table.show_n),
        ("table2", 3, false)
    );
    let csv = table.csv().unwrap();
    let mut lines = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let (ours, paper, difference) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
    // Columns: numbers, model, method, trained, head, then MNLI, ±, n.
    assert_eq!(
        ours[..8],
        ["ours", "roberta-base", "lora", "73728", "770", "86.5000", "0.7071", "2"]
    );
    assert_eq!(
        paper[..8],
        [
            "paper",
            "roberta-base",
            "paper: LoRA",
            "0.3M",
            "",
            "87.5000",
            "0.3000",
            ""
        ]
    );
    assert_eq!(
        difference[..8],
        ["difference", "roberta-base", "ours - paper", "", "", "-1.0000", "", ""]
    );
    assert_eq!(
        (ours[29], paper[29], difference[29]),
        ("86.5000", "87.2000", "-0.7000"),
        "averages"
    );
    let latex = table.latex();
    assert!(
        latex.contains("ours - paper & -- & -- & $-$1.0 & $-$8.6 & $-$3.2 & +23.1"),
        "{latex}"
    );
    let text = table.terminal(TERMINAL_WIDTH);
    assert!(
        text.contains("arXiv 2106.09685v2") && text.contains("the MNLI score is the matched one"),
        "{text}"
    );
    assert!(text.contains("Seeds: 1, 2."), "{text}");
}

#[test]
fn mnli_is_the_matched_set() {
    let mut runs = paper_like();
    for eval in &mut runs.runs[0].evals {
        eval.metrics.insert("dev_mismatched/accuracy".into(), Some(0.11));
        eval.metrics.insert("dev_pooled/accuracy".into(), Some(0.22));
    }
    let before = only(tables("table2", &paper_like()).unwrap());
    assert_eq!(only(tables("table2", &runs).unwrap()).rows, before.rows);
    assert!(before.markdown().contains("(MNLI: matched)"));
}

#[test]
fn a_record_of_mnli_selected_by_both_sets_is_read_as_selected_by_the_matched_one() {
    let mut old = run(1, "lora", "mnli", 1, 0.85);
    let scores = [(0.80, 0.84, 0.76), (0.82, 0.83, 0.81), (0.81, 0.84, 0.78)];
    let eval = |(i, (pooled, matched, mismatched)): (usize, &(f64, f64, f64))| {
        let mut eval = old.evals[0].clone();
        eval.epoch = i as u32 + 1;
        eval.metrics = [
            ("dev", pooled),
            ("dev_matched", matched),
            ("dev_mismatched", mismatched),
        ]
        .map(|(split, value)| (format!("{split}/accuracy"), Some(*value)))
        .into();
        eval
    };
    old.evals = scores.iter().enumerate().map(eval).collect();
    old.metric = "dev/accuracy".into();
    old.best = Some(results::record::Best { epoch: 2, value: 0.82 });
    let read = |record: &RunRecord| RunRecord::from_json(&record.to_json().unwrap(), "x.json".as_ref()).unwrap();
    let new = read(&old);
    let best = new.best.unwrap();
    assert_eq!(new.metric, "dev_matched/accuracy");
    assert_eq!((best.epoch, best.value), (1, 0.84));
    assert_eq!(new.evals[1].metrics["dev_pooled/accuracy"], Some(0.82));
    assert!(!new.evals[1].metrics.contains_key("dev/accuracy"));
    assert_eq!(read(&new), new, "and is as it was when it is read again");
    old.selection = "last epoch".into();
    old.best = Some(results::record::Best { epoch: 3, value: 0.81 });
    let best = read(&old).best.unwrap();
    assert_eq!((best.epoch, best.value), (3, 0.84));
}

#[test]
fn where_runs_were_computed_is_said_of_each_method_only_if_it_differs() {
    let mut part = small();
    let text = |part: &Selection| only(tables("table2", part).unwrap()).terminal(TERMINAL_WIDTH);
    assert!(text(&part).contains("Device: cpu, fp32, 2 threads."), "{}", text(&part));
    for run in part.runs.iter_mut().filter(|run| run.method == "lora") {
        run.provenance.dtype = "bf16".into();
    }
    let said = text(&part).replace('\n', " ");
    assert!(
        said.contains("cpu, bf16, 2 threads (lora); cpu, fp32, 2 threads ("),
        "{said}"
    );
    for (i, run) in part.runs.iter_mut().filter(|run| run.method == "lora").enumerate() {
        if i > 0 {
            run.provenance.dtype = "fp32".into();
        }
    }
    for name in ["a", "b", "c", "d", "e", "f"] {
        let mut run = part.runs[0].clone();
        run.method = name.into();
        run.id = format!("{name:0>16}");
        run.provenance.dtype = "fp32".into();
        part.runs.push(run);
    }
    let said = text(&part).replace('\n', " ");
    assert!(
        said.contains("cpu, bf16, 2 threads (lora in part); cpu, fp32, 2 threads (the rest)"),
        "{said}"
    );
}

#[test]
fn numbers_of_rows_are_said_once_and_marked_where_they_are_the_limit() {
    let with = |n: u64, task: &str, rows: Option<(u64, u64)>, limit: serde_json::Value| {
        let mut run = run(n, "lora", task, n, 0.5);
        run.config["limit"] = limit;
        run.rows = rows.map(|(train, dev)| Rows {
            train,
            evaluated: vec![dev],
            paired: true,
        });
        run
    };
    let limit = serde_json::json!({"train": 300, "dev": 500});
    let notes = |run| only(tables("table2", &selection(vec![run])).unwrap()).notes.join("\n");
    let said = notes(with(1, "rte", Some((300, 277)), limit.clone()));
    assert!(
        said.contains("Rows: 300 (the limit) to train on, 277 of dev (rte)."),
        "{said}"
    );
    assert!(!said.contains("Not all rows"), "{said}");
    let said = notes(with(2, "rte", Some((200, 277)), limit.clone()));
    assert!(said.contains("Rows: 200 to train on, 277 of dev (rte)."), "{said}");
    // Records of older programs have no numbers of rows.
    let said = notes(with(3, "rte", None, limit));
    assert!(
        said.contains("Not all rows: rte 300 training rows, 500 dev rows."),
        "{said}"
    );
}

#[test]
fn every_table_fits_the_terminal() {
    let mut wide = paper_like();
    for (i, run) in wide.runs.iter_mut().enumerate() {
        run.provenance.host.cpu = "A Processor With a Long Name @ 2.00GHz".into();
        run.evals[1]
            .metrics
            .insert("dev/accuracy".into(), Some(0.1 * (i % 3) as f64));
    }
    for part in [small(), paper_like(), wide] {
        let table = only(tables("table2", &part).unwrap());
        let text = table.terminal(TERMINAL_WIDTH);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= TERMINAL_WIDTH, "{widest}\n{text}");
        for name in &table.header {
            assert!(text.contains(name.as_str()), "{name} is not broken\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        eprintln!("{text}");
    }
}

#[test]
fn other_runs_never_stand_beside_the_papers_rows() {
    let mut mixed = paper_like();
    mixed.runs.extend(small().runs.into_iter().map(|mut run| {
        run.id = format!("f{}", &run.id[1..]);
        run
    }));
    mixed.runs.push({
        let mut other = run(99, "lora", "wnli", 1, 0.5);
        other.label = "other made-up numbers".into();
        other
    });
    let tables = tables("table2", &mixed).unwrap();
    let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
    assert_eq!((names.len(), names[0]), (3, "table2"));
    // Two labels of one preset: each name ends in a hash of its own.
    assert!(
        names[1..].iter().all(|name| name.starts_with("table2-made-up-")) && names[1] != names[2],
        "{names:?}"
    );
    assert!(!tables[0].markdown().contains("tiny"));
    assert!(!tables[1].markdown().contains("roberta") && tables[1].notes[0].contains("no row is a row of the paper"));
    assert_eq!(
        tables[2].header,
        ["Model", "Method", "Trained", "+ Head", "WNLI", "Avg"]
    );
}

#[test]
fn settings_are_never_mixed_in_one_median() {
    let mut runs = vec![
        run(1, "lora", "mrpc", 1, 0.5),
        run(2, "lora", "mrpc", 2, 0.6),
        run(3, "lora", "mrpc", 3, 0.9),
    ];
    runs[2].config["optim"]["lr"] = serde_json::json!(0.5);
    let markdown = only(tables("table2", &selection(runs)).unwrap()).markdown();
    assert!(
        markdown.contains("| lora optim.lr=0.1 (n=2) | 73,728 | 770 | 55.0 ±7.1 |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| lora optim.lr=0.5 (n=1) | 73,728 | 770 | 90.0 |"),
        "{markdown}"
    );
}

#[test]
fn words_in_records_cannot_break_a_rendering() {
    let mut odd = run(1, "lora,\"r=8\"", "mrpc", 1, 0.5);
    odd.model = "a|b & 5%_\\".into();
    let table = only(tables("table2", &selection(vec![odd])).unwrap());
    let csv = table.csv().unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let record = reader.records().next().unwrap().unwrap();
    assert_eq!((&record[1], &record[2]), ("a|b & 5%_\\", "lora,\"r=8\""));
    assert!(table.markdown().contains("| a\\|b & 5%_\\\\ | lora,\"r=8\" |"));
    assert!(table.latex().contains("a|b \\& 5\\%\\_\\textbackslash{} & lora"));
}

#[test]
fn no_runs_no_table_and_an_unknown_paper_row_is_refused() {
    for kind in TABLES {
        assert!(
            kind.tables(&Selection::default()).unwrap().is_empty(),
            "{}",
            kind.name()
        );
    }
    let mut wrong = run(1, "lora", "mrpc", 1, 0.5);
    wrong.paper_row = Some("rob_small".into());
    let error = tables("table2", &selection(vec![wrong])).unwrap_err().to_string();
    assert!(
        error.contains("rob_small") && error.contains("rob_base_lora"),
        "{error}"
    );
    let mut elsewhere = run(1, "lora", "mrpc", 1, 0.5);
    elsewhere.experiment = "ablations".into();
    assert!(tables("table2", &selection(vec![elsewhere])).unwrap().is_empty());
}

#[test]
fn files_are_written_beside_each_other_and_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let table = only(tables("table2", &small()).unwrap());
    let paths = table.write(&dir.path().join("tables")).unwrap();
    let names: Vec<_> = paths
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["table2-made-up.md", "table2-made-up.tex", "table2-made-up.csv"]);
    let before: Vec<_> = paths.iter().map(|p| std::fs::read(p).unwrap()).collect();
    only(tables("table2", &small()).unwrap())
        .write(&dir.path().join("tables"))
        .unwrap();
    let after: Vec<_> = paths.iter().map(|p| std::fs::read(p).unwrap()).collect();
    assert_eq!(before, after);
}

/// A run of E2E under `row`, with the metrics of Table 3 on the test split; METEOR is not measured.
fn e2e(n: u64, method: &str, seed: u64, bleu: f64, row: Option<&str>) -> RunRecord {
    let mut run = run(n, method, "e2e", seed, 1.5);
    run.experiment = "e2e".into();
    run.metric = "dev/loss".into();
    run.selection = "epoch of the lowest loss on dev".into();
    run.paper_row = row.map(String::from);
    run.config = serde_json::json!({"seed": seed, "limit": {"test": 50}, "decode": {"split": "test", "strategy": "beam",
        "flavour": "paper", "beams": 10, "length_penalty": 0.9, "no_repeat_ngram": 4, "max_new_tokens": 64}});
    let metrics = [
        ("dev/loss", Some(1.5)),
        ("test/BLEU", Some(bleu)),
        ("test/NIST", Some(8.5)),
        ("test/METEOR", None),
        ("test/ROUGE_L", Some(0.7)),
        ("test/CIDEr", Some(2.375)),
    ];
    run.evals[1].metrics = metrics.map(|(key, value)| (key.to_owned(), value)).into();
    run
}

#[test]
fn texts_stand_in_a_table_of_their_metrics() {
    let runs = vec![
        e2e(1, "lora", 1, 0.60, None),
        e2e(2, "lora", 2, 0.64, None),
        e2e(3, "bare", 1, 0.01, None),
    ];
    let table = only(tables("table3", &selection(runs)).unwrap());
    assert_eq!(table.name, "table3-made-up");
    let markdown = table.markdown();
    assert!(
        markdown.starts_with(
            "\
**E2E NLG Challenge: made-up numbers**

| Model | Method | Trained | BLEU | NIST | METEOR | ROUGE-L | CIDEr |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
| tiny | bare (n=1) | 73,728 | 1.0 | 8.50 | – | 70.0 | 2.38 |
| tiny | lora (n=2) | 73,728 | 62.0 ±2.8 | 8.50 ±0.00 | – | 70.0 ±0.0 | 2.38 ±0.00 |
"
        ),
        "{markdown}"
    );
    for said in [
        "mean over seeds",
        "In per cent: BLEU, METEOR, ROUGE_L.",
        "epoch of the lowest loss on dev",
        "test by beam search as in the paper's code, 10 beams, length penalty 0.9",
        "the first rows of test 50",
        "--meteor-data",
        "no row is a row of the paper",
    ] {
        assert!(markdown.contains(said), "{said:?} is missing in {markdown}");
    }
}

#[test]
fn a_row_of_table_3_stands_above_the_papers() {
    let table = only(tables("table3", &selection(vec![e2e(1, "lora", 1, 0.70, Some("m_lora"))])).unwrap());
    assert_eq!(table.name, "table3");
    assert_eq!(
        table.csv().unwrap(),
        "\
numbers,Model,Method,Trained,BLEU,BLEU ±,BLEU n,NIST,NIST ±,NIST n,METEOR,METEOR ±,METEOR n,ROUGE-L,ROUGE-L ±,ROUGE-L n,CIDEr,CIDEr ±,CIDEr n
ours,tiny,lora,73728,70.0000,,1,8.5000,,1,,,,70.0000,,1,2.3750,,1
paper,gpt2-medium,paper: LoRA,0.35M,70.4000,0.1000,,8.8500,0.0200,,46.8000,0.2000,,71.8000,0.1000,,2.5300,0.0200,
difference,tiny,ours - paper,,-0.4000,,,-0.3500,,,,,,-1.8000,,,-0.1550,,
"
    );
    let error = tables("table3", &selection(vec![e2e(1, "lora", 1, 0.7, Some("m_lroa"))])).unwrap_err();
    assert!(error.to_string().contains("m_lora, l_ft"), "{error}");
}

#[test]
fn table_4_quotes_gpt3_below_runs_of_other_models() {
    let mut samsum = e2e(1, "lora", 1, 0.7, None);
    (samsum.experiment, samsum.task) = ("samsum".into(), "samsum".into());
    samsum.evals[1].metrics = [
        ("test/rouge1", 0.4),
        ("test/rouge2", 0.2),
        ("test/rougeL", 0.3),
        ("test/rouge1_stem", 0.5),
    ]
    .map(|(key, value)| (key.to_owned(), Some(value)))
    .into();
    let mut wikisql = e2e(2, "lora", 1, 0.7, None);
    (wikisql.experiment, wikisql.task) = ("wikisql".into(), "wikisql".into());
    wikisql.evals[1].metrics = [("dev/logical_form".to_owned(), Some(0.25))].into();
    let both = selection(vec![samsum, wikisql]);
    let mut apart = both.clone();
    apart.runs[0].label = "chats".into();
    let names = tables("table4", &apart).unwrap().into_iter().map(|t| t.name);
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(
        names[0].starts_with("table4-samsum-") && names[1].starts_with("table4-wikisql-"),
        "{names:?}"
    );
    let table = only(tables("table4", &both).unwrap());
    let markdown = table.markdown();
    assert!(
        markdown.contains("| tiny | lora | 73,728 | 25.0 | 40.0 | 20.0 | 30.0 |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| gpt3-175b | paper: LoRA | 4.7M | 73.4 | 53.8 | 29.8 | 45.9 |"),
        "{markdown}"
    );
    assert!(markdown.contains("no row of ours is the same experiment"), "{markdown}");
    assert_eq!(table.rows.len(), 1 + 8);
}

#[test]
fn webnlg_has_columns_for_seen_and_unseen_categories() {
    let mut webnlg = e2e(1, "lora", 1, 0.7, Some("l_lora"));
    (webnlg.experiment, webnlg.task) = ("webnlg".into(), "webnlg".into());
    let metrics = [
        ("test/BLEU", 0.5),
        ("test_seen/BLEU", 0.6),
        ("test_unseen/BLEU", 0.4),
        ("test/TER", 0.41),
    ];
    webnlg.evals[1].metrics = metrics.map(|(key, value)| (key.to_owned(), Some(value))).into();
    let table = only(tables("table14", &selection(vec![webnlg.clone()])).unwrap());
    let markdown = table.markdown();
    assert!(
        markdown.contains("| tiny | lora | 73,728 | 40.0 | 60.0 | 50.0 | – | – | – | – | – | 0.41 |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| tiny | ours - paper | – | -8.4 | -4.0 | -7.0 |"),
        "{markdown}"
    );
    assert!(markdown.contains("Less is better: TER"), "{markdown}");
    (webnlg.experiment, webnlg.task) = ("dart".into(), "dart".into());
    let table = only(tables("table13", &selection(vec![webnlg])).unwrap());
    assert!(
        table.markdown().contains("| tiny | lora | 73,728 | 50.0 | – | 0.41 |"),
        "{}",
        table.markdown()
    );
}
