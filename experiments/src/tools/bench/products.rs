//! `lora bench products`: the best rate of matrix products on this machine, and the products that a training step needs.

use crate::config::settings::Dtype;
use crate::inputs::environment::set_threads;
use anyhow::{Result, ensure};
use clap::Args;
use lora_core::batch::{Row, Target, UNSCORED};
use lora_core::device;
use lora_core::model::ModelShape;
use lora_core::nn::{NamedParam, Owner, ParamKind, Params, Role};
use serde::Serialize;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Timed calls of each product; the fastest counts.
const REPEATS: usize = 8;

/// `lora bench products`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lora bench products --tokens 800 --hidden 768\n\nThe rate is the fastest of several calls of [T, d] x [d, 4d] and [T, 4d] x [4d, d], each by libtorch's linear and by oneDNN's, in 10^9\noperations a second; an addition and a multiplication are two. `lora bench train` compares with it the rate of a step's products,\nwhose number follows from the shapes. Forward: 2 T w for the w elements of a block's matrices, of the base and of the method, and\n4 d n^2 for the attention of a row of n tokens; a classifier's last block computes all but keys and values for one token a row;\n2 S d V for the S scored tokens of a language model; relative positions likewise. Backward: the same again for inputs wherever\nsomething below is trained (twice for attention), and once more for each trained matrix. What is recomputed or padded is not counted."
)]
pub struct ProductsArgs {
    /// Rows of the product: tokens of a batch
    #[arg(long, value_name = "T", default_value_t = 800)]
    pub tokens: i64,
    /// Width of the model
    #[arg(long, value_name = "D", default_value_t = 768)]
    pub hidden: i64,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

/// The JSON line.
#[derive(Debug, Serialize)]
pub struct ProductsReport {
    device: String,
    threads: usize,
    tokens: i64,
    hidden: i64,
    fp32_gflops: f64,
    bf16_gflops: f64,
}

/// Measures both data types.
///
/// # Errors
/// Sizes and devices that cannot be used.
pub fn measure(args: &ProductsArgs) -> Result<ProductsReport> {
    ensure!(
        args.tokens > 0 && args.hidden > 0,
        "--tokens and --hidden must be at least 1"
    );
    let threads = set_threads(args.threads)?;
    let device = device::parse(&args.device)?;
    let best = |dtype: Dtype| best_gflops(args.tokens, args.hidden, (device, dtype.kind())).round();
    Ok(ProductsReport {
        device: device::name(device),
        threads,
        tokens: args.tokens,
        hidden: args.hidden,
        fp32_gflops: best(Dtype::Fp32),
        bf16_gflops: best(Dtype::Bf16),
    })
}

/// The best rate of `[tokens, d]` x `[d, 4d]` and back, in GFLOP/s.
pub(crate) fn best_gflops(tokens: i64, d: i64, (device, kind): (Device, Kind)) -> f64 {
    let _guard = tch::no_grad_guard();
    let mut best = 0.0_f64;
    for (inputs, outputs) in [(d, 4 * d), (4 * d, d)] {
        let draw = |size: [i64; 2]| Tensor::randn(size, (Kind::Float, device)).to_kind(kind);
        let (x, w) = (draw([tokens, inputs]), draw([outputs, inputs]));
        let flop = 2.0 * (tokens * inputs * outputs) as f64;
        let plain = || x.f_linear(&w, None::<&Tensor>);
        best = best.max(fastest(device, plain).map_or(0.0, |s| flop / s));
        // A libtorch without oneDNN refuses, and so does oneDNN on a processor without the data type.
        let blocked = |t: &Tensor| t.f_to_mkldnn(None).ok().filter(|_| device == Device::Cpu);
        if let (Some(x), Some(w)) = (blocked(&x), blocked(&w)) {
            let other = || x.f_mkldnn_linear(&w, None::<&Tensor>);
            best = best.max(fastest(device, other).map_or(0.0, |s| flop / s));
        }
    }
    best / 1e9
}

/// Seconds of the fastest call, after an untimed one; none if the call fails.
fn fastest(device: Device, product: impl Fn() -> Result<Tensor, tch::TchError>) -> Option<f64> {
    let _y = product().ok()?;
    let time = |_| {
        device::synchronize(device);
        let since = Instant::now();
        let _y = product().ok()?;
        device::synchronize(device);
        Some(since.elapsed().as_secs_f64())
    };
    (0..REPEATS).filter_map(time).min_by(f64::total_cmp)
}

/// The sizes of a batch on which its products depend.
struct Sizes {
    rows: f64,
    tokens: f64,
    /// The sum of squared lengths.
    squares: f64,
    longest: i64,
    /// Products of queries with relative positions: pairs of a token and a position within reach.
    reached: f64,
    scored: f64,
}

impl Sizes {
    fn of(rows: &[&Row], shape: &ModelShape) -> Sizes {
        let sum = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
        let len = |row: &Row| row.ids.len() as f64;
        let within = |row: &Row| {
            let n = row.ids.len() as i64;
            shape.relative.as_ref().map_or(0.0, |r| (n * r.reached(n)) as f64)
        };
        let scored = |row: &Row| match &row.target {
            Target::Tokens(wanted) => wanted.iter().filter(|id| **id != UNSCORED).count() as f64,
            _ => 0.0,
        };
        Sizes {
            rows: rows.len() as f64,
            tokens: sum(&len),
            squares: sum(&|row| len(row) * len(row)),
            longest: rows.iter().map(|row| row.ids.len() as i64).max().unwrap_or(0),
            reached: sum(&within),
            scored: sum(&scored),
        }
    }
}

/// Elements of the matrices in one block.
#[derive(Default)]
struct Block {
    /// The base's.
    base: f64,
    key_value: f64,
    query: f64,
    /// The trained ones of the base.
    trained: f64,
    method: f64,
}

impl Block {
    fn of(params: &Params, shape: &ModelShape, index: i64) -> Block {
        let elements = |role| (shape.dims(role).0 * shape.dims(role).1) as f64;
        let mut block = Block {
            key_value: elements(Role::Key) + elements(Role::Value),
            query: elements(Role::Query),
            ..Block::default()
        };
        let inside = |e: &&NamedParam| e.param.depth.is_some_and(|d| d.index as i64 == index) && e.tensor.dim() > 1;
        for entry in params.iter().filter(inside) {
            let size = entry.tensor.numel() as f64;
            match entry.param.owner {
                Owner::Method => block.method += size,
                _ => block.base += size,
            }
            if entry.param.owner == Owner::Base && entry.tensor.requires_grad() {
                block.trained += size;
            }
        }
        block
    }
}

/// How far the backward pass reaches into a block.
#[derive(Clone, Copy, PartialEq)]
enum Backward {
    /// Nothing in it or below is trained.
    None,
    /// Nothing below is trained: the block's input needs no gradient.
    Lowest,
    Whole,
}

/// The matrix products that one training step on `rows` needs, in 10^9 operations: see `lora bench products --help`.
pub(crate) fn step_gflop(shape: &ModelShape, params: &Params, rows: &[&Row]) -> f64 {
    let sizes = Sizes::of(rows, shape);
    let trained = || params.trainable().filter(|e| e.param.owner != Owner::Head);
    let below = trained().any(|e| e.param.depth.is_none() && !e.param.output);
    let lowest = trained().filter_map(|e| Some(e.param.depth?.index as i64)).min();
    let lowest = lowest.unwrap_or(shape.layers);
    let block = |index: i64| {
        let backward = match index {
            _ if below || index > lowest => Backward::Whole,
            _ if index == lowest => Backward::Lowest,
            _ => Backward::None,
        };
        let first_only = shape.head_hidden.is_some() && index == shape.layers - 1;
        block_flop(&Block::of(params, shape, index), shape, &sizes, first_only, backward)
    };
    let blocks: f64 = (0..shape.layers).map(block).sum();
    (blocks + outside_flop(shape, params, &sizes)) / 1e9
}

/// Operations of one block, which computes all but keys and values for one token a row if `first_only`.
fn block_flop(block: &Block, shape: &ModelShape, sizes: &Sizes, first_only: bool, backward: Backward) -> f64 {
    let width = shape.dims(Role::Query).1 as f64;
    let (tokens, pairs, within) = if first_only {
        let width = shape.relative.as_ref().map_or(0, |r| r.reached(sizes.longest));
        (sizes.rows, sizes.tokens, sizes.rows * width as f64)
    } else {
        (sizes.tokens, sizes.squares, sizes.reached)
    };
    let matrices = |base: f64| 2.0 * (block.key_value * sizes.tokens + (base - block.key_value) * tokens);
    let relative = shape.relative.as_ref().map_or(0.0, |r| {
        let positions = r.reached(sizes.longest) as f64 * (shape.hidden as f64) * width;
        2.0 * r.terms as f64 * (positions + width * within)
    });
    let attention = 4.0 * width * pairs + relative;
    let forward = matrices(block.base) + 2.0 * block.method * tokens + attention;
    let method = 4.0 * block.method * tokens;
    let inputs = match backward {
        Backward::None => return forward,
        Backward::Lowest => 2.0 * (block.base - block.key_value - block.query) * tokens,
        Backward::Whole => matrices(block.base),
    };
    let weights = 2.0 * block.trained * tokens;
    forward + inputs + 2.0 * attention + method + weights
}

/// Operations outside the blocks: the head, a convolution, the output layer of a language model.
fn outside_flop(shape: &ModelShape, params: &Params, sizes: &Sizes) -> f64 {
    let outside = params.iter().filter(|e| e.param.depth.is_none() && e.tensor.dim() > 1);
    let matrices = outside.filter(|e| e.param.kind == ParamKind::Weight && !e.param.output);
    let of = |e: &NamedParam| {
        let size = 2.0 * e.tensor.numel() as f64;
        let passes = if e.tensor.requires_grad() { 3.0 } else { 1.0 };
        match e.param.owner {
            Owner::Head => size * sizes.rows * passes,
            _ => size * sizes.tokens * passes,
        }
    };
    let vocabulary = 2.0 * sizes.scored * (shape.hidden * shape.vocab) as f64;
    let tied = params.trainable().any(|e| e.param.output && e.tensor.dim() > 1);
    matrices.map(of).sum::<f64>() + vocabulary * if tied { 3.0 } else { 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lora_core::nn::Build;
    use lora_core::{method, model};

    /// Operations of a step on rows of 3 and 5 tokens, in units of one.
    fn flop(name: &str, method: &str) -> f64 {
        let config = model::known_config(name).unwrap();
        let (method, arch) = (method::from_yaml(method).unwrap(), model::arch(&config).unwrap());
        let build = Build::new(method.as_ref(), 0).to_count();
        let _model = match arch.build {
            Some(_) => arch.classifier(&config, 2, &build.scope()).unwrap(),
            None => arch.language_model(&config, &build.scope()).unwrap(),
        };
        let built = build.finish().unwrap();
        let row = |n: usize| Row {
            ids: vec![7; n],
            types: Vec::new(),
            prompt: None,
            target: match arch.build {
                Some(_) => Target::Class(0),
                None => Target::Tokens(vec![7; n]),
            },
        };
        let rows = [row(3), row(5)];
        let shape = (arch.shape)(&config).unwrap();
        (step_gflop(&shape, &built.params, &rows.iter().collect::<Vec<_>>()) * 1e9).round()
    }

    #[test]
    fn the_products_of_gpt2_are_those_of_its_shape() {
        let (d, tokens, squares, vocabulary) = (768.0, 8.0, 34.0, 768.0 * 50257.0);
        let block = 2.0 * 12.0 * d * d * tokens;
        let attention = 4.0 * d * squares;
        let output = 2.0 * tokens * vocabulary;
        let forward = 12.0 * (block + attention) + output;
        // Nothing below the first block's queries, keys and values is trained.
        let lora = 12.0 * 6.0 * tokens * 8.0 * (d + 3.0 * d);
        let unread = 2.0 * 3.0 * d * d * tokens;
        let wanted = forward + 12.0 * (block + 2.0 * attention) - unread + output + lora;
        assert_eq!(flop("gpt2", "{kind: lora, r: 8, alpha: 8, targets: [qkv]}"), wanted);
        let full = forward + 12.0 * (2.0 * block + 2.0 * attention) + 2.0 * output;
        assert_eq!(flop("gpt2", "{kind: full}"), full);
    }

    #[test]
    fn a_classifiers_last_block_is_computed_for_first_tokens() {
        let (d, tokens, squares, rows) = (768.0, 8.0, 34.0, 2.0);
        let block = 2.0 * 12.0 * d * d * tokens + 4.0 * d * squares;
        let last = 2.0 * (2.0 * d * d * tokens + 10.0 * d * d * rows) + 4.0 * d * tokens;
        let head = 3.0 * 2.0 * rows * (d * d + 2.0 * d);
        assert_eq!(flop("roberta-base", "{kind: head}"), 11.0 * block + last + head);
    }

    #[test]
    fn products_have_a_rate() {
        let rate = best_gflops(8, 16, (Device::Cpu, Kind::Float));
        assert!(rate > 0.0 && rate.is_finite(), "{rate}");
    }
}
