//! Seeds derived from their purpose, independent of the order in which things are built.

use sha2::{Digest, Sha256};

/// A seed for the `n`-th use of `purpose` in a run: a hash of the three, the same on every machine and in every build.
pub fn derive(seed: u64, purpose: &str, n: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(n.to_le_bytes());
    hash.update(purpose.as_bytes());
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |acc, byte| acc << 8 | u64::from(*byte))
}

/// Seeds all random generators of a training step. Step `n` of a run draws the same numbers whether or not the run was
/// interrupted before it, so a checkpoint needs no generator state.
pub fn seed_step(seed: u64, step: u64) {
    let seed = derive(seed, "step", step);
    tch::manual_seed(seed as i64);
    crate::nn::seed_dropout(seed);
}

#[cfg(test)]
mod tests {
    use super::derive;

    #[test]
    fn seeds_are_stable_and_distinct() {
        assert_eq!(derive(1, "a", 2), derive(1, "a", 2));
        let all = [
            derive(1, "a", 2),
            derive(2, "a", 2),
            derive(1, "b", 2),
            derive(1, "a", 3),
        ];
        for (i, x) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|y| x != y));
        }
    }
}
