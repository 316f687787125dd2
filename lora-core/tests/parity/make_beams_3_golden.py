#!/usr/bin/env python3
"""Writes golden/settings/beams_3.json: what the beam search of transformers 3.2.0 writes behind the prompts of gpt2/generate.json.

  pip install torch==2.11.0 transformers
  make_beams_3_golden.py generation_utils.py       (src/transformers/generation_utils.py of transformers 3.2.0)

Of the old library this one file is read; the model is that of today's transformers, called anew for every token.
"""
import importlib.util
import json
import logging
import os
import sys
import types

import torch
import transformers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
END, NEW = 96, 18


def old(path):
    """The module at `path`, with stand-ins for what it imports beside torch."""
    stubs = {"old": {}, "old.file_utils": {"ModelOutput": dict}, "old.utils": {"logging": logging}}
    for name, content in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    logging.get_logger = logging.getLogger
    spec = importlib.util.spec_from_file_location("old.generation_utils", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    torch.set_num_threads(1)
    module = old(sys.argv[1])
    model = transformers.GPT2LMHeadModel.from_pretrained(os.path.join(HERE, "gpt2"), attn_implementation="eager").eval()

    class Outputs(types.SimpleNamespace):
        def __contains__(self, _):
            return False  # no keys and values are kept

    class Old(module.GenerationMixin):
        config = types.SimpleNamespace(is_encoder_decoder=False)

        def __call__(self, input_ids, **_):
            return Outputs(logits=model(input_ids).logits)

        def prepare_inputs_for_generation(self, input_ids, **_):
            return {"input_ids": input_ids}

    with open(os.path.join(HERE, "gpt2", "generate.json")) as f:
        prompts = json.load(f)["prompts"]
    cases = []
    for end in (20, 36, 70):
        for beams, penalty, ngram, words in ((2, 1.0, 0, []), (5, 1.0, 0, [[36], [11]]), (5, 0.5, 0, [[70]]), (3, 2.0, 2, []), (5, 0.0, 0, [])):
            words = [word for word in words if word != [end]]
            texts = []
            for prompt in prompts:
                ids = torch.tensor([prompt] * beams)
                with torch.no_grad():
                    out = Old()._generate_beam_search(
                        ids, len(prompt), len(prompt) + NEW, 0, False, False, 1.0, 50, 1.0, 1.0, ngram, words or None, END, end, 1, 1, penalty,
                        beams, model.config.vocab_size, torch.ones_like(ids), False, {})
                text = out[0][len(prompt):].tolist()
                texts.append(text[:text.index(end) + 1] if end in text else text)
            cases.append(dict(end=[end], beams=beams, length_penalty=penalty, no_repeat_ngram=ngram, bad_words=words, tokens=texts))
    lengths = [len(text) for case in cases for text in case["tokens"]]
    print(f"{len(cases)} settings; {sum(n < NEW for n in lengths)} of {len(lengths)} texts end early")
    with open(os.path.join(HERE, "settings", "beams_3.json"), "w") as f:
        json.dump(cases, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
