//! What a run leaves behind and what is made of it: the record ([`RunRecord`]), the store over the records ([`Store`]),
//! and the tables, which are queries over the store. No libtorch here: it reads anywhere.

pub mod atomic;
pub mod error;
pub mod frame;
pub mod paper;
pub mod record;
pub mod store;
pub mod table;

pub use atomic::write_atomic;
pub use error::{Error, Result};
pub use record::RunRecord;
pub use store::{Filter, Selection, Store};
pub use table::{TABLES, Table, table2};
