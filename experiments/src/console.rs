//! What a person sees while runs go on: two bars on a terminal, one line an epoch elsewhere; and the log file.

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lora_core::train::Event;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

/// The bars of a batch of runs.
#[derive(Clone, Debug)]
pub struct Console {
    bars: MultiProgress,
    all: ProgressBar,
    terminal: bool,
}

impl Console {
    /// For `runs` runs, with everything from `info` up in the file `log` and warnings on the terminal.
    ///
    /// # Errors
    /// A log file that cannot be opened.
    pub fn start(runs: u64, log: &Path) -> Result<Console> {
        let bars = MultiProgress::new();
        let all = bars.add(ProgressBar::new(runs));
        all.set_style(style("{msg:<28} {wide_bar} {pos}/{len} runs, {elapsed} gone"));
        all.set_message("all runs");
        all.enable_steady_tick(Duration::from_secs(1));
        if let Some(dir) = log.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("making the folder {}", dir.display()))?;
        }
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("opening the log file {}", log.display()))?;
        let to_file = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(std::sync::Mutex::new(file));
        let aside = Aside(bars.clone());
        let to_terminal = tracing_subscriber::fmt::layer()
            .without_time()
            .with_target(false)
            .with_writer(aside);
        let layers = tracing_subscriber::registry()
            .with(to_file.with_filter(LevelFilter::INFO))
            .with(to_terminal.with_filter(LevelFilter::WARN));
        // A second experiment in one process keeps the first one's log.
        let _ = layers.try_init();
        Ok(Console {
            bars,
            all,
            terminal: std::io::stderr().is_terminal(),
        })
    }

    /// A line above the bars.
    pub fn line(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// The bar of one run.
    pub fn run(&self, title: &str, steps: u64) -> RunBar {
        let bar = self.bars.add(ProgressBar::new(steps));
        bar.set_style(style("{prefix:<28} {wide_bar} {pos}/{len} steps, {eta} left  {msg}"));
        bar.set_prefix(title.to_string());
        RunBar {
            console: self.clone(),
            bar,
            title: title.to_string(),
            best: String::new(),
        }
    }

    /// One run more is done.
    pub fn done(&self) {
        self.all.inc(1);
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        self.all.finish_and_clear();
    }
}

/// The bar of one run.
#[derive(Debug)]
pub struct RunBar {
    console: Console,
    bar: ProgressBar,
    title: String,
    best: String,
}

impl RunBar {
    /// Shows what the training loop tells; `metric` is the key to show.
    pub fn observe(&mut self, event: &Event, metric: &str) {
        match event {
            Event::Resumed(step) => {
                self.bar.set_position(*step);
                self.bar.reset_eta();
                tracing::info!("{}: goes on from step {step}", self.title);
                self.console.line(&format!("{}: goes on from step {step}", self.title));
            }
            Event::Progress { step, loss, lr, .. } => {
                self.bar.set_position(*step);
                self.bar
                    .set_message(format!("loss {loss:.3}  lr {lr:.1e}  {}", self.best));
            }
            Event::Epoch(eval) => {
                let value = eval
                    .metrics
                    .get(metric)
                    .copied()
                    .flatten()
                    .map_or("–".into(), |v| format!("{:.1}", v * 100.0));
                self.best = format!("{metric} {value}");
                let line = format!(
                    "{}: epoch {}, training loss {:.4}, {metric} {value}",
                    self.title, eval.epoch, eval.train_loss
                );
                tracing::info!("{line}");
                if !self.console.terminal {
                    self.console.line(&line);
                }
            }
        }
    }
}

impl Drop for RunBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Writes warnings above the bars instead of through them.
#[derive(Clone)]
struct Aside(MultiProgress);

impl Write for Aside {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write_all(text))?;
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Aside {
    type Writer = Aside;

    fn make_writer(&'a self) -> Aside {
        self.clone()
    }
}
