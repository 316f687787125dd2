//! TensorBoard's event files: `OUT/tensorboard/TASK-METHOD-sSEED-ID/events.out.tfevents.*`, for
//! `tensorboard --logdir OUT/tensorboard`.
//!
//! A file is a row of TFRecords (length, its checksum, data, their checksum), the data protobuf messages of
//! tensorflow/core/util/event.proto and framework/summary.proto; of these only the fields that are used stand here.

use crate::news::{Listener, News};
use crate::plan::Planned;
use lora_core::train::Event as Training;
use prost::Message;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1 is START: what was logged before from the event's step on is void.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The checksum of TFRecords: CRC-32C, rotated and shifted.
fn masked_crc(bytes: &[u8]) -> u32 {
    const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// One event file. Each record is one write, so that a killed run leaves at most its last record torn.
#[derive(Debug)]
struct EventFile(File);

impl EventFile {
    /// A new file in `folder` that voids what older ones there say of the steps from `from` on.
    fn create(folder: &Path, from: u64) -> std::io::Result<EventFile> {
        std::fs::create_dir_all(folder)?;
        // Readers take the files of a folder in the order of their names.
        let now = chrono::Utc::now().format("%s.%9f");
        let path = folder.join(format!("events.out.tfevents.{now}.{}", std::process::id()));
        let mut file = EventFile(File::create_new(path)?);
        let version = Some("brain.Event:2".into());
        file.put(Event {
            file_version: version,
            ..Event::default()
        })?;
        file.put(Event {
            step: from as i64,
            session_log: Some(SessionLog { status: 1 }),
            ..Event::default()
        })?;
        Ok(file)
    }

    fn put(&mut self, mut event: Event) -> std::io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        event.wall_time = now.unwrap_or_default().as_secs_f64();
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let (head, tail) = (masked_crc(&length).to_le_bytes(), masked_crc(&data).to_le_bytes());
        self.0.write_all(&[&length[..], &head, &data, &tail].concat())
    }
}

/// The event files of one run.
#[derive(Debug)]
struct Log {
    folder: PathBuf,
    /// Opened when there is something to write.
    file: Option<EventFile>,
    /// The step from which on older files are void.
    from: u64,
    /// Tokens and seconds at the last look; none right after a resumption.
    last: Option<(u64, f64)>,
}

impl Log {
    fn new(folder: PathBuf) -> Log {
        Log {
            folder,
            file: None,
            from: 0,
            last: Some((0, 0.0)),
        }
    }

    fn training(&mut self, event: &Training) -> std::io::Result<()> {
        match event {
            Training::Resumed(step) => (self.from, self.last) = (step + 1, None),
            Training::Progress {
                step,
                loss,
                lr,
                tokens,
                seconds,
                ..
            } => {
                let mut values = vec![("train/loss", *loss), ("train/lr", *lr)];
                let rate = self.last.map(|(t, s)| (tokens - t) as f64 / (seconds - s));
                values.extend(rate.filter(|r| r.is_finite()).map(|r| ("train/tokens_per_second", r)));
                self.last = Some((*tokens, *seconds));
                self.scalars(*step, values.into_iter())?;
            }
            Training::Epoch(eval) => {
                let defined = eval
                    .metrics
                    .iter()
                    .filter_map(|(name, value)| Some((name.as_str(), (*value)?)));
                self.scalars(eval.step, defined)?;
            }
        }
        Ok(())
    }

    fn scalars<'a>(&mut self, step: u64, values: impl Iterator<Item = (&'a str, f64)>) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(EventFile::create(&self.folder, self.from)?),
        };
        let scalar = |(tag, value): (&str, f64)| Scalar {
            tag: tag.into(),
            simple_value: Some(value as f32),
        };
        let summary = Some(Summary {
            values: values.map(scalar).collect(),
        });
        file.put(Event {
            step: step as i64,
            summary,
            ..Event::default()
        })
    }
}

/// Writes the event files. Where that fails the first time it warns; the run goes on without.
#[derive(Debug)]
pub struct TensorBoard {
    dir: PathBuf,
    log: Option<Log>,
    warned: bool,
}

impl TensorBoard {
    /// Below the folder `out`.
    pub fn new(out: &Path) -> TensorBoard {
        TensorBoard {
            dir: out.join("tensorboard"),
            log: None,
            warned: false,
        }
    }

