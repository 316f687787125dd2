//! The model card of an exported adapter or model: README.md with the hub's front matter.

use super::stored::{AdapterInfo, BaseModel};
use crate::inputs::embedded::PREFIX;
use anyhow::{Context, Result};
use std::path::Path;

/// The contents of a model card.
pub struct Card<'a> {
    about: &'a AdapterInfo,
    /// The base's name.
    base: String,
    /// For PEFT: its library and how it is loaded.
    peft: bool,
    model_type: &'static str,
    classifier: bool,
    /// Whether tokenizer.json alone says how texts are divided, which transformers' `AutoTokenizer` would read for another class.
    bare_tokenizer: bool,
    export: &'a str,
}

impl<'a> Card<'a> {
    /// Of a PEFT folder.
    pub fn adapter(about: &'a AdapterInfo, found: &BaseModel, export: &'a str) -> Card<'a> {
        Card {
            about,
            base: found.name.word(),
            peft: true,
            model_type: found.base.model_type(),
            classifier: !found.base.head.is_empty(),
            bare_tokenizer: {
                let has = |file: &str| found.base.dir.join(file).is_file();
                found.name.revision.is_none() && has("tokenizer.json") && !has("tokenizer_config.json")
            },
            export,
        }
    }

    /// Of a merged model.
    pub fn merged(about: &'a AdapterInfo, found: &BaseModel, export: &'a str) -> Card<'a> {
        Card {
            peft: false,
            ..Card::adapter(about, found, export)
        }
    }

    fn text(&self) -> String {
        let about = self.about;
        let method = serde_yaml::to_string(&about.method).unwrap_or_default();
        let kind = about
            .method
            .get("kind")
            .and_then(serde_yaml::Value::as_str)
            .unwrap_or("?");
        let task = about.task.as_deref().unwrap_or("a task that is not recorded");
        let what = if self.peft { "An adapter" } else { "A model" };
        let mut rows = vec![
            ("Base", format!("`{}`", self.base)),
            (
                "Base weights, SHA-256",
                about.base.weights_sha256.clone().unwrap_or("not recorded".into()),
            ),
            ("Data", about.data.clone().unwrap_or("not recorded".into())),
            ("Method", format!("`{kind}`, settings below")),
        ];
        rows.push(match &about.score {
            Some(s) => ("Metric", format!("{} {:.4} (epoch {})", s.metric, s.value, s.epoch)),
            None => ("Metric", "not recorded".into()),
        });
        rows.push(("Origin", about.origin.clone()));
        let rows: String = rows
            .iter()
            .map(|(key, value)| format!("| {key} | {value} |\n"))
            .collect();
        format!(
            "{}\n# {kind} on {} for {task}\n\n{what} ({}) trained with the method `{kind}`.\n\n| | |\n|---|---|\n{rows}\n## Method\n\n```yaml\n{method}```\n\n## How it was made\n\n```sh\n{}\n{}\n```\n\n## Use\n\n```python\n{}\n```\n",
            self.front(),
            self.base,
            self.model_type,
            about.command,
            if about.command == self.export { "" } else { self.export },
            self.usage()
        )
    }

    /// The lines that the hub reads. A folder is no model of the hub, so its name is left out.
    fn front(&self) -> String {
        let library = if self.peft { "peft" } else { "transformers" };
        let mut lines = vec![format!("library_name: {library}")];
        let on_hub = self.about.base.revision.is_some();
        if on_hub {
            lines.push(format!("base_model: {}", self.about.base.name));
        }
        if self.classifier {
            lines.push("pipeline_tag: text-classification".into());
        }
        lines.push("tags:\n- lora".into());
        let glue = self
            .about
            .data
            .as_deref()
            .is_some_and(|data| data.starts_with(datasets::hub::GLUE));
        if glue && self.about.task.as_deref().is_some_and(|t| datasets::find(t).is_ok()) {
            lines.push("datasets:\n- nyu-mll/glue".into());
        }
        format!("---\n{}\n---\n", lines.join("\n"))
    }

    fn usage(&self) -> String {
        let class = if self.classifier {
            "AutoModelForSequenceClassification"
        } else {
            "AutoModelForCausalLM"
        };
        if !self.peft {
            return format!(
                "from transformers import {}, {class}\n\nmodel = {class}.from_pretrained(\"THIS FOLDER\"){}",
                self.tokenizer_class(),
                self.asking("THIS FOLDER")
            );
        }
        let labels = &self.about.labels;
        let (mut before, mut arguments) = (String::new(), String::new());
        if self.classifier && labels.is_empty() {
            arguments = ", num_labels=N".into();
        } else if self.classifier {
            let pairs: Vec<String> = labels.iter().enumerate().map(|(i, l)| format!("{i}: {l:?}")).collect();
            before = format!(
                "id2label = {{{}}}\nlabel2id = {{label: i for i, label in id2label.items()}}\n",
                pairs.join(", ")
            );
            arguments = ", id2label=id2label, label2id=label2id".into();
        }
        if self.about.fresh_head {
            arguments += ", ignore_mismatched_sizes=True";
        }
        let name = self.base.split('@').next().unwrap_or(&self.base);
        // An embedded model has no name on the hub; its files lie in the sources.
        let inside = name.strip_prefix(PREFIX);
        let folder = inside.map(|inside| format!("experiments/embedded/{inside}"));
        if let Some(folder) = &folder {
            before += &format!("# {name} is {folder} in the sources of the program that trained the adapter.\n");
        }
        let name = folder.as_deref().unwrap_or(name);
        format!(
            "from peft import PeftModel\nfrom transformers import {}, {class}\n\n{before}base = {class}.from_pretrained(\"{name}\"{arguments})\nmodel = PeftModel.from_pretrained(base, \"THIS FOLDER\").eval(){}",
            self.tokenizer_class(),
            self.asking(name)
        )
    }

    fn tokenizer_class(&self) -> &'static str {
        match self.bare_tokenizer {
            true => "PreTrainedTokenizerFast",
            false => "AutoTokenizer",
        }
    }

    /// The lines that ask the model, with the tokenizer of this name.
    fn asking(&self, name: &str) -> String {
        let pair = if self.about.paired == Some(true) {
            ", \"Another.\""
        } else {
            ""
        };
        let asked = match self.classifier {
            true => "print(model(**inputs).logits)",
            false => "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))",
        };
        let tokenizer = match self.bare_tokenizer {
            true => format!("PreTrainedTokenizerFast(tokenizer_file=\"{name}/tokenizer.json\")"),
            false => format!("AutoTokenizer.from_pretrained(\"{name}\")"),
        };
        format!("\ntokenizer = {tokenizer}\ninputs = tokenizer(\"A text.\"{pair}, return_tensors=\"pt\")\n{asked}")
    }
}

