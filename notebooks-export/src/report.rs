//! The three reports: what each shows, as a notebook and as a page.

use anyhow::Result;
use results::publish::{Published, gather};
use results::{Figure, Selection, Table};

/// A report.
#[derive(Debug)]
pub struct Report {
    /// Stem of its files.
    pub name: &'static str,
    /// Above it.
    pub title: &'static str,
    /// What it is, below the title.
    pub about: &'static str,
    /// The tables and figures in it.
    pub kinds: &'static [&'static str],
    /// The notebook's code: cells of Python, each begun by a line `# %% Heading`, then lines `#: what it does`.
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

/// What stands in a report, in its order.
pub enum Part {
    /// A table.
    Table(Table),
    /// A figure.
    Figure(Figure),
}

impl Report {
    /// Its tables and figures.
    ///
    /// # Errors
    /// Those of the tables and figures.
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

/// The commits that the runs and analyses were computed at, in words.
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
