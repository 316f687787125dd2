//! The key/value cache of generation: each new token costs one token's work.

use super::{native, native_decode};
use crate::batch::Batch;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// One block's keys and values.
#[derive(Debug)]
struct LayerCache {
    /// Of the prompts, `[B, H, W, d / H]` with H key/value heads; the beams of a prompt share them.
    read: (Tensor, Tensor),
    /// Of the generated tokens, `[capacity, B * beams, d]` with d features over those heads; the first
    /// [`KvCache::written`] entries are filled.
    own: (Tensor, Tensor),
}

impl LayerCache {
    /// Doubles the capacity if there is no room for a token at `at`.
    fn reserve(&mut self, at: i64) {
        for own in [&mut self.own.0, &mut self.own.1] {
            if at == own.size()[0] {
                *own = Tensor::cat(&[&*own, &own.empty_like()], 0);
            }
        }
    }

    /// Stores the keys and values `[B * beams, d]` of one token at `at`.
    fn write(&mut self, at: i64, k: &Tensor, v: &Tensor) {
        self.own.0.get(at).copy_(k);
        self.own.1.get(at).copy_(v);
    }
}

/// The beams of its prompt in which each row's tokens were generated: beams are reordered here, while their keys and
/// values stay where they are, and are read from there (`native/decode.cpp`).
#[derive(Debug)]
struct Lineage {
    /// Filled columns of each prompt's keys.
    reach: Vec<i64>,
    beams: usize,
    /// `[rows, capacity]`.
    table: Vec<i32>,
    capacity: usize,
}

impl Lineage {
    fn new(reach: Vec<i64>, beams: usize) -> Lineage {
        let mut lineage = Lineage {
            table: vec![0; reach.len() * beams * ROOM as usize],
            reach,
            beams,
            capacity: ROOM as usize,
        };
        lineage.begin(0);
        lineage
    }

    /// Lets every row write its token number `at` itself.
    fn begin(&mut self, at: usize) {
        if at == self.capacity {
            let longer = |row: &[i32]| [row, row].concat();
            self.table = self.table.chunks(self.capacity).flat_map(longer).collect();
            self.capacity *= 2;
        }
        for (i, row) in self.table.chunks_mut(self.capacity).enumerate() {
            row[at] = (i % self.beams) as i32;
        }
    }

    /// Lets row i continue row `parents[i]`, which have `written` tokens.
    fn reorder(&mut self, parents: &[i64], written: usize) {
        let before = self.table.clone();
        for (row, parent) in self.table.chunks_mut(self.capacity).zip(parents) {
            let start = *parent as usize * self.capacity;
            row[..written].copy_from_slice(&before[start..start + written]);
        }
    }

    fn keep(&mut self, prompts: &[i64]) {
        let of_prompt = self.beams * self.capacity;
        let rows = |p: &i64| &self.table[*p as usize * of_prompt..(*p as usize + 1) * of_prompt];
        self.table = prompts.iter().flat_map(rows).copied().collect();
        self.reach = prompts.iter().map(|p| self.reach[*p as usize]).collect();
    }
}

/// Initial capacity in tokens.
const ROOM: i64 = 16;

/// The cache of a batch of B prompts, each continued by `beams` adjacent rows.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    /// Added to the scores of prompt tokens: -inf beyond a prompt's end, `[B, 1, 1, W]`. None if all prompts have the
    /// same length.
    mask: Option<Tensor>,
    /// Where attention is computed by `native/`.
    lineage: Option<Lineage>,
    /// Tokens of each prompt.
    lengths: Vec<i64>,
    /// Position of the first generated token of each row, `[B * beams]`.
    next: Tensor,
    beams: i64,
    written: i64,
}

impl KvCache {
    /// An empty cache for the prompts of `batch`; [`super::Attention::prefill`] fills it block by block.
    pub fn new(batch: &Batch, beams: i64) -> KvCache {
        let lengths = Tensor::from_slice(&batch.lengths).to_device(batch.ids.device());
        KvCache {
            layers: Vec::new(),
            mask: batch.layout.mask.as_ref().map(Tensor::shallow_clone),
            lineage: None,
            lengths: batch.lengths.clone(),
            next: lengths.repeat_interleave_self_int(beams, 0, None),
            beams,
            written: 0,
        }
    }

    /// Generated tokens per row so far.
    pub fn written(&self) -> i64 {
        self.written
    }

    /// Position of the next token of each row, `[B * beams]`.
    pub fn positions(&self) -> Tensor {
        &self.next + self.written
    }

    /// Counts a token once all blocks have stored it.
    pub fn advance(&mut self) {
        self.written += 1;
        if let Some(lineage) = &mut self.lineage {
            lineage.begin(self.written as usize);
        }
    }

    /// Stores the prompts' keys and values of the next block, `[B, H, W, d / H]`, with a method's own before them.
    pub(super) fn push(&mut self, keys: &Tensor, values: &Tensor) {
        let (size, options) = (keys.size(), (keys.kind(), keys.device()));
        if let Some(mask) = &self.mask {
            self.mask = Some(mask.constant_pad_nd([size[2] - mask.size()[3], 0]));
        }
        if self.layers.is_empty() && native::takes(keys) {
            let before = size[2] - self.lengths.iter().copied().max().unwrap_or(0);
            let reach = self.lengths.iter().map(|len| len + before).collect();
            self.lineage = Some(Lineage::new(reach, self.beams as usize));
        }
        let own = || Tensor::empty([ROOM, size[0] * self.beams, size[1] * size[3]], options);
        let layer = LayerCache {
            own: (own(), own()),
            read: (keys.contiguous(), values.contiguous()),
        };
        self.layers.push(layer);
    }

