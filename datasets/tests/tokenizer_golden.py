#!/usr/bin/env python3
"""Writes golden/tokenizer_*.json: ids by Hugging Face transformers for made-up vocabularies and sentences.

    python3 tests/tokenizer_golden.py [NAME...]        # with transformers and tokenizers installed

Each file holds the tokenizer's own files as text (`files`), the tokenizer.json that transformers saves for it, with
padding and truncation stored in it (`tokenizer_json`), and `cases`: texts, max_len, ids and type ids. Ids come from
`tokenizer([first], [second], truncation="longest_first", max_length=max_len)`. The vocabularies are made here from the
sentences below; nothing is taken from a published model. The same versions write the same files.
"""

import json
import sys
import tempfile
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

SENTENCES = [
    "",
    " ",
    "a",
    "The ferry leaves at nine.",
    "the ferry leaves at nine .",
    "THE FERRY LEAVES AT NINE!",
    "Nobody had told the gardener about the second gate, so he walked around.",
    "Nobody'd told him; he'd've gone, wouldn't he?",
    "It's John's, they're ours, I'm late, we'll see, you've won.",
    "  two  spaces   and a\ttab, then\na new line  ",
    "trailing space ",
    " leading space",
    "naïve café déjà vu, Ångström, Łódź, São Paulo",
    "e\u0301 is e with a combining accent, o\u0308 too",
    "Straße, GROẞE, ﬁne ligature, Ⅻ, ½, x²",
    "Привет, мир! Ёлка и ёж.",
    "Γειά σου Κόσμε, ΣΊΣΥΦΟΣ",
    "İstanbul'da ışık",
    "東京の天気は晴れです。",
    "你好，世界！mixed with English words",
    "한국어 문장입니다.",
    "مرحبا بالعالم",
    "שָׁלוֹם עולם",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "smile 😀, family 👨‍👩‍👧, flag 🇫🇷, thumbs 👍🏽",
    "zero\u200bwidth, no\u00a0break, soft\u00adhyphen, \ufeffmark",
    "control \x01 and \x7f and \ufffd characters",
    "line\u2028separator and \u3000 wide space",
    "$3.50, 12,000 and 1e-9; 50% of 7/8 = 0.4375",
    "2024-02-29T23:59:60Z",
    "user@example.org or http://example.org/a?b=c&d=#e",
    "C++ & C# <b>bold</b> [brackets] {braces} ~tilde~ `tick` ^hat |bar|",
    "\"quoted\" 'single' “curly” ‘too’ «guillemets» – dash — long …",
    "snake_case camelCase kebab-case SCREAMING_SNAKE",
    "antidisestablishmentarianism and " + "x" * 120,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "[CLS] in the text [SEP] and [MASK] and [UNK] and [PAD]",
    "<s> in the text </s> and <mask> and<mask>twice <unk> <pad>",
    "[cls] lower, [MASK]glued, <S> upper",
    "Rivers carry more silt in spring, and the harbour has to be dredged twice before summer.",
    "The harbour is dredged twice a year because rivers bring silt.",
    "A long list: " + ", ".join(f"item number {i}" for i in range(40)),
    "Seven engineers measured the bridge. " * 12,
]

PAIRS = [
    ("The ferry leaves at nine.", "A boat departs in the morning."),
    ("", ""),
    ("", "only the second"),
    ("only the first", ""),
    ("short", SENTENCES[-1]),
    (SENTENCES[-1], "short"),
    (SENTENCES[-1], SENTENCES[-2]),
    (SENTENCES[-2], SENTENCES[-2]),
    (SENTENCES[6], SENTENCES[40]),
    (SENTENCES[40], SENTENCES[41]),
    ("Привет, мир!", "Hello, world!"),
    ("東京の天気", "晴れ 😀"),
    ("[SEP] first", "second [SEP]"),
    ("</s> first", "second <mask>"),
    ("trailing space ", " leading space"),
    (" ", "\t"),
]

MAX_LENS = [128, 17, 10, 5]


def word_piece(cased):
    """Beginnings, endings and characters of every other sentence's words; vocab.txt in the order of ids."""
    # Chosen by rule, not trained: the crate's trainer breaks ties differently each time.
    normalizer = normalizers.BertNormalizer(lowercase=not cased)
    words = set()
    for sentence in SENTENCES[::2]:  # the others have characters that are unknown
        cut = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(sentence))
        words |= {word for word, _ in cut}
    pieces = {c for w in words for c in w} | {"##" + c for w in words for c in w[1:]}
    pieces |= {w[:4] for w in words} | {"##" + w[-3:] for w in words if len(w) > 5}
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(pieces)]
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": not cased}
    if cased:
        config["truncation_side"] = "left"
    return {"vocab.txt": "".join(token + "\n" for token in vocab)}, config


def byte_level_bpe():
    """All 256 bytes and some merges; vocab.json and merges.txt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = "#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in model["merges"])
    files = {"vocab.json": json.dumps(model["vocab"], ensure_ascii=False), "merges.txt": merges}
    # As in the published tokenizer; transformers 5 forgets it where there are only these two files.
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False}
    return files, {"tokenizer_class": "RobertaTokenizer", "mask_token": mask | {"single_word": False, "special": True}}


def qwen2():
    """The same vocabulary with Qwen2's one special token before it, under its normaliser and its way to cut text."""
    files, _ = byte_level_bpe()
    vocab = [token for token in json.loads(files["vocab.json"]) if token not in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    vocab = {token: i for i, token in enumerate(["<|endoftext|>", *vocab])}
    return files | {"vocab.json": json.dumps(vocab, ensure_ascii=False)}, {"tokenizer_class": "Qwen2Tokenizer"}


def golden(files, config):
    files = dict(files, **{"tokenizer_config.json": json.dumps(config)})
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        cases = []
        for max_len in MAX_LENS:
            for first, second in [(s, None) for s in SENTENCES] + PAIRS:
                # As a batch of one: given bare strings, transformers takes an empty second sentence for none.
                out = tokenizer(
                    [first],
                    None if second is None else [second],
                    truncation="longest_first",
                    max_length=max_len,
                    return_token_type_ids=True,
                )
                [ids], [type_ids] = out["input_ids"], out["token_type_ids"]
                assert len(ids) == len(type_ids) <= max_len
                case = {"first": first, "second": second, "max_len": max_len}
                cases.append(case | {"ids": ids, "type_ids": type_ids})
        # These must have no effect where the file is read.
        tokenizer.backend_tokenizer.enable_truncation(max_length=7)
        tokenizer.backend_tokenizer.enable_padding(length=64)
        saved = tokenizer.backend_tokenizer.to_str()
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    return {"versions": versions, "files": files, "tokenizer_json": saved, "cases": cases}


def main():
    folder = Path(__file__).parent / "golden"
    folder.mkdir(exist_ok=True)
    made = {
        "wordpiece": word_piece(cased=False),
        "wordpiece_cased_left": word_piece(cased=True),
        "bpe": byte_level_bpe(),
        "qwen2": qwen2(),
    }
    for name, (files, config) in made.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        out = golden(files, config)
        path = folder / f"tokenizer_{name}.json"
        cases = ",\n".join(json.dumps(c) for c in out.pop("cases"))
        head = json.dumps(out, indent=1)
        path.write_text(f'{head[:-2]},\n "cases": [\n{cases}\n ]\n}}\n', encoding="utf-8")
        print(path.name, len(json.loads(path.read_text())["cases"]), "cases", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
