//! Tokenizers of Hugging Face model folders.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, Lowercase};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{
    AddedToken, PostProcessor, TokenizerBuilder, TruncationDirection, TruncationParams, TruncationStrategy,
};

use crate::cache::{Cache, CacheKey, CachedIds};
use crate::spm::{self, CharsMap};
use crate::{Example, Label};

/// A tokenizer that could not be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizeError {
    /// A folder without a supported tokenizer.
    #[error(
        "{}: no tokenizer in this folder; wanted tokenizer.json, or vocab.json and merges.txt (RoBERTa, GPT-2), or spm.model (DeBERTa), or vocab.txt (BERT)",
        .dir.display()
    )]
    NoFiles {
        /// The model's folder.
        dir: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("{}: cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that cannot be parsed.
    #[error("{}: not a valid tokenizer file: {problem}", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        problem: String,
    },
    /// A vocabulary without a required special token.
    #[error("{}: the vocabulary has no token {token}; a {family} vocabulary is wanted", .path.display())]
    NoSpecial {
        /// The file.
        path: PathBuf,
        /// The token.
        token: &'static str,
        /// `BERT` or `RoBERTa`.
        family: &'static str,
    },
    /// A tokenizer without a token that ends a text.
    #[error("this tokenizer has none of the tokens {known}, one of which must end a text; a causal model's is wanted")]
    NoEnd {
        /// The tokens looked for.
        known: String,
    },
    /// An end token that the tokenizer does not have.
    #[error("the model ends texts with token {end}, and the last of this tokenizer is {known}: it is another model's")]
    OtherEnd {
        /// The model's end token.
        end: u32,
        /// The tokenizer's largest id.
        known: u32,
    },
    /// Ids that cannot be decoded.
    #[error("token ids cannot be turned into text: {problem}")]
    Decode {
        /// What the tokenizer says.
        problem: String,
    },
    /// The special tokens leave no room for text.
    #[error("max_len {max_len} is too small: the special tokens alone take {specials}, so at least {} is needed", .specials + 1)]
    MaxLen {
        /// The length asked for.
        max_len: usize,
        /// Special tokens of an input.
        specials: usize,
    },
    /// A text that cannot be encoded.
    #[error("example {row} (from 0) cannot be tokenised: {problem}")]
    Encode {
        /// The example's position.
        row: usize,
        /// What the tokenizer says.
        problem: String,
    },
}

/// An encoded example with special tokens, without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Token ids, at most `max_len`.
    pub ids: Vec<u32>,
    /// Segment of each token (0 or 1; RoBERTa: 0 throughout), as long as `ids`.
    pub type_ids: Vec<u32>,
    /// The example's label.
    pub label: Label,
}

/// The files of a model's folder that belong to its tokenizer, here and in transformers.
pub const FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spm.model",
];

/// The keys of tokenizer_config.json that change ids.
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    add_prefix_space: Option<bool>,
    truncation_side: Option<String>,
    tokenizer_class: Option<String>,
}

/// A model's tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Character normalisation of SentencePiece models.
    chars: Option<CharsMap>,
    truncate_at: TruncationDirection,
    sha256: String,
}