    /// Replaces row `i` by row `parents[i]`, which must belong to the same prompt.
    ///
    /// # Errors
    /// [`Error::Torch`], [`Error::OutOfMemory`].
    pub fn reorder(&mut self, parents: &[i64]) -> Result<()> {
        if self.written == 0 || parents.iter().enumerate().all(|(i, p)| i as i64 == *p) {
            return Ok(());
        }
        if let Some(lineage) = &mut self.lineage {
            lineage.reorder(parents, self.written as usize);
            return Ok(());
        }
        let failed = || Error::torch("reordering beams");
        let parents = self.index(parents);
        for layer in &self.layers {
            for own in [&layer.own.0, &layer.own.1] {
                let mut written = own.narrow(0, 0, self.written);
                let moved = written.f_index_select(1, &parents).map_err(failed())?;
                written.f_copy_(&moved).map_err(failed())?;
            }
        }
        Ok(())
    }

    /// Keeps these prompts with their rows and drops the others.
    ///
    /// # Errors
    /// [`Error::Torch`], [`Error::OutOfMemory`].
    pub fn keep(&mut self, prompts: &[i64]) -> Result<()> {
        let beams = self.beams;
        if let Some(lineage) = &mut self.lineage {
            lineage.keep(prompts);
        }
        let rows: Vec<i64> = prompts.iter().flat_map(|p| p * beams..(p + 1) * beams).collect();
        let (prompts, rows) = (self.index(prompts), self.index(&rows));
        let select = |t: &Tensor, dim, index: &Tensor| {
            t.f_index_select(dim, index)
                .map_err(Error::torch("dropping finished prompts"))
        };
        for layer in &mut self.layers {
            for read in [&mut layer.read.0, &mut layer.read.1] {
                *read = select(read, 0, &prompts)?;
            }
            for own in [&mut layer.own.0, &mut layer.own.1] {
                *own = select(own, 1, &rows)?;
            }
        }
        self.next = select(&self.next, 0, &rows)?;
        if let Some(mask) = &self.mask {
            self.mask = Some(select(mask, 0, &prompts)?);
        }
        Ok(())
    }

    fn index(&self, values: &[i64]) -> Tensor {
        Tensor::from_slice(values).to_device(self.next.device())
    }

    /// See [`super::Attention::decode`].
    pub(super) fn attend(&mut self, [all, heads]: [i64; 2], [q, k, v]: [&Tensor; 3], layer: usize) -> Tensor {
        let (rows, dim) = (q.size()[0], q.size()[1]);
        let (beams, width, group) = (self.beams, dim / all, all / heads);
        let (at, count) = (self.written, self.written + 1);
        self.layers[layer].reserve(at);
        if let Some(lineage) = &self.lineage {
            let LayerCache { read, own } = &self.layers[layer];
            let cached = native_decode::Cached {
                prompts: [&read.0, &read.1],
                own: [&own.0, &own.1],
                reach: &lineage.reach,
                table: &lineage.table,
                table_step: lineage.capacity,
                beams,
                heads: all,
                kv_heads: heads,
                written: at,
            };
            return native_decode::attend(&cached, [q, k, v]);
        }
        self.layers[layer].write(at, k, v);
        let layer = &self.layers[layer];
        // [rows, H, count, d / H], without a copy
        let own = |t: &Tensor| {
            t.narrow(0, 0, count)
                .view([count, rows, heads, width])
                .permute([1, 2, 0, 3])
        };
        // [rows * H * G * n] to [B, H, beams * G, n], and back to [rows, H, G, n]
        let by_prompt = |t: &Tensor, n: i64| {
            let apart = t.reshape([-1, beams, heads, group, n]).transpose(1, 2);
            apart.reshape([-1, heads, beams * group, n])
        };
        let by_row = |t: &Tensor, n: i64| {
            let apart = t.reshape([-1, heads, beams, group, n]).transpose(1, 2);
            apart.reshape([rows, heads, group, n])
        };

        let q = q * (1.0 / (width as f64).sqrt());
        let read = by_prompt(&q, width).matmul(&layer.read.0.transpose(-2, -1)); // [B, H, beams * G, W]
        let read = match &self.mask {
            Some(mask) => read + mask.to_kind(q.kind()),
            None => read,
        };
        let written = q
            .view([rows, heads, group, width])
            .matmul(&own(&layer.own.0).transpose(-2, -1)); // [rows, H, G, count]
        let reach = read.size()[3];
        let scores = Tensor::cat(&[read, by_prompt(&written, count)], -1);
        let p = scores.softmax(-1, Kind::Float).to_kind(q.kind());
        let read = p.narrow(-1, 0, reach).matmul(&layer.read.1); // [B, H, beams * G, d / H]
        let written = by_row(&p.narrow(-1, reach, count), count);
        let written = written.matmul(&own(&layer.own.1)); // [rows, H, G, d / H]
        by_row(&read, width).reshape([rows, dim]) + written.reshape([rows, dim])
    }
}
