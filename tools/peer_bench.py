#!/usr/bin/env python3
"""The peer of `lora bench train` and `lora bench generate`: the same work done by Hugging Face transformers and PEFT.

  peer_bench.py prepare DIR [--model NAME] [--batches 12] [--rows 16] [--max-len 128] [--seed 0]
  peer_bench.py run DIR [--method lora|full|bitfit] [--r 8] [--alpha 16] [--lr 1e-4] [--dtype fp32|bf16]
                        [--device cpu|cuda:N] [--threads 2] [--compile] [--group-by-length]
  peer_bench.py generate DIR [--beams 10] [--prompts 16] [--prompt-len 60] [--new 64] [--dtype fp32|bf16] [--texts]

`prepare` writes DIR/config.json, DIR/model.safetensors (random weights, dropout 0) and DIR/workload.json:
{"task": "seq-cls" | "causal-lm", "batches": [{"input_ids": [[int]], "labels": [int] | null}]}, rows ragged, without padding. The
models are roberta-base, roberta-large and tiny (torch alone is needed), and gpt2, gpt2-medium, tiny-gpt2, deberta-6 (the shape of
deberta-v2-xlarge with 6 blocks) and tiny-deberta (transformers too).

`run` (torch, transformers, peft) makes one AdamW step a batch, in order: betas 0.9/0.999, eps 1e-8, no decay, constant rate, no
clipping, rows padded to the batch's longest; bf16 is autocast. LoRA adapts query and value, of GPT-2 c_attn; a classifier trains too.
Its start is saved to DIR/adapter_init, so that the other side can start from it and must then show the same losses. With
--group-by-length the same rows form batches of rows of like length. Printed is one JSON line: step_s and tokens_per_s are medians
after two warm-up steps, tokens are counted without padding, peak_mib is the device's, ready_s are the seconds from the start of the
process to the first step.

`generate` searches with beams as `lora bench generate --search transformers` does: the same prompts, a ban of repeated 4-grams,
length penalty 0.9, no end token; bf16 is the model's data type. Batches have 16 prompts.
Where a package is missing the line is {"peer": ..., "missing": reason} and the exit status 3.
"""
import argparse
import ctypes
import json
import math
import os
import random
import resource
import statistics
import struct
import sys
import time

PEER = "transformers+peft"
WARM_UP = 2
BATCH, LENGTH_PENALTY = 16, 0.9
# hidden, layers, heads, intermediate
SIZES = {"tiny": (64, 2, 4, 128), "roberta-base": (768, 12, 12, 3072), "roberta-large": (1024, 24, 16, 4096)}
VOCAB, POSITIONS, LABELS = 50265, 514, 2
# hidden, layers, heads
GPT2 = {"tiny-gpt2": (64, 2, 4), "gpt2": (768, 12, 12), "gpt2-medium": (1024, 24, 16)}
DEBERTA = {"tiny-deberta": (128, 2, 2), "deberta-6": (1536, 6, 24)}
TARGETS = {"gpt2": ["c_attn"], "deberta-v2": ["query_proj", "value_proj"]}


# ---------------------------------------------------------------- prepare


def roberta_shapes(hidden, layers, ffn):
    """Names and shapes of a RobertaForSequenceClassification checkpoint."""
    shapes = {"roberta.embeddings.word_embeddings.weight": [VOCAB, hidden],
              "roberta.embeddings.position_embeddings.weight": [POSITIONS, hidden],
              "roberta.embeddings.token_type_embeddings.weight": [1, hidden]}
    dense = {"classifier.dense": (hidden, hidden), "classifier.out_proj": (LABELS, hidden)}
    norms = ["roberta.embeddings.LayerNorm"]
    for i in range(layers):
        layer = f"roberta.encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense[f"{layer}.attention.{part}"] = (hidden, hidden)
        dense[f"{layer}.intermediate.dense"] = (ffn, hidden)
        dense[f"{layer}.output.dense"] = (hidden, ffn)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, (out, inputs) in dense.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = [out, inputs], [out]
    for name in norms:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = [hidden], [hidden]
    return shapes


def write_weights(path, shapes, seed):
    """A safetensors file written tensor by tensor: 8 bytes header length, JSON header, raw little-endian floats."""
    import torch
    draw = torch.Generator().manual_seed(seed)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            if name.endswith("LayerNorm.weight"):
                value = torch.ones(shape)
            elif name.endswith(".bias"):
                value = torch.zeros(shape)
            else:
                value = torch.empty(shape).normal_(0.0, 0.02, generator=draw)
            f.write(ctypes.string_at(value.data_ptr(), 4 * value.numel()))  # needs no numpy


