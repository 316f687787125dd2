//! The question of the project, answered in sentences that are computed from stored runs: whether LoRA matches full fine-tuning, and
//! what the other methods do. The rule is [`claims::beside_full`], on averages over tasks, seed by seed.

use std::collections::{BTreeMap, BTreeSet};

use crate::claims::{self, MARGIN};
use crate::methods;
use crate::record::RunRecord;
use crate::stats::Estimate;
use crate::store::Selection;
use crate::sweep;
use crate::table::join;
use crate::verdict::{FEWEST, LEVEL, Outcome, Scores, Verdict, paired, settle};

const BASELINE: &str = "full";
const METHOD: &str = "lora";
/// Runs of this experiment are many settings of one method; its tables compare them.
const SWEEPS: &str = "ablations";

/// Scores by task and seed, in per cent.
type ByTask = BTreeMap<String, BTreeMap<u64, f64>>;

/// The answer to the project's question.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// LoRA against full fine-tuning, where most seeds and tasks were run.
    pub(crate) lora: Option<String>,
    /// The other methods, where LoRA was run with others.
    pub(crate) others: Option<String>,
    /// LoRA against full fine-tuning elsewhere, a sentence each.
    pub(crate) elsewhere: Vec<String>,
    /// What no run shows.
    pub(crate) limits: String,
}

impl Answer {
    /// Three sentences at most.
    pub(crate) fn in_short(&self) -> Vec<&str> {
        let found = self.lora.iter().chain(&self.others);
        found.chain([&self.limits]).map(String::as_str).collect()
    }

    /// All sentences.
    pub(crate) fn in_full(&self) -> Vec<&str> {
        let found = self.lora.iter().chain(&self.others).chain(&self.elsewhere);
        found.chain([&self.limits]).map(String::as_str).collect()
    }
}

/// Answers from the stored runs; all tests that it states are corrected together.
pub(crate) fn answer(stored: &Selection) -> Answer {
    let groups = groups(stored);
    let others_in = groups.iter().position(|group| group.methods.len() > 2);
    let mut places = Vec::new();
    let mut claims = Vec::new();
    for (g, group) in groups.iter().enumerate() {
        for (method, own) in group.methods.iter().filter(|(name, _)| **name != BASELINE) {
            // The other methods in one group alone.
            if let Some(beside) = group.beside(own).filter(|_| Some(g) == others_in || *method == METHOD) {
                claims.push(claims::beside_full(method, &beside.own, &beside.full));
                places.push((g, *method, beside));
            }
        }
    }
    let verdicts = settle(claims);
    let mut answer = Answer {
        limits: limits(stored),
        ..Answer::default()
    };
    let mut others = Vec::new();
    for ((g, method, beside), verdict) in places.iter().zip(&verdicts) {
        match (*g, *method == METHOD) {
            (0, true) => answer.lora = Some(groups[0].sentence(beside, verdict)),
            (g, true) => answer.elsewhere.push(groups[g].sentence(beside, verdict)),
            (_, false) => others.push((*method, beside, verdict)),
        }
    }
    let place = match others_in {
        Some(g) if g > 0 => {
            let seeds = others.iter().max_by_key(|(_, beside, _)| beside.own.seeds.len());
            seeds.map_or_else(String::new, |(_, beside, _)| groups[g].place(beside))
        }
        _ => "there".to_owned(),
    };
    answer.others = in_one_sentence(&place, &others);
    answer
}

/// Runs that may be compared: of one model and preset, with learning rates chosen in one way.
#[derive(Default)]
struct Group<'a> {
    model: &'a str,
    labels: BTreeSet<&'a str>,
    /// Whether the learning rates were chosen on held-out rows.
    chosen: bool,
    methods: BTreeMap<&'a str, Method>,
}

/// A method's scores.
#[derive(Default)]
struct Method {
    trained: i64,
    scores: ByTask,
}

/// A method and full fine-tuning, averaged over the tasks that both have.
struct Beside {
    tasks: Vec<String>,
    trained: i64,
    own: Scores,
    full: Scores,
}