impl Tokenizer {
    /// Loads `tokenizer.json`, else `vocab.json` + `merges.txt` (byte-level BPE in RoBERTa's frame `<s> a </s></s> b </s>`,
    /// or without any frame where the vocabulary is GPT-2's; the names `encoder.json` + `vocab.bpe` are known too), else
    /// `spm.model` (SentencePiece in DeBERTa's frame `[CLS] a [SEP] b [SEP]`), else `vocab.txt` (WordPiece in BERT's frame,
    /// which is the same), with the settings of `tokenizer_config.json` where there is one. Without it text is lower-cased
    /// for `vocab.txt`, as transformers does.
    ///
    /// Padding and truncation stored in `tokenizer.json` are switched off: they belong to the run.
    pub fn from_dir(dir: &Path) -> Result<Self, TokenizeError> {
        let mut files = DigestedFiles {
            dir,
            digest: Sha256::new(),
        };
        let config = match files.read("tokenizer_config.json")? {
            Some((path, bytes)) => parse_config(path, &bytes)?,
            None => TokenizerConfig::default(),
        };
        let mut chars = None;
        let mut inner = if let Some((path, bytes)) = files.read("tokenizer.json")? {
            sound(&path, || {
                tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| broken(&path, e))
            })?
        } else if let (Some((vocab, _)), Some((merges, _))) = (files.read("vocab.json")?, files.read("merges.txt")?) {
            sound(&vocab, || byte_level_bpe(&vocab, &merges, &config))?
        } else if let (Some((vocab, _)), Some((merges, _))) = (files.read("encoder.json")?, files.read("vocab.bpe")?) {
            sound(&vocab, || byte_level_bpe(&vocab, &merges, &config))?
        } else if let Some((path, bytes)) = files.read("spm.model")? {
            let lower_case = config.do_lower_case.unwrap_or(false);
            let (tokenizer, map) = sound(&path, || {
                spm::tokenizer(&bytes, lower_case).map_err(|e| broken(&path, e))
            })?;
            chars = map;
            tokenizer
        } else if let Some((vocab, _)) = files.read("vocab.txt")? {
            sound(&vocab, || word_piece(&vocab, &config))?
        } else {
            return Err(TokenizeError::NoFiles { dir: dir.to_path_buf() });
        };
        inner.with_padding(None);
        // Only setting a truncation can fail, not clearing it.
        if let Err(e) = inner.with_truncation(None) {
            return Err(broken(dir, e));
        }
        let truncate_at = match config.truncation_side.as_deref() {
            Some("left") => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        };
        Ok(Self {
            inner,
            chars,
            truncate_at,
            sha256: format!("{:x}", files.digest.finalize()),
        })
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The largest id; a model needs more embeddings than this. 0 for an empty vocabulary.
    pub fn max_id(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// The id of a token as it is written in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether a token of a byte-level vocabulary opens a word, by the blank before it.
    pub fn opens_word(&self, id: u32) -> bool {
        self.inner.id_to_token(id).is_some_and(|token| token.starts_with('Ġ'))
    }

    /// SHA-256, in hex, over the files that this tokenizer was made from.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The ids of each text, in parallel and in order, without special tokens around it and without a limit.
    ///
    /// # Errors
    /// [`TokenizeError::Encode`].
    pub fn ids<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Vec<u32>>, TokenizeError> {
        let encode = |(row, text): (usize, &T)| {
            let encoding = encoded(row, || self.inner.encode_fast(self.prepared(text.as_ref()), false))?;
            Ok(encoding.get_ids().to_vec())
        };
        texts.par_iter().enumerate().map(encode).collect()
    }

    /// The text of ids, special tokens included as they are written in the vocabulary.
    ///
    /// # Errors
    /// [`TokenizeError::Decode`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizeError> {
        let problem = match support::guarded(|| self.inner.decode(ids, false)) {
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        Err(TokenizeError::Decode { problem })
    }

    /// Encodes all examples in parallel, in order; longer ones are cut to `max_len` tokens, special tokens counted, by
    /// taking from the longer sentence of a pair first (transformers' `longest_first`).
    ///
    /// Each call costs some 10 ms for a vocabulary of 50,000, so give it many examples at once.
    pub fn encode_all(&self, examples: &[Example], max_len: usize) -> Result<Vec<Encoded>, TokenizeError> {
        Ok(labelled(self.encode_rows(examples, max_len)?, examples))
    }

    /// [`Self::encode_all`], or its result from an earlier run on the same texts.
    pub fn encode_cached(
        &self,
        examples: &[Example],
        max_len: usize,
        cache: Option<&Cache>,
    ) -> Result<Vec<Encoded>, TokenizeError> {
        let Some(cache) = cache else {
            return self.encode_all(examples, max_len);
        };
        let texts = examples.iter().map(|e| (e.first.as_str(), e.second.as_deref()));
        let key = CacheKey::new(&self.sha256, max_len, texts);
        if let Some(rows) = cache.get(&key, examples.len()) {
            return Ok(labelled(rows, examples));
        }
        let rows = self.encode_rows(examples, max_len)?;
        cache.put(&key, &rows);
        Ok(labelled(rows, examples))
    }

    fn prepared<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.chars {
            Some(chars) => Cow::Owned(chars.apply(text)),
            None => Cow::Borrowed(text),
        }
    }

