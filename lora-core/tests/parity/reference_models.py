"""The small models under golden/ in transformers, their first batches, and how the answers of a method are written down.

Shared by make_peft_golden.py and make_adapters_golden.py. For each method, NAME/var/..., NAME/logits and NAME/grad/... as in
make_methods_golden.py, under this project's names; GPT-2's logits are those of the scored tokens, row after row.
"""
import json
import os

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
END, MAX_LEN = 96, 40
CLASSES = {"roberta": transformers.RobertaForSequenceClassification, "gpt2": transformers.GPT2LMHeadModel}
LAYERS, WIDTH = {"roberta": 3, "gpt2": 3}, {"roberta": 32, "gpt2": 24}


def base(name, wrap=lambda cls: cls):
    """The frozen golden model, in double precision."""
    cls = CLASSES[name]
    config = cls.config_class.from_pretrained(os.path.join(HERE, name))
    config._attn_implementation = "eager"
    model = wrap(cls)(config)
    weights = load_file(os.path.join(HERE, name, "model.safetensors"))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and all(m == "lm_head.weight" for m in missing), (missing, unexpected)
    if name == "gpt2":
        model.tie_weights()
    return model.double().eval()


def padded(rows, value):
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows]), torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])


def answers(name, model, **more):
    """Logits and loss of batch 0, ragged rows padded on the right."""
    with open(os.path.join(HERE, name, "batches.json")) as f:
        batch = json.load(f)[0]
    if name == "roberta":
        ids, mask = padded(batch["input_ids"], 1)
        logits = model(input_ids=ids, attention_mask=mask, **more).logits
        return logits, F.cross_entropy(logits, torch.tensor(batch["labels"]))
    rows = [(row["prompt"] + [END] + row["completion"] + [END])[:MAX_LEN] for row in batch]
    ids, mask = padded([row[:-1] for row in rows], 0)
    positions = torch.arange(ids.shape[1]).expand(len(rows), -1)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions + more.pop("shift", 0), **more).logits
    scored, wanted = [], []
    for i, (row, given) in enumerate(zip(rows, batch)):
        context = len(given["prompt"]) + 1
        scored.append(logits[i, context - 1:len(row) - 1])
        wanted += row[context:]
    scored = torch.cat(scored)
    return scored, F.cross_entropy(scored, torch.tensor(wanted))


def randomise(parameters, seed, mean_one=()):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in parameters:
            noise = 0.3 * torch.randn(p.shape, generator=draw, dtype=torch.float64)
            if any(part in name for part in mean_one):
                p.mul_(1 + noise)
            else:
                p.copy_(noise)


def record(tensors, method, name, model, named, **more):
    """`named`: this project's name of a variable -> (value, gradient) once the gradients are there."""
    logits, loss = answers(name, model, **more)
    loss.backward()
    tensors[f"{method}/logits"] = logits.detach().float()
    for ours, (value, gradient) in named().items():
        tensors[f"{method}/var/{ours}"] = value.detach().float().contiguous().clone()
        tensors[f"{method}/grad/{ours}"] = gradient.detach().float().contiguous().clone()
    print(f"{name:8} {method:22} {len(named()):3} variables, largest answer {logits.abs().max():.3f}")


def prefixes(name, embedding, hidden, out, kv):
    """A prefix's variables: (embedding, hidden, out) of the network, or `kv` as trained. Rows of the output come as keys and
    values of block 0, keys and values of block 1, ..."""
    d, place = WIDTH[name], {"roberta": "roberta.encoder.layer.{}.prefix", "gpt2": "transformer.h.{}.prefix"}[name]
    found = {}
    if kv is not None:
        for block in range(LAYERS[name]):
            for at, part in enumerate(["key", "value"]):
                cut = slice((2 * block + at) * d, (2 * block + at + 1) * d)
                found[f"{place.format(block)}.{part}"] = (kv[:, cut], kv.grad[:, cut])
        return found
    found["prefix.embedding.weight"] = (embedding, embedding.grad)
    for part in ("weight", "bias"):
        h, o = getattr(hidden, part), getattr(out, part)
        found[f"prefix.hidden.{part}"] = (h, h.grad)
        for block in range(LAYERS[name]):
            cut = slice(2 * block * d, 2 * (block + 1) * d)
            found[f"{place.format(block)}.out.{part}"] = (o[cut], o.grad[cut])
    return found


def save(folder, name, tensors, methods):
    out = os.path.join(HERE, folder)
    os.makedirs(out, exist_ok=True)
    save_file(tensors, os.path.join(out, f"{name}.safetensors"))
    with open(os.path.join(out, f"{name}.json"), "w") as f:
        json.dump(methods, f, indent=1)
        f.write("\n")
