//! `lora bench adapters`: batches whose rows use different adapters, compared with one adapter at a time and with merged weights.

use crate::config::settings::Dtype;
use crate::inputs::environment::set_threads;
use crate::inputs::locator::ModelSource;
use anyhow::{Result, ensure};
use clap::Args;
use lora_core::adapter_bank::AdapterBank;
use lora_core::batch::{Batch, Row, Target};
use lora_core::device;
use lora_core::interop::{Base, Tensors};
use lora_core::method::{self, Lora, LoraInit, LoraSettings};
use lora_core::model::Model;
use lora_core::nn::Role;
use serde::Serialize;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// `lora bench adapters`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lora bench adapters --model FacebookAI/roberta-base --adapters 8 --rows 64\n\nThe adapters are random: their size matters here, not what they say. `merged` keeps a whole copy of the weights for each."
)]
pub struct AdaptersArgs {
    /// A Hugging Face model folder, a model of the hub, or embedded:roberta
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]", default_value = "embedded:roberta")]
    pub model: String,
    /// Adapters in memory
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub adapters: usize,
    /// Rank of LoRA on query and value
    #[arg(long, default_value_t = 8)]
    pub r: i64,
    /// Rows of a batch, assigned to the adapters in turn
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub rows: usize,
    /// Tokens of the longest row; the others have from half of that on
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub tokens: usize,
    /// TimedWay batches, after an untimed one
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub repeats: usize,
    /// Number type of frozen weights and activations
    #[arg(long, default_value = "fp32")]
    pub dtype: Dtype,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The measurements.
#[derive(Debug, Serialize)]
struct AdaptersReport {
    model: String,
    device: String,
    dtype: &'static str,
    threads: usize,
    adapters: usize,
    r: i64,
    rows: usize,
    tokens: usize,
    ways: Vec<Way>,
    /// Largest difference between outputs of the mixed batch and of one adapter at a time.
    largest_difference: f64,
}

/// One way to compute the rows.
#[derive(Debug, Serialize)]
struct Way {
    way: &'static str,
    /// Median seconds of a batch.
    seconds: f64,
    rows_per_s: f64,
    tokens_per_s: f64,
    /// Weights in memory.
    weights_mib: f64,
}

/// One way: its name, its weights in bytes, and the function that computes the outputs, row by row.
type TimedWay<'a> = (&'static str, usize, Box<dyn FnMut() -> Result<Vec<Vec<f32>>> + 'a>);

/// Everything in memory: the base alone, the adapters beside it, and each merged into a copy of it.
struct Models {
    plain: Box<dyn Model>,
    bank: AdapterBank,
    merged: Vec<Box<dyn Model>>,
    /// Bytes of the base's weights, and of one adapter's.
    bytes: [usize; 2],
}

impl Models {
    fn new(args: &AdaptersArgs, device: Device) -> Result<Models> {
        let dir = ModelSource::parse(&args.model, false)?.folder()?.0;
        let (base, kind) = (Base::open(&dir)?, args.dtype.kind());
        let lora = Lora::try_from(LoraSettings {
            r: args.r,
            alpha: 16.0,
            dropout: 0.0,
            shared_mask: false,
            rslora: false,
            b_lr_ratio: 1.0,
            init: LoraInit::Kaiming,
            targets: [Role::Query, Role::Value].into(),
        })?;
        let head = method::from_yaml("{kind: head}")?;
        let (plain, built) = base.load(head.as_ref(), 2, device, kind)?;
        let mut models = Models {
            plain,
            bank: AdapterBank::new(Base::open(&dir)?, device, kind)?,
            merged: Vec::new(),
            bytes: [bytes(built.params.iter().map(|e| &e.tensor)), 0],
        };
        for i in 0..args.adapters {
            let tensors = random(&base, &lora)?;
            models.bytes[1] = bytes(tensors.values());
            models.bank.add(&i.to_string(), &lora, &tensors)?;
            let (mut model, _) = base.load_trained(&lora, &tensors, device, kind)?;
            model.merge()?;
            models.merged.push(model);
        }
        Ok(models)
    }