/// Writes README.md.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(dir: &Path, card: &Card) -> Result<()> {
    support::write_atomic(dir.join("README.md"), card.text().as_bytes()).context("writing the model card")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::adapter::stored::BaseName;

    #[test]
    fn python_finds_the_base_of_an_embedded_model() {
        let about = AdapterInfo {
            version: 1,
            base: BaseName {
                name: "embedded:roberta".into(),
                revision: None,
                weights_sha256: None,
                config_sha256: None,
                tokenizer_sha256: None,
            },
            method: serde_yaml::Value::Null,
            labels: Vec::new(),
            fresh_head: false,
            task: None,
            paired: None,
            data: None,
            score: None,
            origin: String::new(),
            command: String::new(),
        };
        let usage = |base: &str| {
            let card = Card {
                about: &about,
                base: base.into(),
                peft: true,
                model_type: "roberta",
                classifier: false,
                bare_tokenizer: base.starts_with(PREFIX),
                export: "",
            };
            card.usage()
        };
        let inside = usage("embedded:roberta");
        assert!(
            inside.contains("from_pretrained(\"experiments/embedded/roberta\")"),
            "{inside}"
        );
        assert!(inside.contains("tokenizer_file=\"experiments/embedded/roberta/tokenizer.json\""));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded/roberta/config.json");
        assert!(root.is_file(), "the folder that the card names has no model");
        let hub = usage("OWNER/NAME@abc");
        assert!(
            hub.contains("AutoTokenizer.from_pretrained(\"OWNER/NAME\")") && !hub.contains("sources"),
            "{hub}"
        );
    }
}