    fn encode_rows(&self, examples: &[Example], max_len: usize) -> Result<Vec<CachedIds>, TokenizeError> {
        let pairs = examples.iter().any(|e| e.second.is_some());
        let specials = self.inner.get_post_processor().map_or(0, |p| p.added_tokens(pairs));
        // The crate's subtraction would underflow.
        if max_len <= specials {
            return Err(TokenizeError::MaxLen { max_len, specials });
        }
        let mut inner = self.inner.clone();
        let truncation = TruncationParams {
            direction: self.truncate_at,
            max_length: max_len,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        inner
            .with_truncation(Some(truncation))
            .map_err(|e| TokenizeError::Encode {
                row: 0,
                problem: e.to_string(),
            })?;
        let encode = |(row, example): (usize, &Example)| {
            let encoding = encoded(row, || match &example.second {
                Some(second) => inner.encode_fast((self.prepared(&example.first), self.prepared(second)), true),
                None => inner.encode_fast(self.prepared(&example.first), true),
            })?;
            Ok((encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec()))
        };
        examples.par_iter().enumerate().map(encode).collect()
    }
}

/// Learns a byte-level BPE of at most `vocab` tokens from `texts`, without case and in RoBERTa's frame, and gives its
/// tokenizer.json. The special tokens have RoBERTa's ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` 4.
pub fn train_bpe(texts: &[String], vocab: usize) -> Result<String, tokenizers::Error> {
    let specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].map(|t| AddedToken::from(t, true).lstrip(t == "<mask>"));
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(specials.to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let frame = RobertaProcessing::new(("</s>".into(), 2), ("<s>".into(), 0)).add_prefix_space(true);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(Some(Lowercase))
        .with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(true)))
        .with_post_processor(Some(frame))
        .with_decoder(Some(ByteLevel::default()))
        .build()?;
    tokenizer.train(&mut trainer, texts.iter().map(String::as_str))?;
    tokenizer.to_string(true)
}

/// Learns a byte-level BPE of at most `vocab` tokens from `texts`, as GPT-2's: with case, without a frame, and with the one
/// special token `<|endoftext|>`, which is 0. Gives its tokenizer.json.
pub fn train_causal_bpe(texts: &[String], vocab: usize) -> Result<String, tokenizers::Error> {
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocab)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let bytes = ByteLevel::default().add_prefix_space(false);
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<Lowercase>)
        .with_pre_tokenizer(Some(bytes))
        .with_post_processor(Some(bytes.trim_offsets(false)))
        .with_decoder(Some(ByteLevel::default()))
        .build()?;
    tokenizer.train(&mut trainer, texts.iter().map(String::as_str))?;
    tokenizer.to_string(true)
}

/// GPT-2's only special token.
pub const END_OF_TEXT: &str = "<|endoftext|>";

fn labelled(rows: Vec<CachedIds>, examples: &[Example]) -> Vec<Encoded> {
    let join = |((ids, type_ids), example): (CachedIds, &Example)| Encoded {
        ids,
        type_ids,
        label: example.label,
    };
    rows.into_iter().zip(examples).map(join).collect()
}

/// Reads files of a folder and keeps a digest of those that were there.
struct DigestedFiles<'a> {
    dir: &'a Path,
    digest: Sha256,
}

impl DigestedFiles<'_> {
    fn read(&mut self, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>, TokenizeError> {
        let path = self.dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                self.digest.update(name);
                self.digest.update((bytes.len() as u64).to_le_bytes());
                self.digest.update(&bytes);
                Ok(Some((path, bytes)))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TokenizeError::Read { path, source }),
        }
    }
}

fn broken(path: &Path, problem: impl std::fmt::Display) -> TokenizeError {
    TokenizeError::Broken {
        path: path.to_path_buf(),
        problem: problem.to_string(),
    }
}

/// A tokenizer that `read` makes of the file `path`, or an error where the crate panics on a damaged one.
fn sound<T>(path: &Path, read: impl FnOnce() -> Result<T, TokenizeError>) -> Result<T, TokenizeError> {
    support::guarded(read).unwrap_or_else(|panic| Err(broken(path, panic)))
}

