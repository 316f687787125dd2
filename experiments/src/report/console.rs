//! Output for a person: progress bars on a terminal, a line for each epoch elsewhere, a line for each run that ends, and the tables;
//! and the log file.

use crate::plan::eta::Progress;
use crate::plan::planned::{Planned, State};
use crate::report::json_events;
use crate::runner::events::{Observer, RunEvent};
use anyhow::{Context, Result};
use clap::{Args, ColorChoice};
use console::style;
use indicatif::{
    BinaryBytes, FormattedDuration, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle,
};
use lora_core::train::{Criterion, Eval, Event};
use results::Table;
use results::record::{RunRecord, Status};
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::counted;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

/// The flags of output.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Show errors and the final table only
    #[arg(long, short)]
    pub quiet: bool,
    /// One JSON object a line on stdout
    #[arg(long, help = json_events::HELP.lines().next().unwrap_or_default(), long_help = json_events::HELP)]
    pub json: bool,
    /// Colours on stderr; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// The target of log lines that are already on the terminal.
const SHOWN: &str = "shown";

/// The progress bars, and the lines above them.
#[derive(Debug)]
pub struct Console {
    show: OutputArgs,
    out: PathBuf,
    /// The log and its folders, the innermost first, as far as this process made them.
    made: Vec<PathBuf>,
    aside: LineWriter,
    bars: bool,
    all: ProgressBar,
    /// The runs in progress, by id.
    in_progress: HashMap<String, RunBar>,
    /// The numbers of all runs, of finished or failed ones, and of failed ones.
    runs: usize,
    done: usize,
    failed: usize,
    progress: Progress,
}

/// The bar of a run in progress.
#[derive(Debug)]
struct RunBar {
    bar: ProgressBar,
    /// The metric at its last evaluation.
    last: String,
}

