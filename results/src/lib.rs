//! Records of runs ([`RunRecord`]) and analyses ([`Analysis`]), the [`Store`] that holds them, and the tables and figures that are
//! generated from them ([`TABLES`], [`FIGURES`]). Does not depend on libtorch.
//!
//! ```
//! use results::{Filter, Store, tables};
//! # fn main() -> results::Result<()> {
//! # let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/.");
//! let store = Store::open(dir)?; // a folder with runs/*.json
//! for run in store.records()? {
//!     println!("{} {} seed {}: {:?}", run.task, run.method, run.seed, run.best.map(|b| b.value));
//! }
//! for table in tables(&store, &Filter::default(), |kind| kind == "table2")? {
//!     println!("{}", table.terminal(100));
//! }
//! # Ok(()) }
//! ```

/// The folder of a user's own records, below the place where a program is started: git leaves it out.
pub const OWN: &str = "results/own";
/// The folder of the published records in this repository.
pub const PUBLISHED: &str = "results";

pub mod analysis;
mod answer;
pub mod by_value;
pub mod claims;
pub mod compare;
mod conclusions;
pub mod error;
mod estimator;
pub mod export;
pub mod figure;
pub mod frame;
mod gathered;
mod json;
pub mod listing;
pub mod methods;
pub mod number_blocks;
pub mod paper;
pub mod program;
pub mod publish;
pub mod record;
pub mod restate;
mod results_readme;
mod scripts;
pub mod stats;
mod stem;
pub mod store;
mod sweep;
pub mod table;
pub mod verdict;

pub use analysis::Analysis;
pub use error::{Error, Result};
pub use figure::{FIGURES, Figure};
pub use record::RunRecord;
pub use store::{Filter, Selection, Store};
pub use table::{TABLES, Table, table_of_texts, tables};