/// The groups with LoRA and full fine-tuning, the one with the strongest evidence first: at least [`FEWEST`] seeds, chosen rates,
/// then the most seeds and tasks.
fn groups(stored: &Selection) -> Vec<Group<'_>> {
    let mut all: BTreeMap<(bool, &Option<String>, &str), Vec<&RunRecord>> = BTreeMap::new();
    for run in sweep::finished(stored).filter(|run| run.experiment != SWEEPS) {
        let key = (run.rates.is_some(), &run.preset, run.model.as_str());
        all.entry(key).or_default().push(run);
    }
    let mut groups: Vec<Group> = all.into_iter().map(|(key, runs)| Group::new(key, &runs)).collect();
    groups.retain(|group| [BASELINE, METHOD].iter().all(|name| group.methods.contains_key(name)));
    let strength = |group: &Group| {
        let beside = group.methods.get(METHOD).and_then(|own| group.beside(own));
        let (seeds, tasks) = beside.map_or((0, 0), |beside| (beside.own.seeds.len(), beside.tasks.len()));
        (seeds >= FEWEST, group.chosen, seeds, tasks)
    };
    groups.sort_by_key(|group| std::cmp::Reverse(strength(group)));
    groups
}

impl<'a> Group<'a> {
    /// Leaves out methods that a seed ran in several settings.
    fn new((chosen, _, model): (bool, &Option<String>, &'a str), runs: &[&'a RunRecord]) -> Self {
        let mut seen: BTreeMap<(&str, &str, u64), String> = BTreeMap::new();
        let mut several = BTreeSet::new();
        let mut group = Group {
            model,
            chosen,
            ..Group::default()
        };
        for run in runs {
            let (name, inputs) = (run.shown_method(), sweep::inputs(run));
            if *seen
                .entry((name, &run.task, run.seed))
                .or_insert_with(|| inputs.clone())
                != inputs
            {
                several.insert(name);
            }
            group.labels.insert(sweep::data_words(run));
            if let Some((_, Some(score))) = sweep::headline(run) {
                let method = group.methods.entry(name).or_default();
                method.trained = method.trained.max(sweep::trained(run));
                let task = method.scores.entry(sweep::printed_task(run)).or_default();
                task.insert(run.seed, score);
            }
        }
        group.methods.retain(|name, _| !several.contains(name));
        group
    }

    /// Averages over shared tasks, by seeds that ran them all with both; `None` without any.
    fn beside(&self, own: &Method) -> Option<Beside> {
        let full = self.methods.get(BASELINE)?;
        let tasks: Vec<&String> = own
            .scores
            .keys()
            .filter(|task| full.scores.contains_key(*task))
            .collect();
        let average = |method: &Method, seed: u64| {
            let scores: Option<Vec<f64>> = tasks
                .iter()
                .map(|task| method.scores[*task].get(&seed).copied())
                .collect();
            scores.map(|scores| scores.iter().sum::<f64>() / scores.len().max(1) as f64)
        };
        let seeds: BTreeSet<u64> = tasks
            .iter()
            .flat_map(|task| own.scores[*task].keys().copied())
            .collect();
        let (mut ours, mut theirs) = (Scores::default(), Scores::default());
        for seed in seeds {
            if let (Some(a), Some(b)) = (average(own, seed), average(full, seed)) {
                ours.seeds.insert(seed, a);
                theirs.seeds.insert(seed, b);
            }
        }
        (!ours.seeds.is_empty()).then(|| Beside {
            tasks: tasks.into_iter().cloned().collect(),
            trained: own.trained,
            own: ours,
            full: theirs,
        })
    }

    fn sentence(&self, beside: &Beside, verdict: &Verdict) -> String {
        let full = self.methods.get(BASELINE).map_or(1, |full| full.trained.max(1));
        let average = if beside.tasks.len() > 1 { " on average" } else { "" };
        let place = self.place(beside);
        let place = place.replacen("on ", "On ", 1);
        format!(
            "{place} LoRA trains {} as many parameters as full fine-tuning and scores {:.1}{average} where that \
             scores {:.1}, a difference of {}: that it {}, is {}.",
            share(beside.trained, full),
            beside.own.level(),
            beside.full.level(),
            beside.difference(),
            verdict.statement.trim_start_matches("LoRA "),
            said(&verdict.outcome),
        )
    }

    /// Model, data, tasks, seeds and rule: `on m (label; tasks; seeds; rates)`.
    fn place(&self, beside: &Beside) -> String {
        let rates = if self.chosen {
            "learning rates chosen on held-out rows"
        } else {
            "learning rates as configured"
        };
        format!(
            "on {} ({}; {}; {}; {rates})",
            self.model,
            self.labels.iter().copied().collect::<Vec<_>>().join("; "),
            listed(&beside.tasks.iter().map(String::as_str).collect::<Vec<_>>()),
            seeds(&beside.own),
        )
    }
}

