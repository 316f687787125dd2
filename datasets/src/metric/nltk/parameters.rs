//! Punkt's English parameters as NLTK distributes them (`punkt_tab/english`): four text files, accepted only as
//! published.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::metric::pinned::{Mismatch, PinnedFile};

/// The files and the SHA-256 of each.
const FILES: [PinnedFile; 4] = [
    PinnedFile {
        name: "abbrev_types.txt",
        sha256: "92a3e070f43d9b4c5534758ca40ad7343b04e7e29bfe0c2eb658a39445a4f779",
    },
    PinnedFile {
        name: "collocations.tab",
        sha256: "8e2da1225e4dd2cc9dba261ee231ccb134859e21b46006e7f472c5ee269af0cf",
    },
    PinnedFile {
        name: "ortho_context.tab",
        sha256: "4bbcca25ed3d3f06c02402abf8419b9f033b8adc06e7b482eca4e45f81a5dc4c",
    },
    PinnedFile {
        name: "sent_starters.txt",
        sha256: "f3f8535483e1dba487241b764945168123bca3209a9645e59acd1225dc76edac",
    },
];
/// Folders below a source that may hold them.
const FOLDERS: [&str; 4] = ["", "english", "punkt_tab/english", "tokenizers/punkt_tab/english"];
/// Archives in a folder that may hold them: beginnings and ends of their names.
const ARCHIVES: [(&str, &str); 2] = [("punkt_tab", ".zip"), ("llama_index_core-", ".whl")];

/// Punkt's parameters are missing or not the published ones.
#[derive(Debug, thiserror::Error)]
pub enum PunktError {
    /// No parameters found.
    #[error("{}: no Punkt parameters there; wanted NLTK's folder punkt_tab or punkt_tab.zip, the llama-index-core wheel, or a folder that holds one of them", .path.display())]
    NotFound {
        /// The path that was searched.
        path: PathBuf,
    },
    /// A file that cannot be read.
    #[error("{}: cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not a zip archive.
    #[error("{}: not a zip archive", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: zip::result::ZipError,
    },
    /// Other parameters than those published with NLTK.
    #[error("{}: {} is not that of NLTK's punkt_tab ({mismatch}); scores with it would be others. `lora score fetch-punkt-data` brings the right one", .path.display(), .mismatch.file)]
    Checksum {
        /// Where it was found.
        path: PathBuf,
        /// The file that differs.
        mismatch: Mismatch,
    },
}

/// Contents of the files, in the order of [`FILES`].
type Contents = Vec<Vec<u8>>;

/// Punkt's parameters, trained on English newspapers.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// Words that are written with a full stop, without it.
    pub abbreviations: HashSet<String>,
    /// Words with a full stop, without it, and the words that belong to each.
    pub collocations: HashMap<String, HashSet<String>>,
    /// Words that often begin sentences.
    pub starters: HashSet<String>,
    /// How words are written.
    orthography: HashMap<String, Written>,
}

/// Where a word was seen with a capital and where in small letters, a bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written(u8);

impl Written {
    const CAPITAL_INSIDE: u8 = 1 << 2;
    const CAPITAL: u8 = 1 << 1 | Self::CAPITAL_INSIDE | 1 << 3;
    const SMALL_AT_BEGINNING: u8 = 1 << 4;
    const SMALL: u8 = Self::SMALL_AT_BEGINNING | 1 << 5 | 1 << 6;

    /// With a capital inside a sentence.
    pub fn capital_inside(self) -> bool {
        self.0 & Self::CAPITAL_INSIDE != 0
    }

    /// With a capital anywhere.
    pub fn ever_capital(self) -> bool {
        self.0 & Self::CAPITAL != 0
    }

    /// In small letters at the beginning of a sentence.
    pub fn small_at_beginning(self) -> bool {
        self.0 & Self::SMALL_AT_BEGINNING != 0
    }

    /// In small letters anywhere.
    pub fn ever_small(self) -> bool {
        self.0 & Self::SMALL != 0
    }
}

impl Parameters {
    /// From `source`, else from the cache; none where there is neither.
    pub fn open(source: Option<&Path>) -> Result<Option<Self>, PunktError> {
        let cached = cached();
        let Some(source) = source else {
            let folder = cached.filter(|folder| folder.is_dir());
            return folder.map(|folder| Ok(Self::parse(&read(&folder)?))).transpose();
        };
        let contents = read(source)?;
        if let Some(folder) = cached.filter(|folder| read(folder).is_err())
            && let Err(e) = keep(&folder, &contents)
        {
            tracing::warn!("{}: Punkt's parameters could not be cached: {e}", folder.display());
        }
        Ok(Some(Self::parse(&contents)))
    }

