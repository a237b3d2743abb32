"""Files that describe a model in another format than Hugging Face's, read as a config.json of the same layers.

Where a format does not show what the weights are, the class is named `Unknown`, so that they are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Values = dict[str, Any]

_NOT_COUNTED = {"architectures": ["Unknown"]}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> Values:
    """Under their usual names; null stays out, and so does a vocabulary of -1, which is the tokenizer's."""
    given = {names.get(key, key): value for key, value in values.items() if value is not None}
    return {key: value for key, value in given.items() if (key, value) != ("vocab_size", -1)}


_ORIGINAL = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
    "max_seq_len": "max_position_embeddings",
}
"""Of params.json: vLLM 0.33.0, vllm/transformers_utils/configs/mistral.py; Meta's llama/model.py, ModelArgs."""
_OF_LLAMA = {*_ORIGINAL, "vocab_size", "head_dim", "norm_eps", "rope_theta", "use_scaled_rope", "sliding_window"}
_OF_MISTRAL = {*_OF_LLAMA, "model_type", "max_position_embeddings", "causal"}
_WIDTHS = {"ffn_dim_multiplier", "multiple_of"}


def _original(values: Mapping[str, Any]) -> Values | None:
    """Meta's and Mistral's params.json."""
    if values.get("model_type") == "mamba" or any(key in values for key in ("vision_encoder", "multimodal")):
        return None
    found = _renamed(values, _ORIGINAL)
    experts, latent = values.get("moe"), bool(values.get("qk_nope_head_dim"))
    windows = found.get("sliding_window")
    if latent:
        found["model_type"] = "deepseek_v3"
    elif isinstance(experts, dict):
        found |= {"model_type": "mixtral", "num_local_experts": experts.get("num_experts")}
        found["num_experts_per_tok"] = experts.get("num_experts_per_tok")
    elif found.get("model_type") in (None, "transformer"):
        found["model_type"] = _by_layers(values) or ("mistral" if "hidden_dim" in values else "llama")
    if isinstance(windows, list) and windows:
        layers = values.get("n_layers")
        times = layers // len(windows) if isinstance(layers, int) else 0
        found["layer_types"] = ["sliding_attention" if each else "full_attention" for each in windows] * times
        found["sliding_window"] = next((each for each in windows if each), None)
    elif found["model_type"] in {"mistral", "mixtral"}:
        found.setdefault("sliding_window", None)  # vLLM's reading: no window where the file has none
    width = _feed_forward(values)
    known = set(values) <= (_OF_LLAMA | _WIDTHS if width else _OF_MISTRAL | {"moe"}) and not latent
    if width and known:
        found["intermediate_size"] = width
    return {**found, **({} if known else _NOT_COUNTED)}


_OF_LAYERS = {"linear_attention": "qwen3_5_text", "conv": "lfm2"}
"""Of a list of layer types in ExecuTorch's params (examples/models/llama/model_args.py, and lfm2/short_conv.py)."""


def _by_layers(values: Mapping[str, Any]) -> str | None:
    types = values.get("layer_types")
    listed = {each for each in types if isinstance(each, str)} if isinstance(types, list) else set()
    return next((kind for name, kind in _OF_LAYERS.items() if name in listed), None)


def _feed_forward(values: Mapping[str, Any]) -> int | None:
    """Llama's width: two thirds of four times dim, times a factor, up to a multiple (llama/model.py, FeedForward)."""
    dim, multiple, factor = (values.get(key) for key in ("dim", "multiple_of", "ffn_dim_multiplier"))
    if not isinstance(dim, int) or not isinstance(multiple, int) or multiple < 1:
        return None
    width = int(2 * 4 * dim / 3)
    width = int(factor * width) if isinstance(factor, int | float) and 0 < factor < 100 else width  # noqa: PLR2004  # none
    return -(-width // multiple) * multiple


_DEEPSEEK = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "inter_dim": "intermediate_size",
    "moe_inter_dim": "moe_intermediate_size",
    "n_dense_layers": "first_k_dense_replace",
    "n_activated_experts": "num_experts_per_tok",
}


_DEEPSEEK_V4 = {
    "window_size": "sliding_window",
    "rope_head_dim": "qk_rope_head_dim",
    "n_hash_layers": "num_hash_layers",
    "n_mtp_layers": "num_nextn_predict_layers",
}


def _deepseek_v4(values: Mapping[str, Any]) -> Values | None:
    """DeepSeek-V4's own config.json, beside its inference/model.py; its ratios are of the class's layers."""
    own = {key: value for key, value in values.items() if key not in ("dtype", "original_seq_len", "rope_factor")}
    return {**_renamed(own, _DEEPSEEK | _DEEPSEEK_V4), "model_type": "deepseek_v4", **_NOT_COUNTED}


