//! SentencePiece models (`spm.model`), for repositories that have no tokenizer.json.
//!
//! The file is a protocol buffer (sentencepiece's `sentencepiece_model.proto`) that is converted to types of the `tokenizers`
//! crate, so that all models share one encoder.

use prost::Message;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, NormalizerWrapper, Tokenizer};

/// The fields of a `ModelProto` that affect tokenisation.
#[derive(Clone, PartialEq, Message)]
struct SpmModel {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    piece: String,
    /// Log-probability.
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(enumeration = "PieceKind", optional, tag = "3")]
    kind: Option<i32>,
}

/// The type of a piece; absent in the file for `Normal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
enum PieceKind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

#[derive(Clone, PartialEq, Message)]
struct TrainerSpec {
    /// 1 is unigram.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, tag = "35")]
    byte_fallback: bool,
}

#[derive(Clone, PartialEq, Message)]
struct NormalizerSpec {
    #[prost(bytes = "vec", tag = "2")]
    charsmap: Vec<u8>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
}

const UNIGRAM: i32 = 1;

/// The score of a piece that text must never be cut into: special tokens and the names of bytes, which sentencepiece does
/// not look for in text either.
const NEVER: f64 = -1e30;

/// Added behind the pieces, as transformers' DebertaV2 tokenizer does.
const MASK: &str = "[MASK]";

/// The tokenizer of an `spm.model` in DeBERTa's frame, `[CLS] a [SEP] b [SEP]`, segments 0 and 1, and the map that texts go
/// through before it.
///
/// Ids are sentencepiece's own, which is what transformers' tokenizer gave when these models were trained (its versions
/// from 5 on leave out the file's own normalisation, so that a ligature becomes unknown; this one does not).
///
/// # Errors
/// A message for the user: not a SentencePiece file, not of the unigram kind, or special tokens are missing.
pub(crate) fn tokenizer(bytes: &[u8], lower_case: bool) -> Result<(Tokenizer, Option<CharsMap>), String> {
    let model = SpmModel::decode(bytes).map_err(|e| format!("not a SentencePiece model ({e})"))?;
    let trainer = model.trainer.clone().unwrap_or_default();
    if trainer.model_type.is_some_and(|t| t != UNIGRAM) {
        return Err("only SentencePiece models of the unigram kind are supported".into());
    }
    let mut tokenizer = Tokenizer::new(unigram(&model, trainer.byte_fallback)?);
    let rules = model.normalizer.unwrap_or_default();
    tokenizer.with_normalizer(Some(normalizer(&rules, lower_case)?));
    let prefix = match rules.add_dummy_prefix {
        Some(false) => PrependScheme::Never,
        _ => PrependScheme::Always,
    };
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', prefix, true)));
    tokenizer.with_decoder(Some(Metaspace::new('▁', prefix, true)));
    let id = |token: &str| {
        let found = tokenizer.token_to_id(token).map(|id| (token.to_string(), id));
        found.ok_or_else(|| format!("the model has no piece {token}"))
    };
    let frame = BertProcessing::new(id("[SEP]")?, id("[CLS]")?);
    tokenizer.with_post_processor(Some(frame));
    let specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", MASK].map(|token| AddedToken::from(token, true));
    tokenizer.add_special_tokens(&specials);
    Ok((tokenizer, CharsMap::parse(&rules.charsmap)?))
}

fn unigram(model: &SpmModel, byte_fallback: bool) -> Result<Unigram, String> {
    let kind = |piece: &Piece| {
        piece.kind.map_or(PieceKind::Normal, |k| {
            PieceKind::try_from(k).unwrap_or(PieceKind::Unused)
        })
    };
    let unknown = model.pieces.iter().position(|p| kind(p) == PieceKind::Unknown);
    let unknown = unknown.ok_or("the model has no piece for unknown text")?;
    let usable = |piece: &Piece| matches!(kind(piece), PieceKind::Normal | PieceKind::UserDefined);
    let score = |piece: &Piece| {
        if usable(piece) { f64::from(piece.score) } else { NEVER }
    };
    let vocab = model.pieces.iter().map(|p| (p.piece.clone(), score(p))).collect();
    let mut unigram = Unigram::from(vocab, Some(unknown), byte_fallback).map_err(|e| e.to_string())?;
    // The score of unknown characters is relative to the lowest score of a usable piece.
    let scores = model.pieces.iter().filter(|p| usable(p)).map(|p| f64::from(p.score));
    unigram.min_score = scores.fold(f64::INFINITY, f64::min);
    Ok(unigram)
}

/// Sentencepiece's handling of white space, behind the character map ([`CharsMap`]).
fn normalizer(rules: &NormalizerSpec, lower_case: bool) -> Result<Sequence, String> {
    let mut steps: Vec<NormalizerWrapper> = Vec::new();
    if lower_case {
        steps.push(Lowercase.into());
    }
    if rules.remove_extra_whitespaces != Some(false) {
        steps.push(Strip::new(true, true).into());
        let runs = ReplacePattern::Regex(" {2,}".into());
        steps.push(Replace::new(runs, " ").map_err(|e| e.to_string())?.into());
    }
    Ok(Sequence::new(steps))
}

/// The normalisation that a model was trained with, as the file holds it: what each sequence of characters becomes.
///
/// The longest sequence wins, as in sentencepiece; the `tokenizers` crate's own reader of these maps looks at one grapheme
/// at a time, and leaves the longer ones (decomposed Hangul, for instance) as they are.
#[derive(Clone, Debug)]
pub(crate) struct CharsMap {
    /// A double-array trie (Darts-clone) over the bytes of the sequences.
    units: Vec<u32>,
    /// What they become, each closed by a zero byte.
    strings: Vec<u8>,
}

impl CharsMap {
    /// The length of the trie in bytes (little-endian, 32 bits), the trie, the strings.
    fn parse(bytes: &[u8]) -> Result<Option<CharsMap>, String> {
        let damaged = || String::from("its character map is damaged");
        let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
            return if bytes.is_empty() { Ok(None) } else { Err(damaged()) };
        };
        let (trie, strings) = rest
            .split_at_checked(u32::from_le_bytes(*size) as usize)
            .ok_or_else(damaged)?;
        let units = trie
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(Some(CharsMap {
            units: units.collect(),
            strings: strings.to_vec(),
        }))
    }

    /// `text` with every sequence of the map replaced.
    pub(crate) fn apply(&self, text: &str) -> String {
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        while let Some(next) = text[at..].chars().next() {
            match self.longest(&text.as_bytes()[at..]) {
                Some((len, becomes)) if text.is_char_boundary(at + len) => {
                    out.push_str(becomes);
                    at += len;
                }
                _ => {
                    out.push(next);
                    at += next.len_utf8();
                }
            }
        }
        out
    }

    /// The longest sequence that `bytes` start with: its length, and what it becomes.
    fn longest(&self, bytes: &[u8]) -> Option<(usize, &str)> {
        let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
        let mut node = offset(*self.units.first()?);
        let mut found = None;
        for (i, &byte) in bytes.iter().enumerate().take_while(|(_, byte)| **byte != 0) {
            node ^= usize::from(byte);
            let Some(&unit) = self.units.get(node) else { break };
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                found = self.units.get(node).map(|leaf| (i + 1, (leaf & !(1 << 31)) as usize));
            }
        }
        let (len, start) = found?;
        let becomes = self.strings.get(start..)?.split(|b| *b == 0).next()?;
        Some((len, std::str::from_utf8(becomes).ok()?))
    }
}
