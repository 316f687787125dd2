//! Packed batches: linear layers see no padding.

use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// The target of one example.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A class index.
    Class(i64),
    /// A score.
    Score(f64),
    /// For language models: the target id at each token, [`UNSCORED`] if none. A masked model's target is the id of the
    /// token itself, a causal model's the id of the next token.
    Tokens(Vec<i64>),
}

/// Marks a token of [`Target::Tokens`] that is not scored.
pub const UNSCORED: i64 = -100;

/// One tokenised example.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Token ids, with special tokens and without padding.
    pub ids: Vec<i64>,
    /// Segment of each token (0 or 1); empty for a single segment.
    pub types: Vec<i64>,
    /// Tokens of the prompt, at the start of the row; a method's infix tokens are inserted after them. None if the
    /// whole row is the prompt, as for a classifier.
    pub prompt: Option<usize>,
    /// The target.
    pub target: Target,
}

impl Row {
    /// A training row for a causal language model, encoded as in the paper's GPT-2 code: the prompt, `end` as
    /// separator, the completion and `end` again, truncated to `max_len` tokens. The completion and its end token are
    /// scored, each at the token before it; the prompt is not.
    ///
    /// # Errors
    /// [`Error::Config`] if the prompt and the separator leave no room for the completion.
    pub fn completion(prompt: &[i64], completion: &[i64], end: i64, max_len: usize) -> Result<Row> {
        let context = prompt.len() + 1;
        if context >= max_len {
            return Err(Error::Config(format!(
                "a prompt of {} tokens and the separator leave no room for the completion in {max_len} tokens: raise the max length, or \
                 shorten or drop the prompt",
                prompt.len()
            )));
        }
        let mut ids = [prompt, &[end], completion, &[end]].concat();
        ids.truncate(max_len);
        let mut targets = vec![UNSCORED; context - 1];
        targets.extend(&ids[context..]);
        ids.pop(); // the last token is only a target
        Ok(Row {
            ids,
            types: Vec::new(),
            prompt: Some(context),
            target: Target::Tokens(targets),
        })
    }
}

/// The prompt and the separator `end`, for generation; truncated on the left to `limit` tokens.
pub fn decode_prompt(prompt: &[i64], end: i64, limit: usize) -> Vec<i64> {
    let whole = [prompt, &[end]].concat();
    whole[whole.len().saturating_sub(limit)..].to_vec()
}

/// The layout of the rows of a packed batch, and of the padded grid that attention uses.
#[derive(Debug)]
pub struct Layout {
    /// Number of rows, B.
    pub rows: i64,
    /// Length of the longest row, L.
    pub width: i64,
    /// Tokens of each row.
    pub lengths: Vec<i64>,
    /// Added to attention scores: 0 on tokens, -inf beyond a row's end; `[B, 1, 1, L]`. None if all rows have the same
    /// length.
    pub mask: Option<Tensor>,
    /// Packed position of each cell of the padded grid, `[B * L]`; cells beyond a row's end refer to the row's first
    /// token.
    from_packed: Tensor,
    /// Cell in the padded grid of each packed token, `[T]`.
    to_packed: Tensor,
    /// Packed position of each row's first token, `[B]`.
    pub first: Tensor,
    /// Packed position of each row's last token, `[B]`.
    pub last: Tensor,
    /// The batch that these rows are a part of.
    pub whole: Whole,
}

/// The batch that some rows are a part of, where several ranks share a batch ([`crate::train::Ranks`]). What does not depend
/// on the split, such as dropout, is computed as in that batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Rows of the batch before the first of these.
    pub rows_before: i64,
    /// Tokens of these rows.
    pub tokens_before: i64,
    /// Length of the batch's longest row.
    pub width: i64,
}

