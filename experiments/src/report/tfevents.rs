//! The event files of TensorBoard: a sequence of TFRecords (length, its checksum, data, their checksum).
//!
//! The data are protobuf messages of tensorflow/core/util/event.proto and framework/summary.proto, reduced to the fields in use.

use prost::Message;
use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;
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
    /// 1 is START: earlier records from the event's step on are invalid.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The checksum of TFRecords: CRC-32C, rotated and shifted.
fn masked_crc(bytes: &[u8]) -> u32 {
    const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

impl Event {
    fn at(step: u64) -> Event {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (wall_time, step) = (now.unwrap_or_default().as_secs_f64(), step as i64);
        Event {
            wall_time,
            step,
            ..Event::default()
        }
    }

    /// Writes the record in one call, so that a killed run leaves at most its last record incomplete.
    fn write(&self, file: &mut File) -> Result<()> {
        let data = self.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        let (head, tail) = (masked_crc(&length).to_le_bytes(), masked_crc(&data).to_le_bytes());
        file.write_all(&[&length[..], &head, &data, &tail].concat())
    }
}

/// An event file.
#[derive(Debug)]
pub struct EventFile(File);

impl EventFile {
    /// Creates a file in `folder` that invalidates the steps from `from` on in older ones.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn create(folder: &Path, from: u64) -> Result<EventFile> {
        std::fs::create_dir_all(folder)?;
        // Readers take the files of a folder in the order of their names.
        let name = chrono::Utc::now().format("events.out.tfevents.%s.%9f");
        let mut file = File::create_new(folder.join(format!("{name}.{}", std::process::id())))?;
        let (mut version, mut start) = (Event::at(0), Event::at(from));
        version.file_version = Some("brain.Event:2".into());
        start.session_log = Some(SessionLog { status: 1 });
        version.write(&mut file)?;
        start.write(&mut file)?;
        Ok(EventFile(file))
    }

    /// Writes named values of a step.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn scalars<'a>(&mut self, step: u64, values: impl Iterator<Item = (&'a str, f64)>) -> Result<()> {
        let mut event = Event::at(step);
        let scalar = |(tag, value): (&str, f64)| Scalar {
            tag: tag.into(),
            simple_value: Some(value as f32),
        };
        event.summary = Some(Summary {
            values: values.map(scalar).collect(),
        });
        event.write(&mut self.0)
    }
}

/// Every event of every file in the order that TensorBoard reads them, as `step: content`; panics at a wrong checksum or
/// length.
#[cfg(test)]
pub(crate) fn read(folder: &Path) -> Vec<String> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
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
            events.push(said(&Event::decode(data).unwrap()));
            rest = &after[4..];
        }
    }
    events
}

#[cfg(all(test, target_os = "linux"))]
impl EventFile {
    /// A file that takes nothing.
    pub(crate) fn full() -> EventFile {
        EventFile(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
    }
}

#[cfg(test)]
fn said(event: &Event) -> String {
    assert!(event.wall_time > 1.7e9);
    let value = |v: &Scalar| format!("{} {}", v.tag, v.simple_value.unwrap());
    let summary = event.summary.iter().flat_map(|s| s.values.iter().map(value));
    let start = event.session_log.iter().map(|log| format!("status {}", log.status));
    let parts: Vec<String> = event.file_version.iter().cloned().chain(start).chain(summary).collect();
    format!("{}: {}", event.step, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_tfrecords() {
        // CRC-32C of "123456789" is e3069283 by its definition.
        assert_eq!(
            masked_crc(b"123456789"),
            0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }
}
