#!/usr/bin/env python3
"""Writes golden/nltk.json: sentences and words as NLTK cuts them.

  pip install nltk==3.10.4
  pip download --no-deps llama-index-core==0.14.25      (its wheel holds NLTK's punkt_tab)
  nltk_golden.py NLTK_DATA LORA_DATA [OUT]              (default OUT: golden/nltk.json beside this file)

NLTK_DATA is a folder with tokenizers/punkt_tab. `texts` are written out below. Of real text, which stays with its owners, only
the number of texts and the SHA-256 over all sentences and words are kept (`digest` below).
"""
import hashlib
import json
import os
import sys

import nltk

TEXTS = [
    "", " ", "\n", ".", "?!", "...", " . ", ". . .", "a", "A.", "a. b", "A. b. C.", "One. Two. Three.", "one.two three. four",
    "S.S. Chieti Calcio plays in the Serie D. J.P. McManus owns the club.", "J. P. McManus is from Ireland. He was born in 1951.",
    "Mr. Smith met Dr. Jones at 5 p.m. in the U.S. They talked.", "He lives in the U.S. The house is big.", "the U.S. Senate. And",
    "It is No. 5. It won.", "It came in 1990. the end", "On Jan. 5 it rained.  In Feb. It did not.", "A.F.C. Blackpool is in the Conference League. F.C. Koln too.",
    "St. Louis Rams, Inc. vs. Corp. of America. Ltd. They.", "e.g. this, i.e. that, etc. And so on.", "The 3. place. The 3. Place. The -.5. Only.",
    "He said: \"Come.\" She came. (They left.) ['So.'] Then.", "\"Is it?\" he asked. 'No!' she said.", "\u201cCome here.\u201d \u00abBien.\u00bb \u2018Yes.\u2019 Good.",
    "Wait... what? Well ... no. . . . Yes.", "Hm.. Ok.. The end.", "a -- b--c. --D", "He left.) -- and came.\"-- then", "x.) \n y.\" \n\n z",
    "line one\nline two. Line three\r\nline four.\tFive", "Bad acting!!! I promise. Really?!? Yes.", "Hi :-) How are you? :D Fine!", "A,b, c,d. 1,000.50 and 1,5", "10:30 a.m. ratio 3:2: yes, 4 : 5",
    "can't cannot won't I'm we've they'll he'd O'Neill's 'tis 'twas d'ye gimme lemme gonna gotta wanna go more'n", "Cannot GONNA 'Tis CAN'T WE'VE", "the dogs' bones '90s 'n' 'cause '' `` \"",
    "a;b @c #d $5 %6 &e *f [g] {h} <i> (j)", "snake_case_word. _x. Next_", "\u00dcber. \u00c9t\u00e9. \u0141. Na\u00efve \u00c5. \u1e9e.", "\u0130stanbul. \u0130. \u03a3\u03a3. \u00df.",
    "no\u00a0break. Wide\u3000space. Line\u2028sep. Unit\x1fsep. File\x1c x.", "\u0663. \u0664\u0665. \u00bd. \u2167. \u4e00. Five", "marks e\u0301. E\u0301. \u0915\u093f. Next", "e-mail a@b.co.uk. http://x.y/z?a=b. ok", "semi-annual Sept.-Oct. The",
    "(\u0e07'\u0300-'\u0301)\u0e07 yes", "can\u0301not cannot\u0301 gonna\x1fx wanna\x1f", "'\u0301 x '\u203f y", "a.\x1cB. C.\x1f D", "\u0301. B", "\u203f. A. \u2167. B",
    "p.m. The. No. The. The.", "Gen. A. B. Sen. C. d. The cat.", "b. Stewart said. B. Stewart said.", "##number## . 5. international", "end.'", "end.''", "end.'''' x", "'a.' 'B.' c", "a.b.c. D.e.f. g", "(a) (b. c) [d. E] {f. G} x",
]


def json_strings(path):
    def inside(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key in value:
                yield key
                yield from inside(value[key])
        elif isinstance(value, list):
            for item in value:
                yield from inside(item)
    with open(path, encoding="utf-8") as f:
        return sorted(set(inside(json.load(f))))


def fields(path):
    with open(path, encoding="utf-8", newline="") as f:
        return sorted(set(f.read().replace("\n", "\t").split("\t")))


REAL = {
    "samsum/test.json": json_strings, "webnlg/dev.json": json_strings, "dart/dart-v1.1.1-full-dev.json": json_strings,
    "e2e/devset.csv": fields, "glue_data/RTE/train.tsv": fields, "glue_data/STS-B/dev.tsv": fields,
}


def cut(text):
    tokenizer = nltk.tokenize.NLTKWordTokenizer()
    return [[sentence, tokenizer.tokenize(sentence)] for sentence in nltk.sent_tokenize(text)]


def digest(texts):
    sha256 = hashlib.sha256()
    for text in texts:
        for sentence, words in cut(text):
            sha256.update((sentence + "\n").encode())
            sha256.update(("\n".join(words) + "\n\n").encode())
        sha256.update(b"\0")
    return sha256.hexdigest()


def main():
    nltk.data.path[:] = [sys.argv[1]]
    data = sys.argv[2]
    out = sys.argv[3] if len(sys.argv) > 3 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "nltk.json")
    for text in TEXTS:
        assert nltk.word_tokenize(text) == [word for _, words in cut(text) for word in words]
    real = {}
    for name, read in REAL.items():
        texts = read(os.path.join(data, name))
        real[name] = {"texts": len(texts), "sha256": digest(texts)}
        print(name, real[name])
    golden = {"nltk": nltk.__version__, "texts": [{"text": t, "sentences": cut(t)} for t in TEXTS], "real": real}
    with open(out, "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


main()
