//! What a run leaves behind and what is made of it: the record ([`RunRecord`]), that of an analysis ([`Analysis`]), the
//! store over the records ([`Store`]), and the tables, which are queries over the store. No libtorch here: it reads anywhere.
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

pub mod analysis;
pub mod claims;
pub mod compare;
pub mod error;
mod estimator;
pub mod figure;
pub mod frame;
mod json;
pub mod methods;
pub mod number_blocks;
pub mod paper;
pub mod publish;
pub mod record;
pub mod restate;
mod results_readme;
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
pub use table::{TABLES, Table, tables};