impl Console {
    /// Opens the log file, which gets all lines from `info` up; the terminal gets warnings. `out` is the folder of records.
    ///
    /// # Errors
    /// A log file that cannot be opened.
    pub fn start(log: &Path, show: &OutputArgs, out: &Path) -> Result<Console> {
        match show.color {
            ColorChoice::Always => console::set_colors_enabled_stderr(true),
            ColorChoice::Never => console::set_colors_enabled_stderr(false),
            ColorChoice::Auto => {}
        }
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        // JSON lines on the same terminal would break the bars.
        let shared = show.json && std::io::stdout().is_terminal();
        let bars = std::io::stderr().is_terminal() && !dumb && !shared && !show.quiet;
        let target = if bars {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let aside = LineWriter(MultiProgress::with_draw_target(target));
        let made = log.ancestors().take(3).take_while(|path| !path.exists());
        let made = made.map(Path::to_path_buf).collect();
        log_to(log, aside.clone(), show.quiet)?;
        Ok(Console {
            show: show.clone(),
            out: out.to_path_buf(),
            made,
            aside,
            bars,
            all: ProgressBar::hidden(),
            in_progress: HashMap::new(),
            runs: 0,
            done: 0,
            failed: 0,
            progress: Progress::new(0),
        })
    }

    /// Writes lines above the bars.
    pub fn aside(&self) -> LineWriter {
        self.aside.clone()
    }

    /// Shows a line, unless `--quiet`.
    fn info(&self, text: &str) {
        tracing::info!(target: SHOWN, "{text}");
        if !self.show.quiet {
            self.aside.line(&wrapped(text));
        }
    }

    /// Shows an error.
    fn error(&self, text: &str) {
        tracing::error!(target: SHOWN, "{text}");
        self.aside.line(&style(wrapped(text)).red().for_stderr().to_string());
    }

    fn plan(&mut self, runs: &[Planned], device: &str) {
        let missing: Vec<&Planned> = runs.iter().filter(|r| r.state != State::Done).collect();
        let done = runs.len() - missing.len();
        (self.runs, self.done) = (runs.len(), done);
        self.info(&format!(
            "{}, {done} in the store, {} to compute on {device}",
            counted(runs.len(), "run"),
            missing.len()
        ));
        self.progress = Progress::new(missing.iter().map(|r| r.tokens()).sum());
        if self.bars && !missing.is_empty() {
            self.all = self.bar(
                match is_narrow() {
                    true => "{prefix:<26!} {wide_bar} {msg}",
                    false => "{prefix:<28} {wide_bar} {msg}, {elapsed} gone",
                },
                self.progress.total as u64,
            );
            self.all.set_prefix("all runs");
            self.all.enable_steady_tick(Duration::from_secs(1));
            self.show_progress();
        }
    }

    fn bar(&self, template: &str, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.aside.0.add(ProgressBar::new(length).with_style(style))
    }

    fn started(&mut self, run: &Planned) {
        self.progress.start(&run.id, run.tokens(), run.steps());
        let mut bar = ProgressBar::hidden();
        if self.bars {
            bar = self.bar(
                match is_narrow() {
                    true => "{prefix:<26!} {wide_bar} {percent:>3}%  {msg}",
                    false => "{prefix:<28} {wide_bar} {pos}/{len} steps, {eta} left  {msg}",
                },
                run.steps(),
            );
            bar.set_prefix(run.title());
        }
        let last = String::new();
        self.in_progress.insert(run.id.clone(), RunBar { bar, last });
    }

    fn training(&mut self, run: &Planned, event: &Event) {
        let Some(in_progress) = self.in_progress.get_mut(&run.id) else {
            return;
        };
        match event {
            Event::Resumed(step) => {
                self.progress.skip_to(&run.id, *step);
                in_progress.bar.set_position(*step);
                in_progress.bar.reset_eta();
                self.show_progress();
                self.info(&format!("{}: resumes from step {step}", run.title()));
            }
            Event::Progress { step, loss, lr, .. } => {
                self.progress.advance_to(&run.id, *step);
                in_progress.bar.set_position(*step);
                let message = match is_narrow() {
                    true => format!("loss {loss:.3}  {}", in_progress.last),
                    false => format!("loss {loss:.3}  lr {lr:.1e}  {}", in_progress.last),
                };
                in_progress.bar.set_message(message);
                self.show_progress();
            }
            Event::Epoch(eval) => {
                in_progress.last = shown(run, eval);
                self.epoch(run, eval);
            }
        }
    }

    fn epoch(&self, run: &Planned, eval: &Eval) {
        let (title, epoch, loss) = (run.title(), eval.epoch, eval.train_loss);
        let line = format!("{title}: epoch {epoch}, training loss {loss:.4}, {}", shown(run, eval));
        if self.bars {
            tracing::info!(target: SHOWN, "{line}");
        } else {
            self.info(&line);
        }
    }

    fn generating(&mut self, run: &Planned, done: usize, total: usize) {
        if let Some(in_progress) = self.in_progress.get(&run.id).filter(|_| self.bars) {
            in_progress.bar.set_position(run.steps());
            in_progress.bar.set_message(format!("{done}/{total} texts"));
        } else if done == total {
            self.info(&format!("{}: {done} texts written", run.title()));
        }
    }

    fn ended(&mut self, run: &Planned, record: &RunRecord) {
        self.remove(run);
        self.done += 1;
        match &record.status {
            Status::Failed { error } => {
                self.failed += 1;
                self.error(&format!("{} failed: {error}", run.title()));
            }
            Status::Finished => {
                let best = record.best.map_or("undefined".into(), |best| {
                    let epochs = run.config.train.fit.epochs;
                    let value = value(&run.rows.evaluator.criterion(), Some(best.value));
                    format!("{value} at epoch {} of {epochs}", best.epoch)
                });
                let time = FormattedDuration(Duration::from_secs_f64(record.timing.seconds.max(0.0)));
                let (title, metric) = (run.title(), &record.metric);
                self.info(&format!("{title}: best {metric} {best}, {time}; {}", self.summary()));
                if let Some(scores) = scores(run, record) {
                    self.info(&format!("{title}: {scores}"));
                }
                if let Some(ranks) = record.provenance.ranks {
                    let (size, bytes) = (ranks.world_size, BinaryBytes(ranks.bytes_per_step));
                    let took = Duration::from_micros(ranks.microseconds_per_step);
                    self.info(&format!(
                        "{title}: {size} ranks, which sum up {bytes} of gradients a step in {took:.1?}"
                    ));
                }
            }
        }
    }

    /// Removes the run's bar, and its remaining work from that of all runs.
    fn remove(&mut self, run: &Planned) {
        self.clear(run);
        self.progress.end(&run.id);
        self.show_progress();
    }

    fn clear(&mut self, run: &Planned) {
        if let Some(in_progress) = self.in_progress.remove(&run.id) {
            in_progress.bar.finish_and_clear();
        }
    }

    fn elsewhere(&mut self, run: &Planned, done: bool) {
        self.progress.start(&run.id, run.tokens(), run.steps());
        self.remove(run);
        self.done += usize::from(done);
        let what = if done {
            "another process has just computed it"
        } else {
            "being computed by another process; run the command again when it is done"
        };
        self.info(&format!("{}: {what}", run.title()));
    }

    fn show_progress(&self) {
        self.all.set_position((self.progress.total - self.progress.left) as u64);
        self.all.set_message(self.summary());
    }

    /// `3/12 runs, about 40 minutes left`.
    fn summary(&self) -> String {
        let (runs, done) = (counted(self.runs, "run"), self.done);
        match self.progress.time_left() {
            Some(left) => format!("{done}/{runs}, about {} left", HumanDuration(left)),
            None => format!("{done}/{runs}"),
        }
    }

    fn tables(&self, tables: &[Table], texts: Option<&str>) {
        self.all.finish_and_clear();
        if !self.show.json {
            let mut text: String = tables.iter().map(|t| t.terminal(width()) + "\n").collect();
            text += &texts.map(|t| format!("{t}\n")).unwrap_or_default();
            if let Err(error) = std::io::stdout().lock().write_all(text.as_bytes()) {
                tracing::warn!(
                    "the table cannot be printed: {error}; it is in {}",
                    self.out.join("tables").display()
                );
            }
        }
    }

    fn closing(&self, closing: Option<&str>, next: Option<&str>, resume_command: Option<&str>) {
        for text in [closing, next].into_iter().flatten() {
            self.info(text.trim_end());
        }
        if self.failed > 0 {
            let failed = self.out.join("failed");
            let text = format!("{} of {} failed", self.failed, counted(self.runs, "run"));
            self.error(&format!(
                "{text}; the reasons are in {}. The same command retries them.",
                failed.display()
            ));
        }
        if let Some(command) = resume_command {
            self.aside.line(&format!(
                "Stopped. Finished runs are in {}. To resume:\n  {command}",
                self.out.display()
            ));
        }
    }
}

impl Observer for Console {
    fn on_event(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Plan { runs, device } => self.plan(runs, device),
            RunEvent::Started(run) => self.started(run),
            RunEvent::Training(run, event) => self.training(run, event),
            RunEvent::Generating { run, done, total } => self.generating(run, *done, *total),
            RunEvent::Ended(run, record) => self.ended(run, record),
            RunEvent::Elsewhere { run, done } => self.elsewhere(run, *done),
            RunEvent::Interrupted(run, how) => {
                self.clear(run);
                self.info(&format!("{}: {how}", run.title()));
            }
            RunEvent::Tables {
                tables,
                texts,
                closing,
                next,
                resume_command,
            } => {
                self.tables(tables, *texts);
                self.closing(*closing, *next, *resume_command);
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.in_progress
            .values()
            .for_each(|in_progress| in_progress.bar.finish_and_clear());
        self.all.finish_and_clear();
        remove_empty(&self.made);
    }
}

/// Removes a log without lines, and then its folders if nothing else is in them: what was refused leaves nothing behind.
fn remove_empty(made: &[PathBuf]) {
    let Some((log, folders)) = made.split_first() else {
        return;
    };
    if std::fs::metadata(log).is_ok_and(|log| log.len() == 0) {
        // What cannot be removed stays; a folder with files cannot.
        let _ = std::fs::remove_file(log);
        for folder in folders {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

/// The metric of an epoch: `dev/accuracy 81.2`.
fn shown(run: &Planned, eval: &Eval) -> String {
    let criterion = run.rows.evaluator.criterion();
    let value = value(&criterion, criterion.value(eval));
    format!("{} {value}", criterion.metric)
}

/// A value of the criterion: a loss as it is, anything else in per cent.
fn value(criterion: &Criterion, value: Option<f64>) -> String {
    match value {
        Some(v) if criterion.lower_is_better => format!("{v:.4}"),
        Some(v) => format!("{:.1}", v * 100.0),
        None => "undefined".into(),
    }
}

/// The metrics of the stage after training, in one line.
fn scores(run: &Planned, record: &RunRecord) -> Option<String> {
    let mut metrics = record.best_eval()?.metrics.clone();
    metrics.remove(&record.metric);
    run.rows.evaluator.post_training().summary(&metrics)
}

/// Whether the terminal of the progress bars has too few columns for all that they can say.
fn is_narrow() -> bool {
    console::Term::stderr().size().1 < 110
}

/// A text in lines that fit the terminal, if there is one. Lines that begin with a blank are commands, and stay whole.
fn wrapped(text: &str) -> String {
    let term = console::Term::stderr();
    if !term.is_term() {
        return text.to_owned();
    }
    results::listing::wrapped(text, Some(usize::from(term.size().1)))
}

/// The width of the terminal in columns, or that of files.
fn width() -> usize {
    results::listing::terminal_width().unwrap_or(results::table::TERMINAL_WIDTH)
}

fn log_to(path: &Path, aside: LineWriter, quiet: bool) -> Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("making the folder {}", dir.display()))?;
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let file = file.with_context(|| format!("opening the log file {}", path.display()))?;
    let to_file = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file));
    let to_terminal = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(aside);
    let level = if quiet { LevelFilter::ERROR } else { LevelFilter::WARN };
    let layers = tracing_subscriber::registry()
        .with(to_file.with_filter(LevelFilter::INFO))
        .with(to_terminal.with_filter(filter_fn(move |of| *of.level() <= level && of.target() != SHOWN)));
    // A second experiment in the same process uses the first one's log.
    let _ = layers.try_init();
    Ok(())
}

/// Writes to stderr, above the bars. Errors of stderr are ignored: they must not stop a run.
#[derive(Clone, Debug)]
pub struct LineWriter(MultiProgress);

impl LineWriter {
    /// Writes one line.
    pub fn line(&self, text: &str) {
        let _ = self.0.suspend(|| writeln!(std::io::stderr(), "{text}"));
    }
}

impl Write for LineWriter {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.suspend(|| std::io::stderr().write_all(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        self.clone()
    }
}
