//! The processes that mpirun or srun has started together, which compute each run as its ranks.

use crate::config::slurm::SlurmConfig;
use anyhow::{Result, ensure};
use lora_core::train::{Alone, Ranks};
use std::env;

/// This process and those that were started with it.
pub struct World(Box<dyn Ranks>);

impl World {
    /// Joins the other processes, if there are any.
    ///
    /// # Errors
    /// Several processes and a program without MPI; an MPI that cannot be started.
    pub fn join() -> Result<World> {
        match announced() {
            0 | 1 => Ok(World(Box::new(Alone))),
            several => by_mpi::join(several).map(World),
        }
    }

    /// All of them.
    pub fn ranks(&self) -> &dyn Ranks {
        self.0.as_ref()
    }
}

/// Refuses to be one of several ranks, for a program that would do everything as many times.
///
/// # Errors
/// There are several.
pub fn refuse_several() -> Result<()> {
    let several = announced();
    ensure!(
        several <= 1,
        "started as one of {several} ranks, which only experiments can share: start this program without mpirun or srun"
    );
    Ok(())
}

/// Refuses jobs of Slurm whose ranks this program cannot be.
///
/// # Errors
/// A program without MPI; ranks on GPUs.
pub fn refuse_ranks(slurm: &SlurmConfig, device: &str) -> Result<()> {
    let ranks = slurm.ranks;
    ensure!(
        ranks == 1 || cfg!(feature = "mpi"),
        "`slurm.ranks` is {ranks}, and this program was built without MPI: build it with `--features mpi` (docs/cluster.md)"
    );
    ensure!(
        ranks == 1 || device == "cpu",
        "`slurm.ranks` is {ranks}: ranks compute on the CPU, where MPI sums their gradients: say --device cpu, or leave each run to one process"
    );
    Ok(())
}

/// The number of ranks that the launcher announces: mpirun of Open MPI or MPICH, or srun with PMI2 or PMIx.
fn announced() -> usize {
    let number = |name: &str| env::var(name).ok()?.parse().ok();
    let of_srun = || {
        env::var_os("PMIX_RANK")
            .is_some()
            .then(|| number("SLURM_STEP_NUM_TASKS"))?
    };
    number("OMPI_COMM_WORLD_SIZE")
        .or_else(|| number("PMI_SIZE"))
        .or_else(of_srun)
        .unwrap_or(1)
}

#[cfg(not(feature = "mpi"))]
mod by_mpi {
    use anyhow::{Result, bail};
    use lora_core::train::Ranks;

    pub(super) fn join(several: usize) -> Result<Box<dyn Ranks>> {
        bail!(
            "started as one of {several} ranks, and this program was built without MPI: build it with `--features mpi` (docs/cluster.md), or start it alone"
        )
    }
}

#[cfg(feature = "mpi")]
mod by_mpi {
    use anyhow::{Context, Result, ensure};
    use lora_core::Error;
    use lora_core::train::Ranks;
    use mpi::Threading;
    use mpi::collective::SystemOperation;
    use mpi::datatype::PartitionMut;
    use mpi::environment::Universe;
    use mpi::topology::SimpleCommunicator;
    use mpi::traits::{Communicator, CommunicatorCollectives, Root};
    use std::fmt;

    /// Numbers summed at once: what MPI is handed a copy of.
    const CHUNK: usize = 4 << 20;

    /// Bytes sent at once, less than MPI can count.
    const MOST: usize = 1 << 30;

    /// The ranks of MPI's world. MPI ends the program where its ranks cannot reach each other, so no call returns an error.
    struct Mpi {
        /// Ends MPI when it is dropped.
        _universe: Universe,
        rank: usize,
        size: usize,
    }

