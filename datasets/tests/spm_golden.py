#!/usr/bin/env python3
"""Writes golden/spm.json: the ids that transformers' DebertaV2 tokenizer (the one over the sentencepiece library) gives.

  pip install 'transformers<5' sentencepiece protobuf
  spm_golden.py LORA_DATA [OUT]          (default OUT: golden/spm.json beside this file)

`texts` are written out below with their ids. Of real text, which stays with its owners, only the number of texts and the
SHA-256 over all ids are kept: for each text its ids as little-endian 32-bit numbers, then 0xffffffff. Texts that
transformers' two tokenizers cut into the same pieces in different order are left out (`apart`, positions from 0): "HH HHHH" and
"HHHH HH" are equally likely, and sentencepiece adds the scores up in 32 bits, the tokenizers library in 64.
"""
import hashlib
import json
import os
import struct
import sys

import transformers

# Every kind of white space, compatibility forms, combining marks, unknown characters, and what looks like special tokens.
TEXTS = [
    "", " ", "\n", "Hello world", "  two  spaces  inside ", "tab\tand\nnewline\r\nend", "no\u00a0break\u2003em\u3000wide\u200bzero",
    "\ufb01ne \ufb02at \u00bd \u2460 \uff21\uff42\uff43 \u2026 \u2122", "na\u00efve nai\u0308ve \u00c5 A\u030a \u1e9b\u0323", "\u0915\u094d\u0937 \u0e01\u0e33 \ud55c\uae00 \u1112\u1161\u11ab",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3067\u3059\u3002", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea", "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea", "\U00013000\U0001f9ff\U000e0041",
    "[CLS] and [SEP] and [MASK] and [PAD]", "[MASK]next", "a[SEP]b", "\u2581 \u2581\u2581x", "<0x41> <unk> <s>", "x" * 300, "$100,000.00 (50%)!?;:'\"", "\u00ad soft\u00adhyphen",
    "\ufeffBOM", "\x00nul\x07bell", "\u0130\u0131\u017f\u00df", "e-mail@example.org http://x.y/z?a=b&c=d", "Mr. O\u2019Neill\u2014\u201cquoted\u201d \u00abbien\u00bb",
]


def fields(path):
    with open(path, encoding="utf-8", newline="\n") as f:
        for line in f.read().split("\n"):
            yield from (field for field in line.split("\t") if field)


def dialogues(path):
    with open(path, encoding="utf-8") as f:
        yield from (row["dialogue"] for row in json.load(f)[:4000])


SOURCES = [("e2e/lora_test.txt", fields), ("e2e/lora_valid.txt", fields), ("glue_data/CoLA/train.tsv", fields),
           ("glue_data/MRPC/train.tsv", fields), ("glue_data/RTE/train.tsv", fields), ("glue_data/STS-B/train.tsv", fields),
           ("samsum/train.json", dialogues)]


def main():
    data = sys.argv[1]
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "spm.json")
    out = sys.argv[2] if len(sys.argv) > 2 else here
    tokenizer = transformers.DebertaV2Tokenizer(os.path.join(data, "tokenizers/deberta-v3/spm.model"))
    encode = lambda text: tokenizer(text)["input_ids"]
    fast = transformers.DebertaV2TokenizerFast(os.path.join(data, "tokenizers/deberta-v3/spm.model"))
    golden = {"transformers": transformers.__version__, "texts": [[text, encode(text)] for text in TEXTS], "sources": []}
    golden["pair"] = ["A first one.", "And a second", tokenizer("A first one.", "And a second")["input_ids"],
                      tokenizer("A first one.", "And a second")["token_type_ids"]]
    for name, read in SOURCES:
        digest, count, apart = hashlib.sha256(), 0, []
        for count, text in enumerate(read(os.path.join(data, name)), 1):
            ids = encode(text)
            other = fast(text)["input_ids"]
            if ids != other and sorted(ids) == sorted(other):
                apart.append(count - 1)
            else:
                digest.update(struct.pack(f"<{len(ids)}I", *ids) + b"\xff\xff\xff\xff")
        golden["sources"].append({"file": name, "texts": count, "apart": apart, "sha256": digest.hexdigest()})
        print(golden["sources"][-1], flush=True)
    with open(out, "w", encoding="ascii") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
