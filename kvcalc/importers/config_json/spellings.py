"""Families whose files call the usual sizes by other names, and the name that readers know.

Sources: `attribute_map` of the classes in transformers 5.24.0, models/<name>/configuration_<name>.py; for families
without a class there, the configuration_<name>.py beside their checkpoints.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def _named(hidden: str = "", heads: str = "", layers: str = "", width: str = "", **more: str) -> Mapping[str, str]:
    """Names of hidden_size, num_attention_heads, num_hidden_layers and intermediate_size; an empty one is the usual."""
    usual = {"hidden_size": hidden, "num_attention_heads": heads, "num_hidden_layers": layers}
    return {name: key for key, name in {**usual, "intermediate_size": width, **more}.items() if name}


_DECODER = _named("d_model", "decoder_attention_heads", "decoder_layers", "decoder_ffn_dim")

BART = """
bart mbart blenderbot blenderbot-small bigbird_pegasus m2m_100 marian mvp pegasus pegasus_x plbart speech_to_text
fsmt whisper pp_formulanet_text trocr led nllb-moe cohere_asr musicgen_decoder musicgen_melody_decoder
"""
"""Encoders and decoders whose keys begin with `decoder_`."""
T5 = "t5 mt5 umt5 longt5 switch_transformers udop pop2piano pix2struct_text_model"

BERT = """
bert bert-generation big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta roberta-prelayernorm
roc_bert roformer xlm-roberta xlm-roberta-xl xmod
"""
"""Encoders, which is_decoder makes decoders."""

SPELLINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(BART.split(), _DECODER),
        **dict.fromkeys(
            T5.split(),
            _named("d_model", "num_heads", "num_decoder_layers", "d_ff", head_dim="d_kv"),
        ),
        "prophetnet": _named("", "num_decoder_attention_heads", "num_decoder_layers", "decoder_ffn_dim"),
        "gpt_neo": _named("", "num_heads", "num_layers"),
        "xglm": _named("d_model", "attention_heads", "num_layers", "ffn_dim"),
        **dict.fromkeys(
            ("kosmos_2_text_model", "kosmos_2_5_text_model"),
            _named("embed_dim", "attention_heads", "layers", "ffn_dim"),
        ),
        "ctrl": _named("", "", "", "dff"),
        "cpmant": _named("", "", "", "dim_ff", head_dim="dim_head"),
        "jetmoe": _named(head_dim="kv_channels"),
        "qwen": _named("", "", "", "", head_dim="kv_channels"),
        "afm7": _named("hidden_dim", "num_heads", "num_layers", num_key_value_heads="num_kv_heads"),
        "lille-130m": _named(num_key_value_heads="n_kv_heads", max_position_embeddings="block_size"),
        "phixtral": _named("model_dim", "num_heads", "num_layers", vocab_size="num_vocab"),
        "plamo3": _named(sliding_window="window_size"),
        "transformer": _named(heads="num_heads", num_key_value_heads="num_kv_heads", sliding_window="window_size"),
        "phi3small": _named("", "", "", "ff_intermediate_size"),
        "kimi_k25_vision": _named(
            "vt_hidden_size",
            "vt_num_attention_heads",
            "vt_num_hidden_layers",
            "vt_intermediate_size",
            pos_emb_height="init_pos_emb_height",
            pos_emb_width="init_pos_emb_width",
        ),
    }
)


def respelled(values: Mapping[str, Any], model_type: str) -> Mapping[str, Any]:
    """A file, its keys with a family's own names under the usual ones, which win where both are there."""
    names = SPELLINGS.get(model_type)
    if not names:
        return values
    if model_type in T5.split() and "num_layers" in values:  # of the encoder, which may be deeper, as ByT5's is
        stated = values.get("num_decoder_layers")
        values = {**values, "num_decoder_layers": values["num_layers"] if stated is None else stated}
        del values["num_layers"]
    given = {names[key]: value for key, value in values.items() if key in names and value is not None}
    return {**given, **{key: value for key, value in values.items() if key not in names or values.get(names[key])}}