def _deepseek(values: Mapping[str, Any]) -> Values | None:
    """DeepSeek's own inference/configs: V2 where experts are chosen by softmax without a bias, V3, V3.2.

    Source: https://github.com/deepseek-ai/DeepSeek-V3 inference/model.py, ModelArgs; q_lora_rank 0 means none.
    """
    if "compress_ratios" in values:
        return None
    found = _renamed({key: value for key, value in values.items() if key != "dtype"}, _DEEPSEEK)
    if not found.get("q_lora_rank"):
        found["q_lora_rank"] = None
    kind = "deepseek_v32" if "index_head_dim" in values else "deepseek_v3"
    sigmoid = values.get("score_func") == "sigmoid"
    return {**found, "model_type": kind if sigmoid else "deepseek_v2", "tie_word_embeddings": False}


_CONVERTED = {
    "head_num": "num_attention_heads",
    "n_head": "num_attention_heads",
    "layer_num": "num_hidden_layers",
    "head_num_kv": "num_key_value_heads",
    "size_per_head": "head_dim",
    "inter_size": "intermediate_size",
    "max_seq_len": "max_position_embeddings",
}


def _converted(values: Mapping[str, Any]) -> Values | None:
    """A checkpoint converted for FasterTransformer: heads of keys and values, whatever the rest is."""
    own = {key: value for key, value in values.items() if key != "n_layer" or value != values.get("layer_num")}
    return {**_renamed(own, _CONVERTED), "model_type": "llama", **_NOT_COUNTED}


_EXPORTED = ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_size", "hidden_size")


def _exported(values: Mapping[str, Any]) -> Values | None:
    """onnxruntime-genai's genai_config.json: it allocates its cache by these numbers of the decoder."""
    model = values["model"]
    decoder = model["decoder"]
    named = [decoder.get(key) or {} for key in ("inputs", "outputs")]
    if not all(isinstance(each, dict) for each in named):
        return None
    names = {**named[0], **named[1]}
    if any(not isinstance(decoder.get(key), int) for key in _EXPORTED[:1]) or "layer_types" in decoder:
        return None
    if any("rnn" in key or "conv" in key for key in names) or not isinstance(decoder.get("head_size"), int):
        return None
    sizes = {"head_dim" if key == "head_size" else key: decoder[key] for key in _EXPORTED if key in decoder}
    sizes |= {"vocab_size": model.get("vocab_size"), "max_position_embeddings": model.get("context_length")}
    if any("cross" in key for key in names):
        kept = {"d_model": sizes.pop("hidden_size", None), "decoder_layers": sizes.pop("num_hidden_layers")}
        kept["decoder_attention_heads"] = sizes.pop("num_attention_heads", None)
        return {"model_type": "whisper", **kept, **{k: sizes[k] for k in ("vocab_size",)}, **_NOT_COUNTED}
    sizes.setdefault("num_attention_heads", sizes.get("num_key_value_heads"))
    sizes.setdefault("hidden_size", None)
    window = decoder.get("sliding_window")
    if isinstance(window, dict) and isinstance(window.get("window_size"), int):
        listed = window.get("layers")
        chosen = set(listed) if isinstance(listed, list) else set(range(sizes["num_hidden_layers"]))
        kinds = [
            "sliding_attention" if each in chosen else "full_attention" for each in range(sizes["num_hidden_layers"])
        ]
        sizes |= {"layer_types": kinds, "sliding_window": window["window_size"]}
    return {"model_type": "mistral", "sliding_window": None, **sizes, **_NOT_COUNTED}


_KINDS: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Values | None]], ...] = (
    (("dim", "n_layers", "n_heads", "compress_ratios", "window_size"), _deepseek_v4),
    (("dim", "n_layers", "n_heads", "kv_lora_rank", "inter_dim"), _deepseek),
    (("dim", "n_layers", "n_heads"), _original),
    (("layer_num", "inter_size"), _converted),
)
"""Keys by which a format is known."""


def as_config(outer: Mapping[str, Any]) -> Values | None:
    """The same model's keys as a config.json has them; None of a file of another format, or of no model.

    Args:
        outer: the file.
    """
    model = outer.get("model")
    if isinstance(model, dict) and isinstance(model.get("decoder"), dict):
        return _exported(outer)
    return next((read(outer) for keys, read in _KINDS if outer.keys() >= set(keys)), None)
