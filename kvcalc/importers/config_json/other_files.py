"""JSON files that lie where a config.json does, and are none: what each is, and which file to name instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvcalc.errors import MAX_NAME, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_HUGGING_FACE = "name the config.json of the same model in Hugging Face's format"
_BESIDE = "name the config.json beside it"

_EXPORTED = "name the config.json of the checkpoint that was exported"

_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("_diffusers_version",), "a file of a diffusion pipeline, which keeps no cache"),
    (("dim", "n_layers", "n_heads"), f"an original checkpoint's list of sizes; {_HUGGING_FACE}"),
    (("layer_num", "inter_size"), f"a converted checkpoint's list of sizes; {_HUGGING_FACE}"),
    (("kv_cache", "model_type"), f"a list of scales for a cache in fp8; {_HUGGING_FACE}"),
    (("weight_map", "metadata"), f"an index of safetensors files; {_BESIDE}"),
    (("tokenizer_class", "added_tokens_decoder"), f"a tokenizer's file; {_BESIDE}"),
    (("image_processor_type",), f"an image processor's file; {_BESIDE}"),
    (("feature_extractor_type",), f"a feature extractor's file; {_BESIDE}"),
    (("learning_rate",), f"a list of settings of training; {_BESIDE}"),
    (("quantization",), f"a list of what is quantised; {_BESIDE}"),
    (("tokenizer", "size"), f"a preprocessor's file; {_BESIDE}"),
)
"""Keys by which a file is known, and the message about it."""

_WITHOUT_TYPE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("_from_model_config",), f"a list of settings of generation; {_BESIDE}"),
    (("do_sample",), f"a list of settings of generation; {_BESIDE}"),
    (("log_history",), f"a trainer's record; {_BESIDE}"),
    (("word_embedding_dimension",), f"a file of sentence-transformers; {_BESIDE}"),
    (("max_seq_length", "do_lower_case"), f"a file of sentence-transformers; {_BESIDE}"),
    (("__version__",), f"a file of sentence-transformers; {_BESIDE}"),
    (("truncation", "model"), f"a tokenizer's file; {_BESIDE}"),
    (("tokenizer_class",), f"a tokenizer's file; {_BESIDE}"),
    (("processor_class",), f"a processor's file; {_BESIDE}"),
    (("bos_token",), f"a list of special tokens; {_BESIDE}"),
    (("chat_template",), f"a chat template; {_BESIDE}"),
)
"""The same of files that name no model_type; one that does is a config.json."""

_SHAPES = ("hidden_size", "n_embd", "d_model", "num_hidden_layers", "text_config")
"""A file with one of these is a config.json, whatever else it has."""


def other_file(outer: Mapping[str, Any]) -> str | None:
    """What a file is that is no config.json, and what to do; None where it is one, or nothing that is known.

    Args:
        outer: the file.
    """
    if "peft_type" in outer:
        base = outer.get("base_model_name_or_path")
        of = f"'{one_line(base, MAX_NAME)}'" if isinstance(base, str) and base else "a model that it does not name"
        return f"an adapter of {of}, whose cache is its base model's: estimate that with --reserve lora=SIZE"
    if isinstance(outer.get("model"), dict) and "decoder" in outer["model"]:
        return "a file of onnxruntime-genai without the sizes of a cache of keys and values; " + _EXPORTED
    if "attention_probs_dropout_prob" in outer and "model_type" not in outer and "is_decoder" not in outer:
        return "a file of an encoder such as BERT, which keeps no cache"
    if outer.keys() & set(_SHAPES) and "_diffusers_version" not in outer and "layer_num" not in outer:
        return None
    known = _KINDS if outer.keys() & {"model_type", "architectures"} else (*_KINDS, *_WITHOUT_TYPE)
    return next((what for keys, what in known if outer.keys() >= set(keys)), None)
