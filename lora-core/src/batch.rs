//! Packed batches: no padding reaches a linear layer.

use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// What one example should be answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A class index.
    Class(i64),
    /// A score.
    Score(f64),
    /// For language models: the id that belongs at each token, [`UNSCORED`] where none is asked for.
    Tokens(Vec<i64>),
}

/// In [`Target::Tokens`]: this token is not scored.
pub const UNSCORED: i64 = -100;

/// One tokenised example.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Token ids with the special tokens, without padding.
    pub ids: Vec<i64>,
    /// Segment of each token (0 or 1); empty where there is one segment.
    pub types: Vec<i64>,
    /// The label.
    pub target: Target,
}

/// Where the rows of a packed batch lie, and how attention regroups them.
#[derive(Debug)]
pub struct Layout {
    /// Rows, B.
    pub rows: i64,
    /// The longest row, L.
    pub width: i64,
    /// Added to attention scores: 0 on tokens, -inf beyond a row's end; `[B, 1, 1, L]`. None where all rows are as long.
    pub mask: Option<Tensor>,
    /// Packed position of each cell of the padded grid `[B * L]`; cells beyond a row's end point at the row's first token.
    from_packed: Tensor,
    /// Cell of the padded grid of each packed token `[T]`.
    to_packed: Tensor,
    /// Packed position of each row's first token `[B]`.
    pub first: Tensor,
}

impl Layout {
    fn new(lengths: &[i64], device: Device) -> Layout {
        let width = lengths.iter().copied().max().unwrap_or(0);
        let (mut from, mut to, mut mask, mut first) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for (row, &len) in lengths.iter().enumerate() {
            first.push(start);
            for cell in 0..width {
                let inside = cell < len;
                from.push(if inside { start + cell } else { start });
                mask.push(if inside { 0.0 } else { f32::NEG_INFINITY });
                if inside {
                    to.push(row as i64 * width + cell);
                }
            }
            start += len;
        }
        let rows = lengths.len() as i64;
        let ragged = lengths.iter().any(|&len| len != width);
        let mask = ragged.then(|| Tensor::from_slice(&mask).view([rows, 1, 1, width]).to_device(device));
        let index = |v: &[i64]| Tensor::from_slice(v).to_device(device);
        Layout {
            rows,
            width,
            mask,
            from_packed: index(&from),
            to_packed: index(&to),
            first: index(&first),
        }
    }

    /// Packed `[T, d]` to the padded grid `[B * L, d]`. Cells beyond a row's end hold a copy of its first token, which
    /// the mask keeps from being read, so that no gradient flows into it.
    pub fn pad(&self, x: &Tensor) -> Tensor {
        if self.mask.is_none() {
            x.shallow_clone()
        } else {
            x.index_select(0, &self.from_packed)
        }
    }

    /// The padded grid `[B * L, d]` to packed `[T, d]`.
    pub fn unpad(&self, x: &Tensor) -> Tensor {
        if self.mask.is_none() {
            x.shallow_clone()
        } else {
            x.index_select(0, &self.to_packed)
        }
    }
}

/// Rows of different lengths, one after the other.
#[derive(Debug)]
pub struct Batch {
    /// Token ids `[T]`.
    pub ids: Tensor,
    /// Segments `[T]`.
    pub types: Tensor,
    /// Position of each token in its row, from 0, `[T]`.
    pub positions: Tensor,
    /// Tokens in each row.
    pub lengths: Vec<i64>,
    /// Class indices (int64) or scores (fp32), `[B]`; for language models the ids (int64) of the S scored tokens, `[S]`.
    pub targets: Tensor,
    /// Packed positions of the scored tokens, `[S]`, for language models alone.
    pub scored: Option<Tensor>,
    /// How attention regroups the rows.
    pub layout: Layout,
}

impl Batch {
    /// Packs `rows` on `device`.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no row, a row is empty, its segments or token targets are not as many as its ids, or
    /// targets of different kinds are mixed.
    pub fn new(rows: &[&Row], device: Device) -> Result<Batch> {
        if rows.is_empty() || rows.iter().any(|r| r.ids.is_empty()) {
            return Err(Error::Config(
                "a batch needs at least one row, and each row at least one token".into(),
            ));
        }
        if rows.iter().any(|r| !r.types.is_empty() && r.types.len() != r.ids.len()) {
            return Err(Error::Config("a row's segments must be as many as its tokens".into()));
        }
        let lengths: Vec<i64> = rows.iter().map(|r| r.ids.len() as i64).collect();
        let ids: Vec<i64> = rows.iter().flat_map(|r| r.ids.iter().copied()).collect();
        let positions: Vec<i64> = lengths.iter().flat_map(|&n| 0..n).collect();
        let types: Vec<i64> = rows
            .iter()
            .flat_map(|r| (0..r.ids.len()).map(|i| r.types.get(i).copied().unwrap_or(0)))
            .collect();
        let tensor = |v: &[i64]| Tensor::from_slice(v).to_device(device);
        let (targets, scored) = targets(rows)?;
        Ok(Batch {
            ids: tensor(&ids),
            types: tensor(&types),
            positions: tensor(&positions),
            targets: targets.to_device(device),
            scored: scored.map(|s| s.to_device(device)),
            layout: Layout::new(&lengths, device),
            lengths,
        })
    }

    /// Tokens in the batch, T.
    pub fn tokens(&self) -> i64 {
        self.lengths.iter().sum()
    }
}

/// The targets, and for language models the packed positions that they belong to.
fn targets(rows: &[&Row]) -> Result<(Tensor, Option<Tensor>)> {
    let (mut classes, mut scores, mut ids, mut scored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    for row in rows {
        match &row.target {
            Target::Class(class) => classes.push(*class),
            Target::Score(score) => scores.push(*score as f32),
            Target::Tokens(wanted) if wanted.len() != row.ids.len() => {
                return Err(Error::Config(
                    "a row's token targets must be as many as its tokens".into(),
                ));
            }
            Target::Tokens(wanted) => {
                for (at, id) in (start..).zip(wanted).filter(|(_, id)| **id != UNSCORED) {
                    scored.push(at);
                    ids.push(*id);
                }
            }
        }
        start += row.ids.len() as i64;
    }
    match (classes.len() == rows.len(), scores.len() == rows.len(), ids.is_empty()) {
        (true, ..) => Ok((Tensor::from_slice(&classes), None)),
        (_, true, _) => Ok((Tensor::from_slice(&scores).to_kind(Kind::Float), None)),
        (.., false) if classes.is_empty() && scores.is_empty() => {
            Ok((Tensor::from_slice(&ids), Some(Tensor::from_slice(&scored))))
        }
        _ => Err(Error::Config(
            "a batch holds classes, scores or scored tokens, and one of them alone".into(),
        )),
    }
}
