#!/usr/bin/env python3
"""Writes golden/adapters: Houlsby's and Pfeiffer's adapters and prefix tuning as AdapterHub's `adapters` computes them.

  pip install torch==2.11.0 adapters==1.3.0 safetensors        (an environment of its own: it wants transformers 4)
  make_adapters_golden.py    (after make_golden.py and make_gpt2_golden.py, whose models it reads)

The library's own configurations, with another bottleneck; the rows are of unlike length.
"""
import adapters
import torch

from reference_models import WIDTH, base, prefixes, randomise, record, save

BOTTLENECK, PREFIX, MLP = 4, 3, 7
PLACE = {"roberta": "roberta.encoder.layer", "gpt2": "transformer.h"}
CONFIGS = {"adapter_h": adapters.DoubleSeqBnConfig, "adapter_p": adapters.SeqBnConfig}
OURS = {
    "adapter_h": "{kind: adapter_h, nonlinearity: silu, layer_norm: false, drop: [], bottleneck: %d, init: normal, std: 0.02}",
    "adapter_p": "{kind: adapter_p, nonlinearity: relu, layer_norm: false, drop: [], bottleneck: %d, init: normal, std: 0.02}",
}


def with_method(name, config):
    model = base(name)
    adapters.init(model)
    model.add_adapter("golden", config=config)
    model.train_adapter("golden")
    model.set_active_adapters("golden")
    return model.double().eval()


def bottleneck(name, tensors, methods, method):
    model = with_method(name, CONFIGS[method](reduction_factor=WIDTH[name] / BOTTLENECK))
    own = [(n, p) for n, p in model.named_parameters() if ".adapters.golden." in n]
    randomise(own, 3)

    def named():
        found = {}
        for key, p in own:
            block = key.removeprefix(PLACE[name] + ".").split(".")[0]
            tap = "after_attention" if ".attention" in key else "after_ffn"
            part = "down" if "adapter_down" in key else "up"
            found[f"{PLACE[name]}.{block}.{tap}.{part}.{key.rsplit('.', 1)[1]}"] = (p, p.grad)
        assert len(found) == len(own)
        return found

    record(tensors, method, name, model, named)
    methods[method] = OURS[method] % BOTTLENECK


def prefix_tuning(name, tensors, methods):
    model = with_method(name, adapters.PrefixTuningConfig(prefix_length=PREFIX, bottleneck_size=MLP, dropout=0.0))
    own = [(n, p) for n, p in model.named_parameters() if "prefix" in n and p.requires_grad]
    randomise(own, 4)
    pool = [m for m in model.modules() if type(m).__name__ == "PrefixTuning"][0]

    def named():
        return prefixes(name, pool.wte.weight, pool.control_trans[0], pool.control_trans[2], None)

    record(tensors, "prefix_tuning", name, model, named)
    methods["prefix_tuning"] = "{kind: prefix_tuning, prefix: %d, mlp: %d}" % (PREFIX, MLP)


def main():
    torch.set_num_threads(1)
    for name in PLACE:
        tensors, methods = {}, {}
        for method in CONFIGS:
            bottleneck(name, tensors, methods, method)
        prefix_tuning(name, tensors, methods)
        save("adapters", name, tensors, methods)


if __name__ == "__main__":
    main()