impl Layout {
    fn new(lengths: &[i64], device: Device) -> Layout {
        let width = lengths.iter().copied().max().unwrap_or(0);
        let (mut from, mut to, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut last) = (Vec::new(), Vec::new());
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
            last.push(start - 1);
        }
        let rows = lengths.len() as i64;
        let ragged = lengths.iter().any(|&len| len != width);
        let mask = ragged.then(|| Tensor::from_slice(&mask).view([rows, 1, 1, width]).to_device(device));
        let index = |v: &[i64]| Tensor::from_slice(v).to_device(device);
        Layout {
            rows,
            width,
            lengths: lengths.to_vec(),
            mask,
            from_packed: index(&from),
            to_packed: index(&to),
            first: index(&first),
            last: index(&last),
            whole: Whole {
                width,
                ..Whole::default()
            },
        }
    }

    /// The layout of the same rows with `more` tokens in each.
    fn lengthened(&self, lengths: &[i64], more: i64, device: Device) -> Layout {
        let whole = Whole {
            tokens_before: self.whole.tokens_before + more * self.whole.rows_before,
            width: self.whole.width + more,
            ..self.whole
        };
        Layout {
            whole,
            ..Layout::new(lengths, device)
        }
    }

    fn shallow_clone(&self) -> Layout {
        Layout {
            rows: self.rows,
            width: self.width,
            lengths: self.lengths.clone(),
            mask: self.mask.as_ref().map(Tensor::shallow_clone),
            from_packed: self.from_packed.shallow_clone(),
            to_packed: self.to_packed.shallow_clone(),
            first: self.first.shallow_clone(),
            last: self.last.shallow_clone(),
            whole: self.whole,
        }
    }

    /// Packed `[T, d]` to the padded grid `[B * L, d]`. Cells beyond a row's end hold a copy of its first token; they
    /// are masked, so no gradient flows into them.
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

/// Rows of different lengths, concatenated without padding.
#[derive(Debug)]
pub struct Batch {
    /// Token ids `[T]`.
    pub ids: Tensor,
    /// Segment of each token, `[T]`.
    pub types: Tensor,
    /// Position of each token in its row, from 0, `[T]`.
    pub positions: Tensor,
    /// Tokens of each row.
    pub lengths: Vec<i64>,
    /// Class indices (int64) or scores (fp32), `[B]`; for language models the ids (int64) of the S scored tokens,
    /// `[S]`.
    pub targets: Tensor,
    /// Packed positions of the scored tokens, `[S]`; language models only.
    pub scored: Option<Tensor>,
    /// Tokens of each row's prompt.
    pub prompts: Vec<i64>,
    /// The positions of a method's inserted tokens, if there are any.
    pub inserted: Option<Inserted>,
    /// The layout of the rows.
    pub layout: Layout,
}

/// Positions of old and new tokens in a batch of [`Batch::lengthened`].
#[derive(Debug)]
pub struct Inserted {
    /// Packed positions of the original tokens, `[T]`.
    pub own: Tensor,
    /// Packed positions from which a causal model predicts the next token, `[T]`: `own`, but for the last token of a
    /// prompt the position of the last infix token after it.
    pub asked: Tensor,
    /// Packed positions of the n inserted tokens of each row, row by row, `[B * n]`.
    pub prompt: Tensor,
}

