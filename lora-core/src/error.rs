use crate::load_report::LoadReport;
use std::path::{Path, PathBuf};

/// The errors of this crate. Messages say what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation of libtorch failed.
    #[error("libtorch failed while {doing}: {reason}")]
    Torch {
        /// What was being done.
        doing: String,
        /// The first line of libtorch's message.
        reason: String,
    },
    /// The device ran out of memory.
    #[error(
        "out of memory while {doing}: {reason}. Use a smaller batch size (with gradient accumulation), a shorter max length, or --dtype bf16"
    )]
    OutOfMemory {
        /// What was being done.
        doing: String,
        /// The first line of libtorch's message.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error; part of the message, and therefore not the error's source.
        reason: std::io::Error,
    },
    /// The content of a file is not valid.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// A setting is not valid.
    #[error("{0}")]
    Config(String),
    /// Weights do not fit the model.
    #[error("{0}")]
    Load(Box<LoadReport>),
    /// A variable of this name exists already: a mistake in a model or method file.
    #[error("variable `{0}` was created twice")]
    Duplicate(String),
    /// The training loss became NaN or infinite.
    #[error(
        "the loss became {loss} at step {step} (learning rate {lr:e}): lower the learning rate, lengthen the warm-up, or clip the gradient"
    )]
    NotFinite {
        /// The loss.
        loss: f64,
        /// The optimiser step, from 1.
        step: u64,
        /// The learning rate of that step.
        lr: f64,
    },
    /// A language model's logits of the next token are NaN or infinite.
    #[error(
        "the model's logits of the next token are not finite: its weights hold NaN or infinity, or the forward pass overflows in this number type (fp32 may help)"
    )]
    NonFiniteLogits,
    /// A trainable variable got no gradient in the first step.
    #[error("these trainable variables got no gradient in the first step: {0}")]
    NoGradient(String),
    /// The run was stopped (Ctrl-C) after writing a checkpoint.
    #[error("interrupted at step {step}; run the same command again to go on from there")]
    Interrupted {
        /// The optimiser step of the checkpoint.
        step: u64,
    },
    /// A rank of several failed, or they cannot reach each other ([`crate::train::Ranks`]).
    #[error("{0}")]
    Ranks(String),
    /// Generation was stopped (Ctrl-C).
    #[error("stopped after {done} of {total} texts")]
    GenerationStopped {
        /// Finished texts.
        done: usize,
        /// All texts.
        total: usize,
    },
}

/// This crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<support::FileError> for Error {
    fn from(error: support::FileError) -> Self {
        Error::Io {
            path: error.path,
            reason: error.source,
        }
    }
}

impl Error {
    /// An [`Error::Io`] at `path`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |reason| Error::Io { path, reason }
    }

    /// An [`Error::Format`] at `path`.
    pub fn format(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::Format {
            path: path.as_ref().to_path_buf(),
            what: what.into(),
        }
    }

    /// An error of libtorch, reduced to its first line: the rest is a C++ backtrace.
    pub fn torch(doing: impl Into<String>) -> impl FnOnce(tch::TchError) -> Error {
        let doing = doing.into();
        move |source| Error::from_torch_text(doing, &source.to_string())
    }

    pub(crate) fn from_torch_text(doing: String, text: &str) -> Error {
        let reason = first_line(text);
        let memory = [
            "out of memory",
            "can't allocate memory",
            "not enough memory",
            "DefaultCPUAllocator",
        ];
        if memory.iter().any(|m| text.contains(m)) {
            Error::OutOfMemory { doing, reason }
        } else {
            Error::Torch { doing, reason }
        }
    }
}

/// The first line of libtorch's message, without the C++ backtrace after it and tch's debug quoting around it.
fn first_line(text: &str) -> String {
    let text = text.trim_start_matches("called `Result::unwrap()` on an `Err` value: ");
    let text = text
        .trim_start_matches("Torch(\"")
        .trim_start_matches("Internal torch error: ");
    text.split("\\n")
        .next()
        .unwrap_or(text)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torch_messages_lose_their_backtrace() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"mat1 and mat2 shapes cannot be multiplied\\nException raised from";
        match Error::from_torch_text("adding".into(), text) {
            Error::Torch { reason, .. } => assert_eq!(reason, "mat1 and mat2 shapes cannot be multiplied"),
            other => panic!("{other:?}"),
        }
        let text = "CUDA out of memory. Tried to allocate 2 GiB";
        assert!(matches!(
            Error::from_torch_text(String::new(), text),
            Error::OutOfMemory { .. }
        ));
    }
}