impl Beside {
    /// Mean paired difference, with its interval where there are enough seeds.
    fn difference(&self) -> String {
        let estimate: Option<Estimate> = paired(&self.own, &self.full).ok();
        let interval = estimate.and_then(|one| one.interval(LEVEL));
        let difference = self.own.level() - self.full.level();
        match interval {
            Some((low, high)) => format!("{difference:+.1} (95 % interval {} to {})", end(low), end(high)),
            None => format!("{difference:+.1}"),
        }
    }
}

/// An end of an interval, with one digit, or with two where one would hide on which side of zero it lies.
fn end(value: f64) -> String {
    if value.abs() < 0.05 {
        format!("{value:+.2}")
    } else {
        format!("{value:+.1}")
    }
}

/// The methods by outcome; `None` without any.
fn in_one_sentence(place: &str, others: &[(&str, &Beside, &Verdict)]) -> Option<String> {
    let mut by_outcome: Vec<(String, Vec<String>)> = Vec::new();
    for (method, beside, verdict) in others {
        let name = methods::name(method);
        let (outcome, words) = match &verdict.outcome {
            Outcome::NotShown(why) if !why.starts_with("p = ") => (said(&verdict.outcome), name.to_owned()),
            Outcome::NotShown(why) => (
                "not shown".to_owned(),
                format!("{name} ({}; {why})", beside.bare_difference()),
            ),
            outcome => (said(outcome), format!("{name} ({})", beside.bare_difference())),
        };
        match by_outcome.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, all)) => all.push(words),
            None => by_outcome.push((outcome, vec![words])),
        }
    }
    // Few seeds come last.
    by_outcome.sort_by_key(|(outcome, _)| outcome.contains('('));
    let part = |(outcome, names): &(String, Vec<String>)| {
        format!(
            "{outcome} for {}",
            listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
        )
    };
    let parts: Vec<String> = by_outcome.iter().map(part).collect();
    (!parts.is_empty()).then(|| {
        format!(
            "Of the other methods {place}, matching or exceeding full fine-tuning, within {MARGIN}, is {}.",
            parts.join("; ")
        )
    })
}

impl Beside {
    fn bare_difference(&self) -> String {
        self.difference()
            .replace(" (95 % interval ", ", 95 % interval ")
            .replace(')', "")
    }
}

/// What the evidence does not show: computed from the settings of the runs.
fn limits(stored: &Selection) -> String {
    let runs: Vec<&RunRecord> = sweep::finished(stored).collect();
    if runs.is_empty() {
        return "No run is stored yet.".to_owned();
    }
    // A run that two experiments share has a record with two names.
    let distinct = runs.iter().map(|run| run.id.as_str()).collect::<BTreeSet<_>>().len();
    let models: BTreeSet<&str> = runs.iter().map(|run| run.model.as_str()).collect();
    let models = listed(&models.into_iter().collect::<Vec<_>>());
    let papers: BTreeSet<&str> = runs.iter().filter_map(|run| run.paper_row.as_deref()).collect();
    if papers.is_empty() {
        return format!(
            "All of this is from {} on {models}; none has the setting of a row of the paper, so that they neither confirm nor \
             refute a number of the paper.",
            support::counted(distinct, "run")
        );
    }
    let beside = runs.iter().filter(|run| run.paper_row.is_some()).count();
    format!(
        "Of {distinct} runs, on {models}, {beside} have the settings of {} rows of the paper, which stand beside them in the tables.",
        papers.len()
    )
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Shown => "shown".to_owned(),
        Outcome::Contradicted => "contradicted".to_owned(),
        Outcome::NotShown(why) => format!("not shown ({why})"),
    }
}

fn seeds(scores: &Scores) -> String {
    let plural = if scores.seeds.len() == 1 { "" } else { "s" };
    format!("seed{plural} {}", join(scores.seeds.keys()))
}

/// In per cent: one decimal, or as many as the first digit needs.
fn share(part: i64, whole: i64) -> String {
    let percent = 100.0 * part as f64 / whole as f64;
    let decimals = if percent >= 0.1 || percent <= 0.0 {
        1
    } else {
        (-percent.log10()).ceil() as usize
    };
    format!("{percent:.decimals$} %")
}

