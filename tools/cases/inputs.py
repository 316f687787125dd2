"""The inputs of the cases: made here from the embedded RoBERTa and from random numbers, so that none of them is kept."""
import json
import os
import random
import shutil
import struct

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EMBEDDED = os.path.join(ROOT, "experiments", "embedded", "roberta")

SUBJECTS = ["the cat", "a dog", "the red bird", "my friend", "the old man", "a small child", "the teacher", "some farmer"]
VERBS = ["sees", "likes", "finds", "follows", "draws"]
OBJECTS = ["the house", "a tree", "the river", "an apple", "the long road", "a green door", "the book"]


def random_tensor(shape, seed, scale=0.2):
    source, count = random.Random(str(seed)), 1
    for size in shape:
        count *= size
    return "F32", list(shape), struct.pack(f"<{count}f", *(source.gauss(0.0, scale) for _ in range(count)))


def constant(shape, value):
    count = 1
    for size in shape:
        count *= size
    return "F32", list(shape), struct.pack(f"<{count}f", *([value] * count))


def read(path):
    """A safetensors file: name -> (number type, shape, bytes)."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[t["data_offsets"][0]:t["data_offsets"][1]]) for name, t in header.items()}


def write(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (kind, shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _, (_, _, data) in sorted(tensors.items()):
            file.write(data)


def dump(value, *path):
    with open(os.path.join(*path), "w") as file:
        json.dump(value, file, indent=1)


def load(*path):
    with open(os.path.join(*path)) as file:
        return json.load(file)


def encoder(folder, config=lambda c: None, tokenizer=lambda t: None, tensors=lambda t: None):
    """A copy of the embedded RoBERTa with other words in its files."""
    shutil.copytree(EMBEDDED, folder)
    for name, change in [("config.json", config), ("tokenizer.json", tokenizer)]:
        value = load(folder, name)
        change(value)
        dump(value, folder, name)
    path = os.path.join(folder, "model.safetensors")
    values = read(path)
    tensors(values)
    write(path, values)


def head(outputs):
    """Puts a trained classifier in the place of the head over the vocabulary."""
    def change(tensors):
        for name in [name for name in tensors if name.startswith("lm_head")]:
            del tensors[name]
        for part, rows in [("dense", 128), ("out_proj", outputs)]:
            tensors[f"classifier.{part}.weight"] = random_tensor([rows, 128], part)
            tensors[f"classifier.{part}.bias"] = random_tensor([rows], part + "bias")
    return change


def turned(tensors):
    """The same classifier with its two rows in the other order."""
    head(2)(tensors)
    for name in ["classifier.out_proj.weight", "classifier.out_proj.bias"]:
        kind, shape, data = tensors[name]
        half = len(data) // 2
        tensors[name] = (kind, shape, data[half:] + data[:half])


def labels(*names):
    return lambda config: config.update(
        id2label={str(i): name for i, name in enumerate(names)}, label2id={name: i for i, name in enumerate(names)}
    )


def sentence(i):
    return f"{SUBJECTS[i % 8]} {VERBS[i % 5]} {OBJECTS[i % 7]}.".capitalize()


def cola(folder):
    """40 rows to train on and 24 of dev; every third has its words turned round."""
    for split, first, rows in [("train", 0, 40), ("dev", 40, 24)]:
        os.makedirs(os.path.join(folder, "CoLA"), exist_ok=True)
        with open(os.path.join(folder, "CoLA", f"{split}.tsv"), "w") as file:
            for i in range(first, first + rows):
                wrong = i % 3 == 0
                text = " ".join(reversed(sentence(i).split())) if wrong else sentence(i)
                file.write(f"mine\t{int(not wrong)}\t{'*' if wrong else ''}\t{text}\n")


def constant_scores(folder):
    """STS-B whose dev rows all have the same score: no correlation is defined."""
    os.makedirs(os.path.join(folder, "STS-B"), exist_ok=True)
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    for split, rows in [("train", 32), ("dev", 16)]:
        with open(os.path.join(folder, "STS-B", f"{split}.tsv"), "w") as file:
            file.write(header)
            for i in range(rows):
                score = 3.0 if split == "dev" else i % 6
                both = f"{sentence(i)}\t{sentence(i + i % 2)}"
                file.write(f"{i}\tg\tf\t2026\t{i}\tnone\tnone\t{both}\t{score:.3f}\n")


TINY = {
    "model_type": "roberta", "architectures": ["RobertaForSequenceClassification"], "vocab_size": 100, "hidden_size": 32,
    "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 40,
    "type_vocab_size": 1, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}
CLASSIFIER = {"dense.weight": [32, 32], "dense.bias": [32], "out_proj.weight": [2, 32], "out_proj.bias": [2]}


def base(folder):
    """A classifier of width 32 with random weights and no tokenizer."""
    os.makedirs(folder)
    dump(TINY, folder, "config.json")
    shapes = {f"classifier.{name}": shape for name, shape in CLASSIFIER.items()}
    for name, rows in [("word", 100), ("position", 40), ("token_type", 1)]:
        shapes[f"roberta.embeddings.{name}_embeddings.weight"] = [rows, 32]
    linears = {"attention.self.query": (32, 32), "attention.self.key": (32, 32), "attention.self.value": (32, 32),
               "attention.output.dense": (32, 32), "intermediate.dense": (64, 32), "output.dense": (32, 64)}
    norms = ["roberta.embeddings.LayerNorm"]
    for layer in range(2):
        at = f"roberta.encoder.layer.{layer}"
        for name, (rows, width) in linears.items():
            shapes.update({f"{at}.{name}.weight": [rows, width], f"{at}.{name}.bias": [rows]})
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    tensors = {name: random_tensor(shape, name) for name, shape in shapes.items()}
    for name in norms:
        tensors.update({f"{name}.weight": constant([32], 1.0), f"{name}.bias": constant([32], 0.0)})
    write(os.path.join(folder, "model.safetensors"), tensors)


def adapter(folder, rank=8, config=None, change=lambda tensors: None):
    """A LoRA adapter of PEFT for `base`, on query and value, with its classifier."""
    os.makedirs(folder)
    known = {
        "peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "base", "r": rank, "lora_alpha": 16,
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": ["query", "value"], "modules_to_save": ["classifier", "score"],
    }
    dump({**known, **(config or {})}, folder, "adapter_config.json")
    tensors = {f"base_model.model.classifier.{name}": random_tensor(shape, "own" + name) for name, shape in CLASSIFIER.items()}
    for layer in range(2):
        for role in ["query", "value"]:
            at = f"base_model.model.roberta.encoder.layer.{layer}.attention.self.{role}"
            tensors[f"{at}.lora_A.weight"] = random_tensor([rank, 32], at + "A", 0.1)
            tensors[f"{at}.lora_B.weight"] = random_tensor([32, rank], at + "B", 0.1)
    change(tensors)
    write(os.path.join(folder, "adapter_model.safetensors"), tensors)


def zero(factor):
    def change(tensors):
        for name, (kind, shape, data) in tensors.items():
            if f"lora_{factor}" in name:
                tensors[name] = (kind, shape, bytes(len(data)))
    return change


def one_nan(tensors):
    name = next(name for name in sorted(tensors) if "layer.0" in name and "query.lora_B" in name)
    kind, shape, data = tensors[name]
    tensors[name] = (kind, shape, struct.pack("<f", float("nan")) + data[4:])


def headless(tensors):
    for name in [name for name in tensors if ".classifier." in name]:
        del tensors[name]


def wikisql(folder):
    """Two conditions on one column: dbengine gives both one parameter, the last value."""
    table = {"id": "1-1", "header": ["Player", "Pick #", "Year"], "types": ["text", "real", "real"],
             "rows": [["Ann", 1, 1992], ["Bo", 1000, 2004], ["Cy", 3, 2008]]}
    question = {"phase": 1, "table_id": "1-1", "question": "q?", "sql": {"sel": 0, "agg": 0, "conds": [[2, 1, 1990]]}}
    for name, value in [("same-column.tables.jsonl", table), ("same-column.jsonl", question)]:
        with open(os.path.join(folder, name), "w") as file:
            file.write(json.dumps(value) + "\n")
    with open(os.path.join(folder, "same-column.txt"), "w") as file:
        file.write("SELECT Player FROM table WHERE Year > 2003 AND Year > 1990\n")


def make(case, folder):
    """The inputs of `case` in `folder`."""
    at = lambda name: os.path.join(folder, name)
    plain = lambda: (encoder(at("a")), cola(at("data")))
    of_peft = lambda **how: (base(at("base")), adapter(at("adapter"), **how))
    makers = {
        "base-with-the-head-of-another-task": lambda: (
            encoder(at("three-classes"), tensors=head(3)), cola(at("data"))),
        "config-without-defaults": lambda: (
            encoder(at("no-layer_norm_eps"), lambda c: c.pop("layer_norm_eps")),
            encoder(at("no-change"), lambda c: c.update(layer_norm_eps=1e-12)), cola(at("data"))),
        "identity-leaves-out-config-and-tokenizer": lambda: (
            plain(), encoder(at("config-changed"), lambda c: c.update(hidden_act="relu")),
            encoder(at("tokenizer-changed"), tokenizer=lambda t: t.update(normalizer=None))),
        "label-order-of-the-base-head": lambda: (
            encoder(at("as-glue"), labels("unacceptable", "acceptable"), tensors=head(2)),
            encoder(at("other-order"), labels("acceptable", "unacceptable"), tensors=turned), cola(at("data"))),
        "nan-in-adapter": lambda: of_peft(change=one_nan),
        "peft-head-missing": lambda: of_peft(change=headless),
        "peft-keys-that-say-nothing": lambda: of_peft(
            config={"enable_lora": None, "merge_weights": False, "key_of_a_version_to_come": None}),
        "set-train-lr-has-no-effect": plain,
        "subspace-zero-update": lambda: (
            base(at("base")), adapter(at("zeroB"), 4, change=zero("B")), adapter(at("zeroA"), 4, change=zero("A"))),
        "undefined-metric-is-no-seed": lambda: (encoder(at("a")), constant_scores(at("data"))),
        "wikisql-dbengine": lambda: wikisql(folder),
    }
    makers.get(case, lambda: None)()
