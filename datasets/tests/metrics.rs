//! Metrics against scikit-learn and scipy (`LORA_GOLDEN/glue.json`), and the way from logits to a task's metrics.

use datasets::metric::compute;
use datasets::{Label, Metric, MetricError, Predictions, find};
use serde_json::Value;

#[track_caller]
fn golden() -> Option<Value> {
    let text = std::fs::read_to_string(testing::golden()?.join("glue.json")).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn classes(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|v| v as usize).collect()
}

/// `wanted` is a number, "NaN", or absent where scipy raised an error; the latter two are "undefined" here.
fn check(case: &Value, key: &str, got: Option<f64>) {
    let name = &case["name"];
    match case.get(key).and_then(Value::as_f64) {
        Some(wanted) => {
            let got = got.unwrap_or_else(|| panic!("{name}: {key} is undefined, wanted {wanted}"));
            assert!((got - wanted).abs() < 1e-9, "{name}: {key} is {got}, wanted {wanted}");
        }
        None => {
            assert!(case.get(key) == Some(&Value::from("NaN")) || case.get(format!("{key}_error")).is_some());
            assert_eq!(got, None, "{name}: {key}");
        }
    }
}

#[test]
fn classification_equals_scikit_learn() {
    let Some(golden) = golden() else { return };
    let cases = golden["classification"].as_array().unwrap();
    for case in cases {
        let labels: Vec<Label> = classes(&case["labels"]).into_iter().map(Label::Class).collect();
        let predictions = Predictions::Classes(classes(&case["preds"]));
        let get = |metric| compute(metric, &predictions, &labels).unwrap();
        check(case, "accuracy", get(Metric::Accuracy));
        check(case, "matthews", get(Metric::Matthews));
        if case.get("f1_binary_pos1").is_some() {
            check(case, "f1_binary_pos1", get(Metric::F1));
        }
    }
    assert_eq!(cases.len(), 54);
    assert!(cases.iter().filter(|c| c.get("f1_binary_pos1").is_some()).count() > 40);
}

#[test]
fn regression_equals_scipy() {
    let Some(golden) = golden() else { return };
    let cases = golden["regression"].as_array().unwrap();
    for case in cases {
        let labels: Vec<Label> = numbers(&case["labels"]).into_iter().map(Label::Score).collect();
        let predictions = Predictions::Scores(numbers(&case["preds"]));
        let get = |metric| compute(metric, &predictions, &labels).unwrap();
        check(case, "pearson", get(Metric::Pearson));
        check(case, "spearman", get(Metric::Spearman));
    }
    assert_eq!(cases.len(), 33);
}

#[test]
fn from_logits_to_the_tasks_metrics() {
    let mrpc = find("mrpc").unwrap();
    // Rows answer 1, 0, 1 and, in a tie, the first.
    let logits = [0.1, 0.9, 2.0, -1.0, -3.0, -2.0, 0.5, 0.5];
    let predictions = mrpc.predictions(&logits).unwrap();
    assert_eq!(predictions, Predictions::Classes(vec![1, 0, 1, 0]));
    let labels = [1, 0, 0, 0].map(Label::Class);
    let scores = mrpc.score(&predictions, &labels).unwrap();
    assert_eq!(
        scores.into_iter().collect::<Vec<_>>(),
        [("accuracy", Some(0.75)), ("f1", Some(2.0 / 3.0))]
    );

    let stsb = find("stsb").unwrap();
    let predictions = stsb.predictions(&[1.0, 2.0, 4.0]).unwrap();
    let scores = stsb.score(&predictions, &[2.5, 2.5, 2.5].map(Label::Score)).unwrap();
    assert_eq!(
        scores.into_iter().collect::<Vec<_>>(),
        [("pearson", None), ("spearman", None)]
    );
}

#[test]
fn tables_show_percent_or_a_dash() {
    assert_eq!(Metric::Matthews.show(Some(0.63449)), "63.4");
    assert_eq!(Metric::Pearson.show(None), "–");
}

#[test]
fn what_does_not_fit_is_said() {
    let mrpc = find("mrpc").unwrap();
    let said = |e: MetricError| e.to_string();
    let odd = mrpc.predictions(&[1.0, 2.0, 3.0]).unwrap_err();
    assert_eq!(said(odd), "3 logits are no whole number of rows of 2 (task mrpc)");
    let nan = mrpc.predictions(&[1.0, 2.0, f32::NAN, 0.0]).unwrap_err();
    assert!(said(nan).starts_with("the output for example 1 (from 0) is NaN"));
    let one = Predictions::Classes(vec![1]);
    let short = mrpc.score(&one, &[]).unwrap_err();
    assert_eq!(said(short), "1 predictions for 0 labels");
    let kind = mrpc.score(&one, &[Label::Score(1.0)]).unwrap_err();
    assert!(said(kind).starts_with("metric accuracy wants classes"));
    let kind = compute(Metric::Pearson, &one, &[Label::Score(1.0)]).unwrap_err();
    assert!(said(kind).starts_with("metric pearson wants scores"));
}
