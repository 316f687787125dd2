#!/usr/bin/env python3
"""Writes golden/config.json: what transformers takes from a config.json that leaves keys out, and its nonlinearities.

  pip install torch==2.11.0 transformers
  make_config_golden.py

  versions      of torch and transformers
  defaults      by model type and key: of the configuration class, and for DeBERTa-v2 those that the model itself assumes
  activations   x, and by name what ACT2FN computes of it in double precision
"""
import json
import os

import torch
import transformers
from transformers.activations import ACT2FN

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "config.json")

ENCODER = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
           "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size",
           "initializer_range", "layer_norm_eps", "pad_token_id", "classifier_dropout", "is_decoder", "tie_word_embeddings"]
DEBERTA = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
           "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings", "type_vocab_size", "layer_norm_eps",
           "initializer_range", "relative_attention", "max_relative_positions", "pos_att_type", "position_biased_input",
           "pooler_dropout", "pooler_hidden_act", "legacy", "tie_word_embeddings"]
GPT2 = ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function", "attn_pdrop", "resid_pdrop",
        "embd_pdrop", "layer_norm_epsilon", "initializer_range", "scale_attn_weights", "scale_attn_by_inverse_layer_idx",
        "add_cross_attention", "tie_word_embeddings"]
LLAMA = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
         "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps", "tie_word_embeddings", "attention_dropout", "eos_token_id"]
LLAMA_ALONE = ["head_dim", "attention_bias", "mlp_bias"]
QWEN2_ALONE = ["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"]
ACTIVATIONS = ["gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate",
               "quick_gelu", "relu", "silu", "swish", "tanh"]


def of_class(config, keys):
    return {key: getattr(config, key) for key in keys}


def of_deberta_model():
    """Of keys that the class does not have, read from a small model."""
    small = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=10,
                 relative_attention=True, position_biased_input=False)
    config = transformers.DebertaV2Config(**small)
    model = transformers.DebertaV2ForSequenceClassification(config)
    encoder, attention = model.deberta.encoder, model.deberta.encoder.layer[0].attention.self
    with_conv = transformers.DebertaV2Model(transformers.DebertaV2Config(**small, conv_kernel_size=3)).encoder.conv
    dropout = model.dropout.p
    assert encoder.conv is None and model.pooler.dense.out_features == 8 and model.deberta.embeddings.embedding_size == 8
    assert attention.attention_head_size == 4 and dropout == config.hidden_dropout_prob
    return {
        "position_buckets": encoder.position_buckets, "norm_rel_ebd": "|".join(encoder.norm_rel_ebd),
        "share_att_key": attention.share_att_key, "conv_kernel_size": 0, "conv_groups": with_conv.conv.groups,
        "conv_act": with_conv.conv_act, "attention_head_size": None, "embedding_size": None, "pooler_hidden_size": None,
        "cls_dropout": None,
    }


def main():
    x = torch.linspace(-12, 12, 49, dtype=torch.float64)
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "defaults": {
            "bert": of_class(transformers.BertConfig(), ENCODER),
            "roberta": of_class(transformers.RobertaConfig(), ENCODER),
            "deberta-v2": of_class(transformers.DebertaV2Config(), DEBERTA) | of_deberta_model(),
            "gpt2": of_class(transformers.GPT2Config(), GPT2),
            # Of the class and not of a configuration, which derives some of them from others.
            "llama": of_class(transformers.LlamaConfig, LLAMA + LLAMA_ALONE),
            "qwen2": of_class(transformers.Qwen2Config, LLAMA + QWEN2_ALONE),
        },
        "activations": {"x": x.tolist()} | {name: ACT2FN[name](x).tolist() for name in ACTIVATIONS},
    }
    with open(OUT, "w") as f:
        json.dump(golden, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