def write_roberta(args):
    hidden, layers, heads, ffn = SIZES[args.model]
    config = dict(architectures=["RobertaForSequenceClassification"], model_type="roberta", vocab_size=VOCAB, hidden_size=hidden,
                  num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=ffn, hidden_act="gelu",
                  max_position_embeddings=POSITIONS, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0,
                  eos_token_id=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with open(os.path.join(args.dir, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    write_weights(os.path.join(args.dir, "model.safetensors"), roberta_shapes(hidden, layers, ffn), args.seed)


def write_with_transformers(args):
    import torch
    import transformers as hf
    torch.manual_seed(args.seed)
    if args.model in GPT2:
        hidden, layers, heads = GPT2[args.model]
        model = hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=hidden, n_layer=layers, n_head=heads, resid_pdrop=0.0, embd_pdrop=0.0,
                                                 attn_pdrop=0.0))
    else:
        hidden, layers, heads = DEBERTA[args.model]
        model = hf.DebertaV2ForSequenceClassification(hf.DebertaV2Config(
            vocab_size=128100, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * hidden,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pooler_dropout=0.0, cls_dropout=0.0, num_labels=LABELS,
            type_vocab_size=0, layer_norm_eps=1e-7, position_biased_input=False, relative_attention=True, position_buckets=256,
            max_relative_positions=-1, pos_att_type=["p2c", "c2p"], share_att_key=True, norm_rel_ebd="layer_norm",
            attention_head_size=hidden // heads, conv_kernel_size=3, conv_act="gelu"))
    model.save_pretrained(args.dir)


def write_workload(folder, writes, batches=12, rows=16, max_len=128, seed=0, tokens=50000):
    """workload.json; needs no package."""
    rng = random.Random(seed)

    def row():
        # A few long rows among many short ones, as in GLUE: the median is 3/8 of the longest allowed.
        length = round(rng.lognormvariate(math.log(0.375 * max_len), 0.5))
        return [rng.randrange(5, tokens) for _ in range(min(max_len, max(8, length)))]

    def batch():
        made = [row() for _ in range(rows)]
        return {"input_ids": made, "labels": None if writes else [rng.randrange(LABELS) for _ in made]}

    with open(os.path.join(folder, "workload.json"), "w") as f:
        json.dump({"task": "causal-lm" if writes else "seq-cls", "batches": [batch() for _ in range(batches)]}, f)


def prepare(args):
    os.makedirs(args.dir, exist_ok=True)
    (write_roberta if args.model in SIZES else write_with_transformers)(args)
    write_workload(args.dir, args.model in GPT2, args.batches, args.rows, args.max_len, args.seed)


# ---------------------------------------------------------------- run


def adapted(model, args):
    """The model with the method's parameters left trainable."""
    if args.method == "lora":
        from peft import LoraConfig, get_peft_model
        kind = model.config.model_type
        model = get_peft_model(model, LoraConfig(r=args.r, lora_alpha=args.alpha, lora_dropout=0.0, fan_in_fan_out=kind == "gpt2",
                                                 task_type="CAUSAL_LM" if kind == "gpt2" else "SEQ_CLS",
                                                 target_modules=TARGETS.get(kind, ["query", "value"])))
        model.save_pretrained(os.path.join(args.dir, "adapter_init"))
    elif args.method == "bitfit":
        for name, p in model.named_parameters():
            p.requires_grad = name.endswith("bias") or name.startswith(("classifier.", "bert.pooler."))
    return model


def grouped(batches, seed):
    """Batches of as many rows each, of like length, in random order."""
    rows = [(row, label) for b in batches for row, label in zip(b["input_ids"], b["labels"] or [None] * len(b["input_ids"]))]
    rows.sort(key=lambda pair: -len(pair[0]))
    size, made = len(batches[0]["input_ids"]), []
    for part in (rows[i:i + size] for i in range(0, len(rows), size)):
        made.append({"input_ids": [row for row, _ in part], "labels": batches[0]["labels"] and [label for _, label in part]})
    random.Random(seed).shuffle(made)
    return made


def padded(batch, pad, device):
    import torch
    rows = batch["input_ids"]
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    labels = ids.masked_fill(mask == 0, -100) if batch["labels"] is None else torch.tensor(batch["labels"], device=device)
    return dict(input_ids=ids, attention_mask=mask, labels=labels)


def train(model, batches, args):
    """One step a batch; returns losses, seconds of each step and the parameters trained."""
    import torch
    kind = args.device.split(":")[0]
    wait = torch.cuda.synchronize if kind == "cuda" else lambda: None
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.0)
    call = torch.compile(model, dynamic=True) if args.compile else model
    losses, seconds = [], []
    for batch in batches:
        inputs = padded(batch, getattr(model.config, "pad_token_id", None) or 0, args.device)
        wait()
        begun = time.perf_counter()
        with torch.autocast(kind, torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = call(**inputs).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        wait()
        seconds.append(time.perf_counter() - begun)
    return losses, seconds, sum(p.numel() for p in params)


def process_age():
    """Seconds since this process started; None where there is no /proc."""
    try:
        with open("/proc/self/stat") as f:
            ticks = int(f.read().rsplit(")", 1)[1].split()[19])
        with open("/proc/uptime") as f:
            return round(float(f.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"), 2)
    except (OSError, ValueError, IndexError):
        return None


def packages(*names):
    """Imports packages and returns the seconds; where one is missing the process ends."""
    begun = time.perf_counter()
    try:
        for name in names:
            __import__(name)
    except ImportError as error:
        print(json.dumps({"peer": PEER, "missing": str(error)}))
        sys.exit(3)
    return round(time.perf_counter() - begun, 2)


def versions():
    import torch
    import transformers
    return {"torch": torch.__version__, "transformers": transformers.__version__}


def peak_mib(device):
    import torch
    on_gpu = device.startswith("cuda")
    return round(torch.cuda.max_memory_allocated() / 2**20 if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def run(args):
    import_s = packages("torch", "transformers", "peft")
    import peft
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    with open(os.path.join(args.dir, "workload.json")) as f:
        work = json.load(f)
    batches = grouped(work["batches"], args.seed) if args.group_by_length else work["batches"]
    kind = AutoModelForCausalLM if work["task"] == "causal-lm" else AutoModelForSequenceClassification
    model = kind.from_pretrained(args.dir, dtype=torch.float32)
    model = adapted(model, args).train().to(args.device)
    ready_s = process_age()
    losses, seconds, trainable = train(model, batches, args)
    rates = [sum(map(len, b["input_ids"])) / s for b, s in zip(batches, seconds)]
    print(json.dumps({"peer": PEER, "method": args.method, "dtype": args.dtype, "device": args.device, "compiled": args.compile,
                      "grouped": args.group_by_length, "trainable": trainable, "import_s": import_s, "ready_s": ready_s,
                      "step_s": statistics.median(seconds[WARM_UP:]), "tokens_per_s": round(statistics.median(rates[WARM_UP:]), 1),
                      "peak_mib": peak_mib(args.device), "losses": losses, "versions": {**versions(), "peft": peft.__version__}}))


# ---------------------------------------------------------------- generate


def prompts_of(count, longest, vocab):
    """The prompts of `lora bench generate`."""
    shortest = -(-longest // 3)
    lengths = [longest - (i * 7) % (longest - shortest + 1) for i in range(count)]
    return [[(i * 7919 + t * 104729) % vocab for t in range(n)] for i, n in enumerate(lengths)]


def scores_of(model, prompts, texts):
    """Beam search's score of each text: its log-probability by its length to the power of the penalty."""
    import torch
    scores = []
    for prompt, text in zip(prompts, texts):
        ids = torch.tensor([prompt + text], device=model.device)
        logits = model(input_ids=ids).logits[0, len(prompt) - 1:-1].float().log_softmax(-1)
        scores.append(logits.gather(1, ids[0, len(prompt):, None]).sum().item() / len(text) ** LENGTH_PENALTY)
    return scores


def generate(args):
    packages("torch", "transformers")
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(args.threads)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(args.dir, dtype=dtype).eval().to(args.device)
    model.generation_config.eos_token_id = None
    prompts = prompts_of(args.prompts, args.prompt_len, model.config.vocab_size)

    def texts(prompts):
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts], device=args.device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=args.device)
        out = model.generate(input_ids=ids, attention_mask=mask, num_beams=args.beams, do_sample=False, max_new_tokens=args.new,
                             no_repeat_ngram_size=4, length_penalty=LENGTH_PENALTY, early_stopping=False, pad_token_id=0)
        return out[:, width:].tolist()

    with torch.no_grad():
        texts(prompts[:1])
        begun = time.perf_counter()
        made = [text for i in range(0, len(prompts), BATCH) for text in texts(prompts[i:i + BATCH])]
        seconds = time.perf_counter() - begun
        peak, scores = peak_mib(args.device), scores_of(model, prompts, made)
    tokens = sum(map(len, made))
    print(json.dumps({"peer": PEER, "model": args.dir, "dtype": args.dtype, "device": args.device, "prompts": args.prompts,
                      "beams": args.beams, "tokens": tokens, "seconds": seconds, "tokens_per_s": tokens / seconds,
                      "prompts_per_s": args.prompts / seconds, "peak_mib": peak, "scores": scores, "versions": versions(),
                      **({"texts": made} if args.texts else {})}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, **numbers):
        added = commands.add_parser(name)
        added.add_argument("dir")
        for key, default in numbers.items():
            added.add_argument(f"--{key.replace('_', '-')}", type=type(default), default=default)
        return added

    of = command("prepare", batches=12, rows=16, max_len=128, seed=0)
    of.add_argument("--model", choices=sorted([*SIZES, *GPT2, *DEBERTA]), default="roberta-base")
    trains = command("run", r=8, alpha=16, threads=2, seed=0, lr=1e-4)
    trains.add_argument("--method", choices=["lora", "full", "bitfit"], default="lora")
    trains.add_argument("--compile", action="store_true")
    trains.add_argument("--group-by-length", action="store_true")
    writes = command("generate", beams=10, prompts=16, prompt_len=60, new=64, threads=2)
    writes.add_argument("--texts", action="store_true")
    for each in (trains, writes):
        each.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
        each.add_argument("--device", default="cpu")
    args = parser.parse_args()
    {"prepare": prepare, "run": run, "generate": generate}[args.command](args)


if __name__ == "__main__":
    main()