    /// The ways to compute `asked`: rows, each with the index of its adapter.
    fn ways<'a>(&'a self, asked: &'a [(usize, &'a Row)], device: Device) -> Vec<TimedWay<'a>> {
        let count = self.merged.len();
        let [whole, own] = self.bytes;
        let base = move || {
            let all: Vec<(usize, &Row)> = asked.iter().map(|(_, row)| (0, *row)).collect();
            self.groups(&[self.plain.as_ref()], &all, device)
        };
        let alone: Vec<&dyn Model> = (0..count).filter_map(|i| self.bank.model(i)).collect();
        let merged: Vec<&dyn Model> = self.merged.iter().map(AsRef::as_ref).collect();
        vec![
            ("base alone", whole, Box::new(base)),
            (
                "mixed batch",
                whole + count * own,
                Box::new(|| Ok(self.bank.predict(asked)?)),
            ),
            (
                "one by one",
                whole + count * own,
                Box::new(move || self.groups(&alone, asked, device)),
            ),
            (
                "merged",
                whole * count,
                Box::new(move || self.groups(&merged, asked, device)),
            ),
        ]
    }

    /// Runs each model over its own rows as one batch.
    fn groups(&self, models: &[&dyn Model], asked: &[(usize, &Row)], device: Device) -> Result<Vec<Vec<f32>>> {
        let _guard = tch::no_grad_guard();
        let mut answers = vec![Vec::new(); asked.len()];
        for (number, model) in models.iter().enumerate() {
            let mine: Vec<usize> = (0..asked.len()).filter(|i| asked[*i].0 == number).collect();
            if mine.is_empty() {
                continue;
            }
            let rows: Vec<&Row> = mine.iter().map(|i| asked[*i].1).collect();
            let out = model.forward(&Batch::new(&rows, device)?, false).to_device(Device::Cpu);
            // A language model has an output for every token.
            let lengths: Vec<i64> = rows.iter().map(|row| self.bank.output_vectors(row)).collect();
            for (i, own) in mine.into_iter().zip(out.split_with_sizes(&lengths, 0)) {
                answers[i] = Vec::try_from(own.reshape([-1]))?;
            }
        }
        Ok(answers)
    }
}

/// Measures, and returns a table or JSON.
///
/// # Errors
/// Missing models, sizes that cannot be used, not enough memory.
pub fn measure(args: &AdaptersArgs) -> Result<String> {
    let sizes = [args.adapters, args.rows, args.tokens, args.repeats];
    ensure!(
        !sizes.contains(&0),
        "--adapters, --rows, --tokens and --repeats must be at least 1"
    );
    let threads = set_threads(args.threads)?;
    let device = device::parse(&args.device)?;
    args.dtype.check(device)?;
    let models = Models::new(args, device)?;
    let rows = rows(args, models.plain.as_ref());
    let asked: Vec<(usize, &Row)> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| (i % args.adapters, row))
        .collect();
    let mut ways = models.ways(&asked, device);
    let (seconds, difference) = time(&mut ways, args.repeats, device)?;
    let tokens: usize = rows.iter().map(|r| r.ids.len()).sum();
    let way = |((way, weights, _), seconds): (&TimedWay, f64)| Way {
        way,
        seconds,
        rows_per_s: args.rows as f64 / seconds,
        tokens_per_s: tokens as f64 / seconds,
        weights_mib: *weights as f64 / f64::from(1 << 20),
    };
    let measured = AdaptersReport {
        model: args.model.clone(),
        device: device::name(device),
        dtype: args.dtype.name(),
        threads,
        adapters: args.adapters,
        r: args.r,
        rows: args.rows,
        tokens,
        ways: ways.iter().zip(seconds).map(way).collect(),
        largest_difference: difference,
    };
    Ok(if args.json {
        serde_json::to_string(&measured)? + "\n"
    } else {
        measured.table()
    })
}

