//! What loading weights into a model did.

use std::fmt;
use std::path::PathBuf;

/// What a load did. [`LoadReport::require_complete`] turns anything but a full match into an error.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Where the weights came from.
    pub path: PathBuf,
    /// Variables that were filled.
    pub loaded: usize,
    /// Variables of the base that the file does not have.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have.
    pub unexpected: Vec<String>,
    /// Name, shape in the file, shape in the model.
    pub mismatched: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Variables of the head that the file does not have: freshly initialised, as always before fine-tuning.
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