/// `a, b and c`.
fn listed(all: &[&str]) -> String {
    match all {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{RateChoice, Status};
    use crate::store::Store;

    /// Runs of methods on two tasks, by seed; made up of a stored record.
    fn stored(scores: &[(&str, &[f64])]) -> Selection {
        let store = Store::existing(std::path::Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let sample = store
            .records()
            .unwrap()
            .into_iter()
            .find(|run| run.task == "mrpc" && run.method == "lora")
            .unwrap();
        let mut runs = Vec::new();
        for (method, values) in scores {
            for (seed, value) in (1..).zip(*values) {
                for (task, more) in [("mrpc", 0.1), ("rte", -0.1)] {
                    let mut run = sample.clone();
                    run.id = format!("{method}{seed}{task}");
                    (run.method, run.task, run.seed) = ((*method).to_owned(), task.to_owned(), seed);
                    (run.rates, run.also, run.status) = (None, Vec::new(), Status::Finished);
                    run.config["method"] = serde_json::json!({ "kind": method });
                    let best = run.best.unwrap().epoch;
                    for eval in run.evals.iter_mut().filter(|eval| eval.epoch == best) {
                        eval.metrics.insert(run.metric.clone(), Some(value / 100.0 + more));
                    }
                    runs.push(run);
                }
            }
        }
        Selection {
            runs,
            ..Selection::default()
        }
    }

    const HIGH: [f64; 3] = [80.0, 80.2, 80.1];
    const LOW: [f64; 3] = [70.1, 70.0, 70.3];

    #[test]
    fn the_answer_is_what_a_test_shows() {
        for (lora, full, said) in [
            (&HIGH[..], &LOW[..], "within 0.5, is shown."),
            (&LOW, &HIGH, "within 0.5, is contradicted."),
            (&[60.0, 90.0, 75.0], &HIGH, "within 0.5, is not shown (p = "),
            (&HIGH[..1], &LOW[..1], "within 0.5, is not shown (n = 1)."),
        ] {
            let answer = answer(&stored(&[("lora", lora), ("full", full)]));
            let sentence = answer.lora.unwrap();
            assert!(sentence.contains(said), "{said}: {sentence}");
            assert!(sentence.contains("MRPC and RTE"), "{sentence}");
        }
        let answer = answer(&stored(&[("lora", &LOW), ("full", &HIGH)]));
        let sentence = answer.lora.unwrap();
        // scipy.stats.ttest_rel([70.1, 70, 70.3], [80, 80.2, 80.1]).confidence_interval(): -10.4838 to -9.4496
        assert!(
            sentence.contains(
                "scores 70.1 on average where that scores 80.1, a difference of -10.0 (95 % interval -10.5 to -9.4)"
            ),
            "{sentence}"
        );
    }

    #[test]
    fn the_other_methods_stand_together_by_outcome() {
        let all: [(&str, &[f64]); 5] = [
            ("lora", &HIGH),
            ("full", &HIGH),
            ("bitfit", &LOW),
            ("adapter_h", &[90.0, 90.3, 90.1]),
            ("dora", &HIGH[..1]),
        ];
        let answer = answer(&stored(&all));
        let said = answer.others.unwrap();
        assert!(said.contains("shown for Adapter^H (+10.0, 95 % interval "), "{said}");
        assert!(
            said.contains("contradicted for BitFit (-10.0, 95 % interval "),
            "{said}"
        );
        assert!(said.ends_with("not shown (n = 1) for DoRA."), "{said}");
        assert!(answer.limits.contains("26 runs"), "{}", answer.limits);
    }

    #[test]
    fn nothing_is_compared_across_settings_and_chosen_rates_come_first() {
        assert_eq!(answer(&Selection::default()).in_full(), ["No run is stored yet."]);
        let mut twice = stored(&[("lora", &HIGH), ("full", &LOW)]);
        let mut other = twice.runs[0].clone();
        other.config["train"]["lr"] = serde_json::json!(0.5);
        twice.runs.push(other);
        assert_eq!(answer(&twice).lora, None, "two settings of one method and seed");
        let mut both = stored(&[("lora", &HIGH), ("full", &LOW)]);
        let mut chosen = stored(&[("lora", &LOW), ("full", &HIGH)]);
        for run in &mut chosen.runs {
            run.rates = Some(RateChoice {
                rate: 0.1,
                metric: String::new(),
                held_out: 10,
                tried: Vec::new(),
            });
        }
        both.runs.extend(chosen.runs);
        let answer = answer(&both);
        assert!(answer.lora.unwrap().contains("chosen on held-out rows"));
        assert!(answer.elsewhere[0].contains("as configured"), "{:?}", answer.elsewhere);
    }
}