/// What the crate makes of a row, or an error where it panics, as with a vocabulary that lacks the tokens of its own frame.
fn encoded<T>(row: usize, encode: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, TokenizeError> {
    let problem = match support::guarded(encode) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic.to_string(),
    };
    Err(TokenizeError::Encode { row, problem })
}

fn parse_config(path: PathBuf, bytes: &[u8]) -> Result<TokenizerConfig, TokenizeError> {
    serde_json::from_slice(bytes).map_err(|e| broken(&path, e))
}

/// The crate takes paths as text.
fn as_text(path: &Path) -> Result<&str, TokenizeError> {
    path.to_str().ok_or_else(|| broken(path, "the path is not UTF-8"))
}

fn special(
    tokenizer: &tokenizers::Tokenizer,
    path: &Path,
    token: &'static str,
    family: &'static str,
) -> Result<(String, u32), TokenizeError> {
    match tokenizer.token_to_id(token) {
        Some(id) => Ok((token.to_owned(), id)),
        None => Err(TokenizeError::NoSpecial {
            path: path.to_path_buf(),
            token,
            family,
        }),
    }
}

/// As transformers builds RoBERTa's and GPT-2's fast tokenizers from the two files.
fn byte_level_bpe(
    vocab: &Path,
    merges: &Path,
    config: &TokenizerConfig,
) -> Result<tokenizers::Tokenizer, TokenizeError> {
    let bpe = BPE::from_file(as_text(vocab)?, as_text(merges)?).build();
    let bpe = bpe.map_err(|e| broken(vocab, format!("(with {}) {e}", merges.display())))?;
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    let prefix = config.add_prefix_space.unwrap_or(false);
    if let Some(class) = config
        .tokenizer_class
        .as_deref()
        .filter(|class| class.starts_with("Qwen2"))
    {
        let what = format!(
            "{class} cuts text in a way of its own, which is in tokenizer.json alone: fetch or save that file too"
        );
        return Err(broken(vocab, what));
    }
    if tokenizer.token_to_id("<s>").is_none() && tokenizer.token_to_id(END_OF_TEXT).is_some() {
        tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(prefix)));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        tokenizer.add_special_tokens(&[AddedToken::from(END_OF_TEXT, true)]);
        return Ok(tokenizer);
    }
    let cls = special(&tokenizer, vocab, "<s>", "RoBERTa")?;
    let sep = special(&tokenizer, vocab, "</s>", "RoBERTa")?;
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(prefix)));
    tokenizer.with_post_processor(Some(RobertaProcessing::new(sep, cls).add_prefix_space(prefix)));
    let known = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        .into_iter()
        .filter(|t| tokenizer.token_to_id(t).is_some());
    // RoBERTa's mask token includes the space before it.
    let added: Vec<AddedToken> = known.map(|t| AddedToken::from(t, true).lstrip(t == "<mask>")).collect();
    tokenizer.add_special_tokens(&added);
    Ok(tokenizer)
}

/// As transformers builds BERT's fast tokenizer from the file.
fn word_piece(vocab: &Path, config: &TokenizerConfig) -> Result<tokenizers::Tokenizer, TokenizeError> {
    let pieces = WordPiece::from_file(as_text(vocab)?).unk_token("[UNK]".into()).build();
    let mut tokenizer = tokenizers::Tokenizer::new(pieces.map_err(|e| broken(vocab, e))?);
    let cls = special(&tokenizer, vocab, "[CLS]", "BERT")?;
    let sep = special(&tokenizer, vocab, "[SEP]", "BERT")?;
    special(&tokenizer, vocab, "[UNK]", "BERT")?;
    let chinese = config.tokenize_chinese_chars.unwrap_or(true);
    let lower = config.do_lower_case.unwrap_or(true);
    tokenizer.with_normalizer(Some(BertNormalizer::new(true, chinese, config.strip_accents, lower)));
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
    let known = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"].into_iter();
    let known = known.filter(|t| tokenizer.token_to_id(t).is_some());
    let added: Vec<AddedToken> = known.map(|t| AddedToken::from(t, true)).collect();
    tokenizer.add_special_tokens(&added);
    Ok(tokenizer)
}