impl Batch {
    /// Packs `rows` on `device`.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no row, a row is empty, its segments or token targets differ in number from its
    /// ids, its prompt is longer than the row, or targets of different kinds are mixed.
    pub fn new(rows: &[&Row], device: Device) -> Result<Batch> {
        if rows.is_empty() || rows.iter().any(|r| r.ids.is_empty()) {
            return Err(Error::Config(
                "a batch needs at least one row, and each row at least one token".into(),
            ));
        }
        if rows.iter().any(|r| !r.types.is_empty() && r.types.len() != r.ids.len()) {
            return Err(Error::Config("a row's segments must be as many as its tokens".into()));
        }
        if rows.iter().any(|r| r.prompt.is_some_and(|p| p > r.ids.len())) {
            return Err(Error::Config("a row's prompt must not be longer than the row".into()));
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
            prompts: rows.iter().map(|r| r.prompt.unwrap_or(r.ids.len()) as i64).collect(),
            inserted: None,
            layout: Layout::new(&lengths, device),
            lengths,
        })
    }

    /// Packs the rows `own` of a batch `rows` that several ranks share.
    ///
    /// # Errors
    /// Those of [`Batch::new`].
    pub fn part(rows: &[&Row], own: std::ops::Range<usize>, device: Device) -> Result<Batch> {
        let before = &rows[..own.start];
        let whole = Whole {
            rows_before: before.len() as i64,
            tokens_before: before.iter().map(|r| r.ids.len() as i64).sum(),
            width: rows.iter().map(|r| r.ids.len() as i64).max().unwrap_or(0),
        };
        let mut batch = Batch::new(&rows[own], device)?;
        batch.layout.whole = whole;
        Ok(batch)
    }

    /// Packs prompts for generation.
    ///
    /// # Errors
    /// Those of [`Batch::new`].
    pub fn of_prompts(prompts: &[&[i64]], device: Device) -> Result<Batch> {
        let row = |ids: &&[i64]| Row {
            ids: ids.to_vec(),
            types: Vec::new(),
            prompt: None,
            target: Target::Tokens(vec![0; ids.len()]),
        };
        let rows: Vec<Row> = prompts.iter().map(row).collect();
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), device)?;
        Ok(Batch { scored: None, ..batch })
    }

    /// Number of tokens, T.
    pub fn tokens(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// The rows with `prefix` new tokens inserted after each row's first `lead` tokens and `infix` after its prompt,
    /// and an index `[T + B * (prefix + infix)]`: the row of each token's embedding in the concatenation of the T
    /// original embeddings and the `prefix + infix` new ones.
    ///
    /// New tokens have positions like any token, and the segment (and, as a placeholder, the id) of a neighbour.
    pub fn lengthened(&self, prefix: i64, infix: i64, lead: i64) -> (Batch, Tensor) {
        let device = self.ids.device();
        let index = |v: &[i64]| Tensor::from_slice(v).to_device(device);
        let plan = Plan::new(self, prefix, infix, lead);
        let near = index(&plan.near);
        let lengths: Vec<i64> = self.lengths.iter().map(|n| n + prefix + infix).collect();
        let positions: Vec<i64> = lengths.iter().flat_map(|&n| 0..n).collect();
        let own = index(&plan.own);
        let longer = Batch {
            ids: self.ids.index_select(0, &near),
            types: self.types.index_select(0, &near),
            positions: index(&positions),
            targets: self.targets.shallow_clone(),
            scored: self.scored.as_ref().map(|s| own.index_select(0, s)),
            prompts: self.prompts.iter().map(|n| n + prefix + infix).collect(),
            inserted: Some(Inserted {
                own,
                asked: index(&plan.asked),
                prompt: index(&plan.prompt),
            }),
            layout: self.layout.lengthened(&lengths, prefix + infix, device),
            lengths,
        };
        (longer, index(&plan.from))
    }

    /// A batch that shares the memory of this one.
    pub fn shallow_clone(&self) -> Batch {
        Batch {
            ids: self.ids.shallow_clone(),
            types: self.types.shallow_clone(),
            positions: self.positions.shallow_clone(),
            lengths: self.lengths.clone(),
            targets: self.targets.shallow_clone(),
            scored: self.scored.as_ref().map(Tensor::shallow_clone),
            prompts: self.prompts.clone(),
            inserted: self.inserted.as_ref().map(|i| Inserted {
                own: i.own.shallow_clone(),
                asked: i.asked.shallow_clone(),
                prompt: i.prompt.shallow_clone(),
            }),
            layout: self.layout.shallow_clone(),
        }
    }
}

/// The packed order of a lengthened batch. `from` is the index that [`Batch::lengthened`] returns, `near` the original
/// token whose segment and id each token takes.
#[derive(Default)]
struct Plan {
    from: Vec<i64>,
    near: Vec<i64>,
    own: Vec<i64>,
    asked: Vec<i64>,
    prompt: Vec<i64>,
}

