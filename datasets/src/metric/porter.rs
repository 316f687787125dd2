//! Porter's stemmer (Porter, 1980) with the departures of NLTK's `PorterStemmer()`, which rouge-score stems with: words of
//! one or two letters stay, a handful of irregular words have stems of their own, `ies` and `ied` keep an e in words of
//! four letters, `y` becomes `i` after any consonant but the word's first, `alli` is undone before the second step, and
//! `fulli` and `logi` are suffixes of it.

/// Words with stems that no rule gives.
const IRREGULAR: [(&str, &str); 16] = [
    ("skies", "sky"),
    ("sky", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// The stem of a word, in lower case.
pub fn stem(word: &str) -> String {
    let word = word.to_lowercase();
    if let Some((_, stem)) = IRREGULAR.iter().find(|(w, _)| *w == word) {
        return (*stem).to_owned();
    }
    let letters: Vec<char> = word.chars().collect();
    if letters.len() <= 2 {
        return word;
    }
    let steps = [
        plurals,
        past,
        final_y,
        double_suffixes,
        adjectives,
        residues,
        final_e,
        final_l,
    ];
    steps
        .iter()
        .fold(letters, |word, step| step(word))
        .into_iter()
        .collect()
}

fn is_consonant(word: &[char], at: usize) -> bool {
    match word[at] {
        'a' | 'e' | 'i' | 'o' | 'u' => false,
        'y' => at == 0 || !is_consonant(word, at - 1),
        _ => true,
    }
}

/// Porter's m: how often a consonant follows a vowel.
fn measure(word: &[char]) -> usize {
    (1..word.len())
        .filter(|&i| is_consonant(word, i) && !is_consonant(word, i - 1))
        .count()
}

fn has_vowel(word: &[char]) -> bool {
    (0..word.len()).any(|i| !is_consonant(word, i))
}

fn ends_double(word: &[char]) -> bool {
    let n = word.len();
    n >= 2 && word[n - 1] == word[n - 2] && is_consonant(word, n - 1)
}

/// Consonant, vowel, consonant other than w, x and y; or a word of a vowel and a consonant.
fn ends_short(word: &[char]) -> bool {
    let n = word.len();
    if n == 2 {
        return !is_consonant(word, 0) && is_consonant(word, 1);
    }
    n > 2
        && is_consonant(word, n - 3)
        && !is_consonant(word, n - 2)
        && is_consonant(word, n - 1)
        && !matches!(word[n - 1], 'w' | 'x' | 'y')
}

/// What stands before the suffix.
fn before<'a>(word: &'a [char], suffix: &str) -> Option<&'a [char]> {
    let at = word.len().checked_sub(suffix.len())?;
    word[at..].iter().copied().eq(suffix.chars()).then(|| &word[..at])
}

fn joined(stem: &[char], ending: &str) -> Vec<char> {
    stem.iter().copied().chain(ending.chars()).collect()
}

/// Of the first suffix that the word has: replaced if `holds` of what stands before it. No other is tried.
fn replace_first(word: Vec<char>, rules: &[(&str, &str)], holds: impl Fn(&str, &[char]) -> bool) -> Vec<char> {
    let found = rules
        .iter()
        .find_map(|(suffix, ending)| Some((suffix, ending, before(&word, suffix)?)));
    match found {
        Some((suffix, ending, stem)) if holds(suffix, stem) => joined(stem, ending),
        _ => word,
    }
}

fn plurals(word: Vec<char>) -> Vec<char> {
    if word.len() == 4
        && let Some(stem) = before(&word, "ies")
    {
        return joined(stem, "ie");
    }
    let rules = [("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];
    replace_first(word, &rules, |_, _| true)
}

fn past(word: Vec<char>) -> Vec<char> {
    if let Some(stem) = before(&word, "ied") {
        return joined(stem, if word.len() == 4 { "ie" } else { "i" });
    }
    if let Some(stem) = before(&word, "eed") {
        return if measure(stem) > 0 { joined(stem, "ee") } else { word };
    }
    let stem = ["ed", "ing"]
        .into_iter()
        .find_map(|s| before(&word, s).filter(|stem| has_vowel(stem)));
    let Some(stem) = stem else { return word };
    for suffix in ["at", "bl", "iz"] {
        if before(stem, suffix).is_some() {
            return joined(stem, "e");
        }
    }
    if ends_double(stem) {
        let keeps = matches!(stem[stem.len() - 1], 'l' | 's' | 'z');
        return stem[..stem.len() - usize::from(!keeps)].to_vec();
    }
    let ending = if measure(stem) == 1 && ends_short(stem) {
        "e"
    } else {
        ""
    };
    joined(stem, ending)
}

fn final_y(word: Vec<char>) -> Vec<char> {
    match before(&word, "y") {
        Some(stem) if stem.len() > 1 && is_consonant(stem, stem.len() - 1) => joined(stem, "i"),
        _ => word,
    }
}

fn double_suffixes(word: Vec<char>) -> Vec<char> {
    if let Some(stem) = before(&word, "alli")
        && measure(stem) > 0
    {
        return double_suffixes(joined(stem, "al"));
    }
    let rules = [
        ("ational", "ate"),
        ("tional", "tion"),
        ("enci", "ence"),
        ("anci", "ance"),
        ("izer", "ize"),
        ("bli", "ble"),
        ("alli", "al"),
        ("entli", "ent"),
        ("eli", "e"),
        ("ousli", "ous"),
        ("ization", "ize"),
        ("ation", "ate"),
        ("ator", "ate"),
        ("alism", "al"),
        ("iveness", "ive"),
        ("fulness", "ful"),
        ("ousness", "ous"),
        ("aliti", "al"),
        ("iviti", "ive"),
        ("biliti", "ble"),
        ("fulli", "ful"),
        ("logi", "log"),
    ];
    let letter = |suffix: &str| if suffix == "logi" { Some('l') } else { None };
    // Of "logi" the l counts as part of what stands before.
    replace_first(word, &rules, |suffix, stem| {
        let stem: Vec<char> = stem.iter().copied().chain(letter(suffix)).collect();
        measure(&stem) > 0
    })
}

fn adjectives(word: Vec<char>) -> Vec<char> {
    let rules = [
        ("icate", "ic"),
        ("ative", ""),
        ("alize", "al"),
        ("iciti", "ic"),
        ("ical", "ic"),
        ("ful", ""),
        ("ness", ""),
    ];
    replace_first(word, &rules, |_, stem| measure(stem) > 0)
}

fn residues(word: Vec<char>) -> Vec<char> {
    let suffixes = [
        "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate",
        "iti", "ous", "ive", "ize",
    ];
    let rules = suffixes.map(|s| (s, ""));
    replace_first(word, &rules, |suffix, stem| {
        measure(stem) > 1 && (suffix != "ion" || matches!(stem.last(), Some('s' | 't')))
    })
}

fn final_e(word: Vec<char>) -> Vec<char> {
    match before(&word, "e") {
        Some(stem) if measure(stem) > 1 || measure(stem) == 1 && !ends_short(stem) => stem.to_vec(),
        _ => word,
    }
}

fn final_l(word: Vec<char>) -> Vec<char> {
    match before(&word, "ll") {
        Some(_) if measure(&word[..word.len() - 1]) > 1 => word[..word.len() - 1].to_vec(),
        _ => word,
    }
}
