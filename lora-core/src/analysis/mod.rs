//! The analyses of Section 7 of the paper: the similarity of the subspaces that A spans ([`directions`], [`Overlap`]),
//! and the norm of the frozen weight in the directions of an update ([`Svd`]).
//!
//! All computation is in double precision on the CPU. A weight W is `[out, in]` (y = W x), A is `[r, in]`, B is `[out,
//! r]`, and the update is ΔW = α / r · B A, which is never formed.
//!
//! ```
//! use lora_core::analysis::{Overlap, Svd, directions, gaussian};
//! # fn main() -> lora_core::Result<()> {
//! let (a8, a64) = (gaussian(8, 256, 1), gaussian(64, 256, 2));
//! let phi = Overlap::of(&directions(&a8)?, &directions(&a64)?)?;
//! println!("the strongest directions share {:.3}", phi.at(1, 1));
//!
//! let (w, b8) = (gaussian(256, 256, 3), gaussian(256, 8, 4));
//! let update = Svd::of_product(&b8, &a8)?;
//! println!("|BA| is {:.1}, and W has {:.1} in its directions", update.norm(), update.projected(&w)?);
//! # assert!(phi.at(8, 64) > 0.1 && phi.at(8, 64) < 0.4);
//! # Ok(()) }
//! ```

mod matrix;
mod subspace;
mod svd;

pub use matrix::gaussian;
pub use subspace::{Overlap, directions, update_directions};
pub use svd::{Svd, random_projection};
