//! What a sweep asks Slurm for: the keys of `slurm:`.

use anyhow::{Result, ensure};
use serde::{Deserialize, Deserializer};
use serde_yaml::Value;

/// The keys of `slurm:`. What is absent is left to the cluster's own defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlurmConfig {
    /// `--partition`.
    #[serde(deserialize_with = "word")]
    pub partition: Option<String>,
    /// `--account`.
    #[serde(deserialize_with = "word")]
    pub account: Option<String>,
    /// `--qos`.
    #[serde(deserialize_with = "word")]
    pub qos: Option<String>,
    /// `--time` of one worker. A run that needs longer goes on after its worker is queued again.
    #[serde(deserialize_with = "word")]
    pub time: Option<String>,
    /// `--gres`, such as `gpu:1`.
    #[serde(deserialize_with = "word")]
    pub gres: Option<String>,
    /// `--constraint`.
    #[serde(deserialize_with = "word")]
    pub constraint: Option<String>,
    /// `--mem`, such as `16G`.
    #[serde(deserialize_with = "word")]
    pub mem: Option<String>,
    /// `--cpus-per-task`, and the threads of a run, or of each of its ranks.
    pub cpus: usize,
    /// The processes that compute each run together: `--ntasks`.
    pub ranks: usize,
    /// The nodes over which the ranks of a worker are spread: `--nodes`.
    pub nodes: usize,
    /// The value of srun's `--mpi`, such as `pmix`, where srun starts the ranks; without it mpirun does.
    #[serde(deserialize_with = "word")]
    pub mpi: Option<String>,
    /// The largest number of tasks of one array (`scontrol show config` prints the cluster's as MaxArraySize); more workers make
    /// several arrays.
    pub array_limit: usize,
    /// The largest number of workers of an array that run at once.
    pub at_once: Option<usize>,
    /// Seconds before the end of `time` at which a worker writes its checkpoint and is queued again.
    pub warning: u64,
    /// Further options of sbatch, such as `--exclude=n7`: one `#SBATCH` line each.
    pub extra: Vec<String>,
    /// Lines of shell before the program, such as `module load cuda`.
    pub setup: Vec<String>,
}

impl Default for SlurmConfig {
    fn default() -> SlurmConfig {
        SlurmConfig {
            partition: None,
            account: None,
            qos: None,
            time: None,
            gres: None,
            constraint: None,
            mem: None,
            cpus: 1,
            ranks: 1,
            nodes: 1,
            mpi: None,
            array_limit: 1000,
            at_once: None,
            warning: 120,
            extra: Vec::new(),
            setup: Vec::new(),
        }
    }
}

impl SlurmConfig {
    /// The options of sbatch that name a value, as (option, value).
    pub fn options(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("time", &self.time),
            ("gres", &self.gres),
            ("constraint", &self.constraint),
            ("mem", &self.mem),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)));
        given.collect()
    }

    /// Refuses values that cannot be used.
    ///
    /// # Errors
    /// The setting, its value, and what it must be.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [
            ("cpus", self.cpus),
            ("ranks", self.ranks),
            ("nodes", self.nodes),
            ("array_limit", self.array_limit),
            ("at_once", self.at_once.unwrap_or(1)),
        ] {
            ensure!(
                (1..=1 << 20).contains(&value),
                "`slurm.{key}` is {value}; it must be from 1 to {}",
                1 << 20
            );
        }
        ensure!(
            self.nodes <= self.ranks,
            "`slurm.nodes` is {}, more than the ranks of a worker, `slurm.ranks` {}: each node has at least one of them",
            self.nodes,
            self.ranks
        );
        ensure!(
            self.ranks > 1 || self.mpi.is_none(),
            "`slurm.mpi` says how several ranks are started, and `slurm.ranks` is 1"
        );
        // A value stands in a line of the batch script, where another line would be another command.
        let lines = self.extra.iter().map(|line| ("extra", line.as_str()));
        let lines = lines.chain(self.setup.iter().map(|line| ("setup", line.as_str())));
        let mpi = self.mpi.as_deref().map(|value| ("mpi", value));
        for (key, value) in self.options().into_iter().chain(mpi).chain(lines) {
            ensure!(
                !value.contains(['\n', '\r', '\0']),
                "`slurm.{key}` must be one line; {value:?} is more"
            );
        }
        for (key, value) in self.options().into_iter().chain(mpi) {
            ensure!(
                !value.is_empty() && !value.contains(char::is_whitespace),
                "`slurm.{key}` must be one word; it is {value:?}"
            );
        }
        for line in &self.extra {
            ensure!(
                line.starts_with("--"),
                "`slurm.extra` holds {line:?}; each entry must be an option of sbatch, such as --exclude=n7"
            );
        }
        Ok(())
    }
}

/// A word or a number.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(word) => Ok(Some(word)),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(serde::de::Error::custom("`slurm`: expected a word or a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> SlurmConfig {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn words_and_numbers_are_options() {
        let config = read("{partition: gpu, time: 90, mem: 16G, gres: null, cpus: 4}");
        config.validate().unwrap();
        assert_eq!(config.options(), [("partition", "gpu"), ("time", "90"), ("mem", "16G")]);
    }

    #[test]
    fn no_value_is_a_line_of_its_own() {
        for (yaml, said) in [
            ("{partition: \"a\\nrm -rf /\"}", "`slurm.partition` must be one line"),
            ("{time: \"1 2\"}", "`slurm.time` must be one word"),
            ("{extra: [\"exclude=n7\"]}", "must be an option of sbatch"),
            ("{setup: [\"a\\nb\"]}", "`slurm.setup` must be one line"),
            ("{cpus: 0}", "`slurm.cpus` is 0"),
            ("{nodes: 0}", "`slurm.nodes` is 0"),
            ("{ranks: 2, nodes: 3}", "`slurm.nodes` is 3, more than"),
            ("{mpi: pmix}", "`slurm.ranks` is 1"),
            ("{ranks: 2, mpi: \"pmix; rm\"}", "`slurm.mpi` must be one word"),
            ("{array_limit: 0}", "`slurm.array_limit` is 0"),
        ] {
            let error = read(yaml).validate().unwrap_err().to_string();
            assert!(error.contains(said), "{yaml}: {error}");
        }
        assert!(
            serde_yaml::from_str::<SlurmConfig>("{cpu: 1}")
                .unwrap_err()
                .to_string()
                .contains("cpus")
        );
    }
}