impl Plan {
    fn new(batch: &Batch, prefix: i64, infix: i64, lead: i64) -> Plan {
        let (total, mut start) = (batch.tokens(), 0);
        let mut plan = Plan::default();
        for (&len, &prompt) in batch.lengths.iter().zip(&batch.prompts) {
            let lead = lead.min(len);
            let infix_at = prompt.max(lead);
            plan.old(start..start + lead);
            plan.new_tokens(total..total + prefix, start + (lead - 1).max(0));
            plan.old(start + lead..start + infix_at);
            plan.new_tokens(total + prefix..total + prefix + infix, start + (infix_at - 1).max(0));
            if infix.min(infix_at) > 0
                && let Some(last) = plan.asked.last_mut()
            {
                *last = plan.from.len() as i64 - 1;
            }
            plan.old(start + infix_at..start + len);
            start += len;
        }
        plan
    }

    fn old(&mut self, tokens: std::ops::Range<i64>) {
        for token in tokens {
            self.own.push(self.from.len() as i64);
            self.asked.push(self.from.len() as i64);
            self.from.push(token);
            self.near.push(token);
        }
    }

    fn new_tokens(&mut self, tokens: std::ops::Range<i64>, near: i64) {
        for token in tokens {
            self.prompt.push(self.from.len() as i64);
            self.from.push(token);
            self.near.push(near);
        }
    }
}

/// The targets, and for language models the packed positions of the scored tokens.
fn targets(rows: &[&Row]) -> Result<(Tensor, Option<Tensor>)> {
    let (mut classes, mut scores, mut ids, mut scored) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    for row in rows {
        match &row.target {
            Target::Class(class) => classes.push(*class),
            Target::Score(score) => scores.push(*score as f32),
            Target::Tokens(targets) if targets.len() != row.ids.len() => {
                return Err(Error::Config(
                    "a row's token targets must be as many as its tokens".into(),
                ));
            }
            Target::Tokens(targets) => {
                for (at, id) in (start..).zip(targets).filter(|(_, id)| **id != UNSCORED) {
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
            "the targets of a batch must all be classes, all scores, or all token ids with at least one scored".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ids: &[i64], prompt: Option<usize>, wanted: &[i64]) -> Row {
        Row {
            ids: ids.to_vec(),
            types: Vec::new(),
            prompt,
            target: Target::Tokens(wanted.to_vec()),
        }
    }

    #[test]
    fn lengthened_batches_insert_tokens_in_place() {
        let rows = [
            row(&[10, 11, 12, 13], Some(3), &[UNSCORED, UNSCORED, 7, 8]),
            row(&[20, 21], None, &[UNSCORED, 9]),
        ];
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
        let ints = |t: &Tensor| Vec::<i64>::try_from(t).unwrap();
        for (lead, from) in [
            (0, [6, 7, 0, 1, 2, 8, 3, 6, 7, 4, 5, 8]),
            (1, [0, 6, 7, 1, 2, 8, 3, 4, 6, 7, 5, 8]),
        ] {
            let (longer, order) = batch.lengthened(2, 1, lead);
            assert_eq!(ints(&order), from, "6 and 7 are the prefix, 8 is the infix");
            assert_eq!(ints(&longer.positions), [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]);
            assert_eq!((longer.lengths.as_slice(), longer.layout.width), ([7, 5].as_slice(), 7));
            let inserted = longer.inserted.as_ref().unwrap();
            let at = |cells: &[i64]| cells.iter().map(|c| from[*c as usize]).collect::<Vec<_>>();
            assert_eq!(at(&ints(&inserted.own)), [0, 1, 2, 3, 4, 5]);
            assert_eq!(at(&ints(&inserted.prompt)), [6, 7, 8, 6, 7, 8]);
            assert_eq!(at(&ints(longer.scored.as_ref().unwrap())), [2, 3, 5]);
            assert_eq!(ints(&longer.ids.index_select(0, &inserted.own)), ints(&batch.ids));
        }
        assert!(Batch::new(&[&row(&[1, 2], Some(3), &[1, 1])], Device::Cpu).is_err());
    }
}
