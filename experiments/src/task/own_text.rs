//! A user's own file of prompts and completions as a task: `data: {kind: text, train: ..., prompt: ..., completion: ...}`.

use crate::config::run_config::RunConfig;
use crate::config::settings::Encoding;
use crate::inputs::locator::DataSource;
use crate::task::generation::TextForm;
use crate::task::shown::Shown;
use crate::task::text::{check_length, decode, rows};
use crate::task::{DataReader, Task, TaskRows};
use anyhow::{Result, bail, ensure};
use datasets::text::own::{METRICS, OwnTexts, SCORER};

/// The task's id, and the name of its program.
pub const TEXT: &str = "text";

/// The task.
#[derive(Debug)]
pub struct OwnText;

impl Task for OwnText {
    fn id(&self) -> &'static str {
        TEXT
    }

    fn about(&self) -> String {
        format!(
            "your own file: data: {{kind: text, train: FILE, prompt: COLUMN, completion: COLUMN}} ({})",
            METRICS.join(", ")
        )
    }

    fn check(&self, run: &RunConfig) -> Result<()> {
        let decode = decode(run)?;
        ensure!(
            decode.split == "dev",
            "`decode.split` is `{}`; a file of your own has the splits train and dev, and texts are generated for dev",
            decode.split
        );
        check_length(run)?;
        ensure!(
            run.train.encoding == Encoding::Paper,
            "`train.encoding` is li_liang, which is for the data sets that Li and Liang's code knows; leave it out"
        );
        ensure!(
            run.prompt.is_none(),
            "`tasks.{TEXT}.prompt` is a template of data sets; the prompts of your own file are its column `data.prompt`"
        );
        Ok(())
    }

    fn load(&self, run: &RunConfig, reader: &DataReader) -> Result<TaskRows> {
        let data = spec(reader.data)?.load()?;
        let form = TextForm {
            task: TEXT,
            scorer: SCORER,
            ends_at_blank_line: false,
            lead: None,
        };
        let rows = rows(form, run, reader, &data.splits)?;
        Ok(TaskRows {
            sha256: data.sha256,
            ..rows
        })
    }

    fn show(&self, data: &DataSource) -> Result<Vec<Shown>> {
        let data = spec(data)?.load()?;
        Ok(data.splits.map(Shown::of_texts).into())
    }
}

fn spec(data: &DataSource) -> Result<&OwnTexts> {
    match data {
        DataSource::OwnTexts(own) => Ok(own),
        DataSource::Own(_) => {
            bail!("`text` generates texts (kind: text); classes and numbers of your own file are `glue`'s")
        }
        _ => bail!(
            "`text` is for your own file: give `data: {{kind: text, train: FILE, prompt: COLUMN, completion: COLUMN}}`"
        ),
    }
}