/// Factors and head of an adapter with a nonzero update.
fn random(base: &Base, lora: &Lora) -> Result<Tensors> {
    let (_, built) = base.load(lora, 2, Device::Cpu, Kind::Float)?;
    let trained = built.params.trainable();
    let draw = |t: &Tensor| Tensor::randn(t.size(), (Kind::Float, Device::Cpu)) * 0.02;
    Ok(trained.map(|e| (e.param.name.clone(), draw(&e.tensor))).collect())
}

fn bytes<'t>(tensors: impl Iterator<Item = &'t Tensor>) -> usize {
    tensors.map(|t| t.numel() * t.kind().elt_size_in_bytes()).sum()
}

/// Rows of uneven lengths.
fn rows(args: &AdaptersArgs, model: &dyn Model) -> Vec<Row> {
    let longest = args.tokens.clamp(1, model.max_len() as usize);
    let row = |i: usize| {
        let len = (longest - (i * 7) % (longest / 2 + 1)).max(1);
        Row {
            ids: (0..len)
                .map(|t| ((i * 31 + t * 17) as i64) % (model.vocab() - 5) + 5)
                .collect(),
            types: Vec::new(),
            prompt: None,
            target: Target::Class(0),
        }
    };
    (0..args.rows).map(row).collect()
}

/// Median seconds of each way, measured in turns so that changes of the machine's speed affect all alike; and the largest difference
/// between the mixed batch and one adapter at a time.
fn time(ways: &mut [TimedWay], repeats: usize, device: Device) -> Result<(Vec<f64>, f64)> {
    let mut seconds = vec![Vec::new(); ways.len()];
    let mut last = vec![Vec::new(); ways.len()];
    for repeat in 0..=repeats {
        for (i, (_, _, answer)) in ways.iter_mut().enumerate() {
            device::synchronize(device);
            let since = Instant::now();
            last[i] = answer()?;
            device::synchronize(device);
            if repeat > 0 {
                seconds[i].push(since.elapsed().as_secs_f64());
            }
        }
    }
    let difference = largest_difference(&last[1], &last[2])?;
    Ok((
        seconds
            .iter()
            .map(|s| crate::tools::bench::training::median(s))
            .collect(),
        difference,
    ))
}

/// The largest difference between outputs of the same row; NaN if any output is NaN.
fn largest_difference(one: &[Vec<f32>], other: &[Vec<f32>]) -> Result<f64> {
    let lengths = |answers: &[Vec<f32>]| answers.iter().map(Vec::len).collect::<Vec<_>>();
    ensure!(
        lengths(one) == lengths(other),
        "the ways differ in the number of outputs of a row"
    );
    let pairs = one.iter().flatten().zip(other.iter().flatten());
    Ok(pairs.fold(0.0, |most: f64, (a, b)| {
        let difference = f64::from(*a) - f64::from(*b);
        // `f64::max` would drop a NaN.
        if most.is_nan() || difference.is_nan() {
            f64::NAN
        } else {
            most.max(difference.abs())
        }
    }))
}

impl AdaptersReport {
    fn table(&self) -> String {
        let mut text = format!(
            "{} adapters of rank {} on {}, {}, {}, {} threads; a batch of {} rows, {} tokens\n\n{:<12} {:>10} {:>10} {:>11} {:>12}\n",
            self.adapters,
            self.r,
            self.model,
            self.device,
            self.dtype,
            self.threads,
            self.rows,
            self.tokens,
            "way",
            "ms a batch",
            "rows/s",
            "tokens/s",
            "weights"
        );
        for way in &self.ways {
            text += &format!(
                "{:<12} {:>10.1} {:>10.0} {:>11.0} {:>8.1} MiB\n",
                way.way,
                way.seconds * 1e3,
                way.rows_per_s,
                way.tokens_per_s,
                way.weights_mib
            );
        }
        text + &format!(
            "\nLargest difference of an answer, mixed against one by one: {:.1e}\n",
            self.largest_difference
        )
    }
}