    /// Joins `several` ranks.
    pub(super) fn join(several: usize) -> Result<Box<dyn Ranks>> {
        let started = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = started.context("MPI was started twice")?;
        ensure!(
            threading >= Threading::Serialized,
            "this MPI takes calls from one thread only"
        );
        let world = world();
        let (rank, size) = (usize::try_from(world.rank())?, usize::try_from(world.size())?);
        ensure!(
            size == several,
            "started as one of {several} ranks, and MPI knows {size}: the launcher is of another MPI than the one that this program was built with"
        );
        Ok(Box::new(Mpi {
            _universe: universe,
            rank,
            size,
        }))
    }

    fn world() -> SimpleCommunicator {
        SimpleCommunicator::world()
    }

    impl fmt::Debug for Mpi {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "rank {} of {}", self.rank, self.size)
        }
    }

    impl Drop for Mpi {
        fn drop(&mut self) {
            // MPI's end waits for the other ranks, which know nothing of this one's panic.
            if std::thread::panicking() {
                world().abort(1);
            }
        }
    }

    impl Ranks for Mpi {
        fn rank(&self) -> usize {
            self.rank
        }

        fn size(&self) -> usize {
            self.size
        }

        fn all_reduce_sum(&self, values: &mut [f32]) -> lora_core::Result<()> {
            for chunk in values.chunks_mut(CHUNK) {
                let own = chunk.to_vec();
                world().all_reduce_into(own.as_slice(), chunk, SystemOperation::sum());
            }
            Ok(())
        }

        fn all_gather(&self, own: &[u8]) -> lora_core::Result<Vec<Vec<u8>>> {
            let mut lengths = vec![0u64; self.size];
            world().all_gather_into(&(own.len() as u64), lengths.as_mut_slice());
            let total: u64 = lengths.iter().sum();
            if total > MOST as u64 {
                let what = format!("{total} bytes are more than ranks can gather at once");
                return Err(Error::Ranks(what));
            }
            if total == 0 {
                return Ok(vec![Vec::new(); self.size]);
            }
            // The address of nothing, 1, is Open MPI's constant for "in place".
            let own = if own.is_empty() { &[0][..0] } else { own };
            let counts: Vec<i32> = lengths.iter().map(|length| *length as i32).collect();
            let starts: Vec<i32> = counts
                .iter()
                .scan(0, |at, count| {
                    *at += count;
                    Some(*at - count)
                })
                .collect();
            let mut all = vec![0u8; total as usize];
            let mut parts = PartitionMut::new(all.as_mut_slice(), counts, starts);
            world().all_gather_varcount_into(own, &mut parts);
            let mut rest = all.as_slice();
            Ok(lengths
                .iter()
                .map(|length| {
                    let (part, after) = rest.split_at(*length as usize);
                    rest = after;
                    part.to_vec()
                })
                .collect())
        }

        fn broadcast(&self, bytes: &mut Vec<u8>) -> lora_core::Result<()> {
            let world = world();
            let first = world.process_at_rank(0);
            let mut length = bytes.len() as u64;
            first.broadcast_into(&mut length);
            bytes.resize(length as usize, 0);
            for chunk in bytes.chunks_mut(MOST) {
                first.broadcast_into(chunk);
            }
            Ok(())
        }

        fn abort(&self, why: &str) -> ! {
            eprintln!("error: rank {}: {why}", self.rank);
            world().abort(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_several_ranks_need_mpi_and_a_cpu() {
        let of = |ranks: usize, device: &str| {
            let slurm = serde_yaml::from_str(&format!("{{ranks: {ranks}}}")).unwrap();
            refuse_ranks(&slurm, device).map_err(|error| error.to_string())
        };
        assert_eq!(of(1, "auto"), Ok(()));
        let refused = of(2, "cuda").unwrap_err();
        if cfg!(feature = "mpi") {
            assert_eq!(of(2, "cpu"), Ok(()));
            assert!(refused.contains("say --device cpu"), "{refused}");
        } else {
            assert!(refused.contains("built without MPI"), "{refused}");
        }
    }
}
