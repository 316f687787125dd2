//! The reports.

use anyhow::Result;
use results::publish::{Published, gather};
use results::{Figure, Selection, Table};

/// A report, written as a notebook and as an HTML page.
#[derive(Debug)]
pub struct Report {
    /// Stem of its files.
    pub name: &'static str,
    /// Title.
    pub title: &'static str,
    /// Description, below the title.
    pub about: &'static str,
    /// Kinds of tables and figures, in order.
    pub kinds: &'static [&'static str],
    /// Python code of the notebook. A cell begins with a line `# %% Heading`, followed by lines `#: description`.
    pub python: &'static str,
}

/// All reports.
pub static REPORTS: &[Report] = &[
    Report {
        name: "glue",
        title: "GLUE",
        about: "Table 2 of the LoRA paper, its methods at several sizes (Table 15, Figure 2) and on little data (Table 16), from the stored runs.",
        kinds: &["table2", "table15", "table16", "figure2"],
        python: include_str!("python/glue.py"),
    },
    Report {
        name: "generation",
        title: "Generated texts",
        about: "Tables 3, 4, 13, 14 and 18 of the LoRA paper, from the stored runs: E2E, WikiSQL, SAMSum, DART and WebNLG.",
        kinds: &["table3", "table4", "table13", "table14", "table18"],
        python: include_str!("python/generation.py"),
    },
    Report {
        name: "section7",
        title: "Understanding the updates",
        about: "Section 7 of the LoRA paper and its measurements of latency: which weights, which rank, what the updates look like, \
            and what adapters and training cost (Tables 1, 5, 6 and 7, Figures 3 to 8, Section 4.2).",
        kinds: &[
            "table5",
            "table6",
            "figure3",
            "figure4",
            "figure6",
            "figure7",
            "figure8",
            "spectra",
            "table7",
            "table1",
            "figure5",
            "efficiency",
        ],
        python: include_str!("python/section7.py"),
    },
];

/// A part of a report.
pub enum Part {
    /// A table.
    Table(Table),
    /// A figure.
    Figure(Figure),
}

impl Report {
    /// The tables and figures of the report.
    ///
    /// # Errors
    /// As [`gather`].
    pub fn parts(&self, stored: &Selection) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for kind in self.kinds {
            let Published { tables, figures } = gather(stored, |name| name == *kind)?;
            parts.extend(tables.into_iter().map(Part::Table));
            parts.extend(figures.into_iter().map(Part::Figure));
        }
        Ok(parts)
    }
}

/// Note on the commits that the records were computed at.
pub fn commits(stored: &Selection) -> Option<String> {
    let runs = stored.runs.iter().map(|run| &run.provenance);
    let all = runs.chain(stored.analyses.iter().map(|analysis| &analysis.provenance));
    let short = |p: &results::record::Provenance| {
        let commit = p.commit.as_deref().unwrap_or("unknown");
        let dirty = if p.dirty { " (with local changes)" } else { "" };
        format!("{}{dirty}", commit.get(..12).unwrap_or(commit))
    };
    let mut commits: Vec<String> = all.map(short).collect();
    commits.sort();
    commits.dedup();
    (!commits.is_empty()).then(|| format!("Computed at commit {}.", commits.join(", ")))
}