    fn training(&mut self, event: &Training) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.training(event) {
            if !self.warned {
                tracing::warn!(
                    "{}: {error}; the run goes on without TensorBoard's files",
                    log.folder.display()
                );
            }
            (self.log, self.warned) = (None, true);
        }
    }
}

impl Listener for TensorBoard {
    fn hear(&mut self, news: &News) {
        match news {
            News::Started(run) => self.log = Some(Log::new(self.dir.join(folder(run)))),
            News::Training(_, event) => self.training(event),
            News::Ended(..) | News::Interrupted(..) => self.log = None,
            News::Plan { .. } | News::Elsewhere { .. } | News::Tables { .. } => {}
        }
    }
}

/// `mrpc-lora-s1-0123456789abcdef`.
fn folder(run: &Planned) -> String {
    let config = &run.config;
    // A method's name is the user's own and may hold anything.
    let method = config
        .method_name
        .replace(|c: char| !c.is_alphanumeric() && c != '-', "_");
    format!("{}-{method}-s{}-{}", config.task, config.seed, run.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lora_core::train::Eval;

    /// Every event of every file in the order that TensorBoard reads them; panics at a wrong checksum or length.
    fn read(folder: &Path) -> Vec<Event> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        let mut events = Vec::new();
        for path in paths {
            let bytes = std::fs::read(path).unwrap();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (head, after) = rest.split_at(12);
                let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
                let (data, after) = after.split_at(length);
                assert_eq!(head[8..], masked_crc(&head[..8]).to_le_bytes());
                assert_eq!(after[..4], masked_crc(data).to_le_bytes());
                events.push(Event::decode(data).unwrap());
                rest = &after[4..];
            }
        }
        events
    }

    fn progress(step: u64, tokens: u64, seconds: f64) -> Training<'static> {
        let (total, loss, lr) = (20, 0.5, 0.25);
        Training::Progress {
            step,
            total,
            loss,
            lr,
            tokens,
            seconds,
        }
    }

    #[test]
    fn a_resumed_run_voids_what_it_does_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        let metrics = [("dev/f1".to_string(), Some(0.75)), ("dev/mcc".to_string(), None)];
        let eval = Eval {
            epoch: 1,
            step: 12,
            train_loss: 0.5,
            metrics: metrics.into(),
        };
        let mut log = Log::new(folder.clone());
        log.training(&progress(10, 300, 3.0)).unwrap();
        log.training(&Training::Epoch(&eval)).unwrap();
        log.training(&progress(20, 500, 4.0)).unwrap();
        let mut log = Log::new(folder.clone());
        log.training(&Training::Resumed(15)).unwrap();
        log.training(&progress(20, 500, 4.5)).unwrap();
        log.training(&progress(30, 700, 5.5)).unwrap();

        let told = |event: &Event| -> String {
            let value = |v: &Scalar| format!("{} {}", v.tag, v.simple_value.unwrap());
            let summary = event.summary.iter().flat_map(|s| s.values.iter().map(value));
            let start = event.session_log.iter().map(|log| format!("status {}", log.status));
            let parts: Vec<String> = event.file_version.iter().cloned().chain(start).chain(summary).collect();
            format!("{}: {}", event.step, parts.join(", "))
        };
        let (train, rate) = ("train/loss 0.5, train/lr 0.25", "train/tokens_per_second");
        assert_eq!(
            read(&folder).iter().map(told).collect::<Vec<_>>(),
            [
                "0: brain.Event:2".to_string(),
                "0: status 1".to_string(),
                format!("10: {train}, {rate} 100"),
                "12: dev/f1 0.75".to_string(),
                format!("20: {train}, {rate} 200"),
                "0: brain.Event:2".to_string(),
                "16: status 1".to_string(),
                format!("20: {train}"),
                format!("30: {train}, {rate} 200"),
            ]
        );
        assert!(read(&folder).iter().all(|e| e.wall_time > 1.7e9));
    }

    #[test]
    fn the_checksum_is_that_of_tfrecords() {
        // CRC-32C of "123456789" is e3069283 by its definition.
        assert_eq!(
            masked_crc(b"123456789"),
            0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }
}
