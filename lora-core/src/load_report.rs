//! The result of loading weights into a model.

use std::fmt;
use std::path::PathBuf;

/// The result of loading weights. [`LoadReport::require_complete`] makes anything but a full match an error.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// The file of the weights.
    pub path: PathBuf,
    /// Variables that were filled.
    pub loaded: usize,
    /// Variables of the base that are not in the file.
    pub missing: Vec<String>,
    /// Tensors of the file that are not in the model.
    pub unexpected: Vec<String>,
    /// Variables of another shape: name, shape in the file, shape in the model.
    pub mismatched: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Variables of the head that are not in the file and stay freshly initialised, as usual before fine-tuning.
    pub fresh_head: Vec<String>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            let shown: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
            let more = names.len().saturating_sub(4);
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("{}{rest}", shown.join(", "))
        };
        write!(
            f,
            "{}: the weights do not fit the model ({} loaded)",
            self.path.display(),
            self.loaded
        )?;
        if !self.missing.is_empty() {
            write!(f, "; {} missing: {}", self.missing.len(), list(&self.missing))?;
        }
        if !self.unexpected.is_empty() {
            write!(f, "; {} unexpected: {}", self.unexpected.len(), list(&self.unexpected))?;
        }
        if let Some((name, file, model)) = self.mismatched.first() {
            write!(
                f,
                "; {} of another shape: {name} is {file:?} in the file and {model:?} in the model",
                self.mismatched.len()
            )?;
        }
        write!(f, ". Check that config.json and the weights are of the same model")
    }
}