    fn parse(contents: &Contents) -> Self {
        let text = |file: usize| String::from_utf8_lossy(&contents[file]).into_owned();
        let words = |file| text(file).lines().map(str::to_owned).collect();
        let pairs = |file| -> Vec<(String, String)> {
            let pair = |line: &str| line.split_once('\t').map(|(a, b)| (a.to_owned(), b.to_owned()));
            text(file).lines().filter_map(pair).collect()
        };
        let mut collocations: HashMap<String, HashSet<String>> = HashMap::new();
        for (first, second) in pairs(1) {
            collocations.entry(first).or_default().insert(second);
        }
        let written = |(word, bits): (String, String)| Some((word, Written(bits.parse().ok()?)));
        Self {
            abbreviations: words(0),
            collocations,
            orthography: pairs(2).into_iter().filter_map(written).collect(),
            starters: words(3),
        }
    }

    /// How a word is written; a word that was never seen is written in no way.
    pub fn written(&self, word: &str) -> Written {
        self.orthography.get(word).copied().unwrap_or_default()
    }
}

/// The folder of the parameters in the user's cache; none without a cache folder.
pub(super) fn cached() -> Option<PathBuf> {
    Some(crate::cache::user_folder()?.join("punkt_tab").join("english"))
}

/// The digest of all files' digests.
pub(super) fn sha256() -> String {
    PinnedFile::digest(&FILES)
}

fn read(path: &Path) -> Result<Contents, PunktError> {
    let contents = if path.is_dir() {
        let complete = |folder: &PathBuf| FILES.iter().all(|file| folder.join(file.name).is_file());
        match FOLDERS.iter().map(|f| path.join(f)).find(complete) {
            Some(folder) => from_folder(&folder)?,
            None => from_archive(&archive_in(path).ok_or_else(|| not_found(path))?)?,
        }
    } else if path.exists() {
        from_archive(path)?
    } else {
        return Err(not_found(path));
    };
    for (file, bytes) in FILES.iter().zip(&contents) {
        file.check(bytes).map_err(|mismatch| {
            let path = path.to_path_buf();
            PunktError::Checksum { path, mismatch }
        })?;
    }
    Ok(contents)
}

fn not_found(path: &Path) -> PunktError {
    let path = path.to_path_buf();
    PunktError::NotFound { path }
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> PunktError {
    let path = path.to_path_buf();
    move |source| PunktError::Read { path, source }
}

fn from_folder(folder: &Path) -> Result<Contents, PunktError> {
    let content = |file: &PinnedFile| {
        let path = folder.join(file.name);
        std::fs::read(&path).map_err(unreadable(&path))
    };
    FILES.iter().map(content).collect()
}

fn archive_in(folder: &Path) -> Option<PathBuf> {
    let files = || Some(std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())));
    ARCHIVES.iter().find_map(|(start, end)| {
        files()?.find(|path| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            name.is_some_and(|n| n.starts_with(start) && n.ends_with(end))
        })
    })
}

fn from_archive(path: &Path) -> Result<Contents, PunktError> {
    let file = File::open(path).map_err(unreadable(path))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|source| PunktError::Archive {
        path: path.to_path_buf(),
        source,
    })?;
    let mut content = |file: &PinnedFile| {
        let ending = format!("punkt_tab/english/{}", file.name);
        let member = archive.file_names().find(|n| n.ends_with(&ending)).map(str::to_owned);
        let member = member.ok_or_else(|| not_found(path))?;
        let mut bytes = Vec::new();
        let mut opened = archive.by_name(&member).map_err(|source| PunktError::Archive {
            path: path.to_path_buf(),
            source,
        })?;
        opened.read_to_end(&mut bytes).map_err(unreadable(path))?;
        Ok(bytes)
    };
    FILES.iter().map(&mut content).collect()
}

/// Replaces the folder atomically.
fn keep(folder: &Path, contents: &Contents) -> std::io::Result<()> {
    let above = folder.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(above)?;
    let made = tempfile::tempdir_in(above)?;
    for (file, bytes) in FILES.iter().zip(contents) {
        std::fs::write(made.path().join(file.name), bytes)?;
    }
    // The old folder is incomplete.
    if folder.is_dir() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::rename(made.path(), folder)
}
