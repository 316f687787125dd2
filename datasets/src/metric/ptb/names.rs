//! Words that are usually written with a period, and words that usually begin a sentence. Names with a capital need it.

/// Before names: the period never ends a sentence.
pub(super) const TITLES: &[&str] = &[
    "adj", "adm", "adv", "alex", "assoc", "asst", "atty", "ave", "brig", "capt", "cf", "cie", "cmdr", "col", "cpl",
    "dept", "det", "dr", "drs", "elec", "ft", "gen", "gov", "govs", "hon", "insp", "jos", "lieut", "lt", "maj",
    "messrs", "Mfg", "mlle", "mme", "mr", "mrs", "ms", "msgr", "mt", "natl", "pfc", "ph", "pres", "prof", "profs",
    "pvt", "rep", "reps", "rev", "sen", "sens", "sfc", "sgt", "st", "ste", "supt", "treas", "vs", "wm",
];

/// After names and in lists: before a capital the sentence ends.
pub(super) const TRAILING: &[&str] = &[
    "al", "ala", "apr", "ariz", "Ark", "assn", "aug", "bldg", "blvd", "bros", "calif", "co", "colo", "conn", "corp",
    "cos", "ct", "dak", "dec", "Del", "esq", "est", "etc", "ext", "feb", "fla", "fri", "ga", "Ill", "inc", "ind",
    "intl", "jan", "jr", "jul", "jun", "kan", "kans", "ky", "La", "ltd", "mar", "Mass", "md", "mich", "minn", "Miss",
    "mo", "mon", "mont", "neb", "nev", "nov", "oct", "okla", "Ore", "Pa", "penn", "ph.d", "plc", "Pty", "rd", "rt",
    "sep", "sept", "seq", "sq", "sr", "sys", "tel", "tenn", "Tex", "thu", "thurs", "tue", "tues", "univ", "va", "vt",
    "Wash", "wed", "wis", "wisc", "wyo",
];

/// With a period before numbers only.
pub(super) const NUMBERED: &[&str] = &["art", "ca", "fig", "figs", "no", "nos", "op", "pp", "prop"];

/// After initials such as `U.S.`, these begin a sentence.
pub(super) const SENTENCE_STARTS: &[&str] = &[
    "a",
    "about",
    "according",
    "additionally",
    "after",
    "an",
    "as",
    "at",
    "but",
    "earlier",
    "he",
    "her",
    "here",
    "however",
    "if",
    "in",
    "it",
    "last",
    "many",
    "more",
    "now",
    "once",
    "one",
    "other",
    "our",
    "she",
    "since",
    "so",
    "some",
    "such",
    "that",
    "the",
    "their",
    "then",
    "there",
    "these",
    "they",
    "this",
    "we",
    "what",
    "when",
    "while",
    "yet",
    "you",
];
