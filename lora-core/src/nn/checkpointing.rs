//! Activation checkpointing (Chen et al., 2016): only the input of each block is stored, and the activations inside are
//! recomputed in the backward pass.

use super::dropout::Masks;
use crate::seed::derive;
use std::cell::{Cell, RefCell};
use std::fmt;
use tch::{Device, Tensor};

/// The blocks of a forward pass, recorded for a backward pass that recomputes them; off outside training.
///
/// The result equals that of an ordinary training pass, dropout included. On a GPU, whose random generator can be
/// seeded but not read, every block has its own seed in both kinds of pass.
///
/// ```
/// use lora_core::nn::ActivationCheckpointing;
/// use tch::{Kind, Tensor};
/// let w = Tensor::from_slice(&[2f32, 3.]).set_requires_grad(true);
/// let checkpointing = ActivationCheckpointing::training(1, true);
/// let mut x = Tensor::from_slice(&[1f32, 1.]);
/// for _block in 0..3 {
///     x = checkpointing.run(&x, |x| (x * &w).tanh());
/// }
/// x.sum(Kind::Float).backward();
/// checkpointing.backward();
/// assert!(w.grad().defined());
/// ```
pub struct ActivationCheckpointing<'m> {
    /// Base of the blocks' seeds on a GPU; none outside training.
    seed: Option<u64>,
    /// Whether blocks are recomputed.
    recompute: bool,
    /// Number of blocks run so far.
    index: Cell<usize>,
    blocks: RefCell<Vec<Block<'m>>>,
}

impl fmt::Debug for ActivationCheckpointing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActivationCheckpointing of {} blocks", self.blocks.borrow().len())
    }
}

struct Block<'m> {
    compute: Box<dyn Fn(&Tensor) -> Tensor + 'm>,
    /// The block's input with its graph.
    source: Tensor,
    /// The input detached from that graph; collects its gradient.
    input: Tensor,
    /// The block's output, detached from the block.
    output: Tensor,
    masks: Masks,
}

impl<'m> ActivationCheckpointing<'m> {
    /// For evaluation: [`ActivationCheckpointing::run`] only calls its function.
    pub fn off() -> Self {
        ActivationCheckpointing {
            seed: None,
            recompute: false,
            index: Cell::default(),
            blocks: RefCell::default(),
        }
    }

    /// For a training pass that recomputes blocks if `recompute`. `seed` must differ between passes.
    pub fn training(seed: u64, recompute: bool) -> Self {
        ActivationCheckpointing {
            seed: Some(seed),
            recompute,
            ..ActivationCheckpointing::off()
        }
    }

    /// The output of `compute` for `x`. Any other tensor that `compute` reads must be a variable or a constant, since
    /// the graph of `x` is traversed only once.
    pub fn run(&self, x: &Tensor, compute: impl Fn(&Tensor) -> Tensor + 'm) -> Tensor {
        self.seed_block(self.index.replace(self.index.get() + 1), x.device());
        if !self.recompute {
            return compute(x);
        }
        let input = x.detach();
        let masks = Masks::now();
        let output = {
            let _guard = tch::no_grad_guard();
            compute(&input)
        };
        let output = output.set_requires_grad(true);
        self.blocks.borrow_mut().push(Block {
            compute: Box::new(compute),
            source: x.shallow_clone(),
            input: input.set_requires_grad(true),
            output: output.shallow_clone(),
            masks,
        });
        output
    }

    /// The backward pass through the blocks. The backward pass of the loss must have run, down to the last block's
    /// output.
    pub fn backward(self) {
        let mut blocks = std::mem::take(&mut *self.blocks.borrow_mut());
        while let Some(block) = blocks.pop() {
            let gradient = block.output.grad();
            if !gradient.defined() {
                continue;
            }
            self.seed_block(blocks.len(), block.input.device());
            block.masks.restore();
            backpropagate(&(block.compute)(&block.input), &gradient);
            let gradient = block.input.grad();
            if block.source.requires_grad() && gradient.defined() {
                backpropagate(&block.source, &gradient);
            }
        }
    }

    fn seed_block(&self, index: usize, device: Device) {
        if let (Some(seed), true) = (self.seed, device != Device::Cpu) {
            tch::manual_seed(block_seed(seed, index) as i64);
        }
    }
}

/// The seed of block `index` in the pass with `seed`.
fn block_seed(seed: u64, index: usize) -> u64 {
    derive(seed, "block", index as u64)
}

/// Backpropagates `gradient` from `y`, as the gradient of sum(y · gradient).
fn backpropagate(y: &Tensor, gradient: &Tensor) {
    if y.requires_grad() {
        (y * gradient.detach()).sum(y.kind()).backward();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{dropout, seed_dropout};
    use tch::Kind;

    /// The gradients of three blocks with dropout: of a trained embedding, a weight, and a variable between the blocks.
    fn gradients(checkpointing: ActivationCheckpointing) -> Vec<Tensor> {
        seed_dropout(3);
        let variable = |n: f64| {
            (Tensor::arange(6, (Kind::Float, Device::Cpu)) * n)
                .sin()
                .view([2, 3])
                .set_requires_grad(true)
        };
        let (table, weight, between) = (variable(0.3), variable(0.7), variable(1.1));
        {
            let weight = &weight;
            let (mut x, checkpointing) = (&table * 2.0, checkpointing);
            for _block in 0..3 {
                let y = checkpointing.run(&x, {
                    let weight = weight.shallow_clone();
                    move |x| dropout(&(x * &weight).tanh(), 0.4, true) + x
                });
                x = y + &between;
            }
            x.square().sum(Kind::Float).backward();
            checkpointing.backward();
        }
        [table, weight, between].map(|t| t.grad()).into()
    }

    #[test]
    fn every_run_pass_and_block_has_its_own_masks() {
        let seeds = |run| (0..5).flat_map(move |pass| (0..5).map(move |block| (run, pass, block)));
        let seeds = (1..=5u64).flat_map(seeds);
        let seeds = seeds.map(|(run, pass, block)| block_seed(derive(run, "blocks", pass), block));
        let apart: std::collections::BTreeSet<u64> = seeds.collect();
        assert_eq!(apart.len(), 125);
    }

    #[test]
    fn gradients_equal_those_of_an_ordinary_pass() {
        let (plain, recomputed) = (
            gradients(ActivationCheckpointing::off()),
            gradients(ActivationCheckpointing::training(1, true)),
        );
        for (a, b) in plain.iter().zip(&recomputed) {
            assert!(f64::try_from((a - b).abs().max()).unwrap() < 1e-6, "{a:?} {b:?}");
        }
        assert!(plain.iter().all(|g| f64::try_from(g.abs().max()).unwrap() > 0.0));
    }
}
