"""`python -m llama_cpp.server --model FILE`, as the line of llama-server with the same memory.

llama-cpp-python 0.3.35: llama_cpp/server/settings.py, ModelSettings; llama_cpp/llama.py. No layer is on a card and
flash attention is off unless its line says so; layers with windows keep the whole context, and logits are those of
every token, as llama_context_default_params has both (src/llama-context.cpp).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.logs.command_lines.relayed import Program, Relayed, Taken, as_table, count

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULE = "llama_cpp.server"
_SPLITS = {"0": "none", "1": "layer", "2": "row", "3": "tensor"}
"""include/llama.h, llama_split_mode."""
_TYPES = {"0": "f32", "1": "f16", "2": "q4_0", "3": "q4_1", "6": "q5_0", "7": "q5_1", "8": "q8_0"}
_TYPES |= {"20": "iq4_nl", "30": "bf16"}
"""ggml/include/ggml.h, ggml_type."""
_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})

PROGRAM = Program(
    "llama_cpp.server",
    names=as_table(
        """
model
n_gpu_layers n_gpu
split_mode
tensor_split
n_ctx
n_batch
n_ubatch
offload_kqv
flash_attn
clip_model_path
type_k
type_v
"""
    ),
    short=MappingProxyType({}),
    switches=frozenset({"flash_attn", "offload_kqv", "embedding", "cache", "verbose", "logits_all", "use_mlock"}),
    lists=frozenset({"tensor_split", "kv_overrides"}),
    refused=frozenset({"lora_path", "embedding", "rpc_servers", "kv_overrides", "vocab_only"}),
    harmless=frozenset(
        {"host", "port", "model_alias", "n_threads", "n_threads_batch", "seed", "use_mmap", "use_mlock", "verbose"}
        | {"chat_format", "cache", "cache_type", "cache_size", "logits_all", "main_gpu", "mul_mat_q", "api_key"}
        | {"interrupt_requests", "draft_model", "draft_model_num_pred_tokens", "hf_pretrained_model_name_or_path"}
        | {"hf_tokenizer_config_path", "rope_freq_base", "rope_freq_scale", "rope_scaling_type", "last_n_tokens_size"}
        | {"numa", "lora_base", "hf_model_repo_id", "ssl_keyfile", "ssl_certfile", "root_path", "yarn_orig_ctx"}
    ),
)


def relayed(arguments: Sequence[str], option: str) -> Relayed:
    """What its line tells llama.cpp.

    Args:
        arguments: behind the module.
        option: of kvcalc, in messages.

    Raises:
        KvcalcError: it names no model, a value is none, or it changes memory in a way that is not followed.
    """
    told, _, further = PROGRAM.told(arguments, option)
    if "model" not in told:
        raise KvcalcError(f"{option}: the line names no model; put --model FILE behind {MODULE}")
    layers = count(told.get("n_gpu_layers", "0"), "--n_gpu_layers", option, -1, 10**6)
    batch = count(told.get("n_batch", "512"), "--n_batch", option, 1, 10**6)
    step = count(told.get("n_ubatch", "512"), "--n_ubatch", option, 1, 10**6)
    words = ["-m", told["model"], "-c", told.get("n_ctx", "2048"), "-np", "1", "-b", str(batch)]
    words += ["-ub", str(min(batch, step)), "-ngl", "all" if layers < 0 else str(layers)]
    words += ["-fa", "on" if told.get("flash_attn", "false").lower() in _TRUE else "off", "--swa-full"]
    words += [] if told.get("offload_kqv", "true").lower() in _TRUE else ["-nkvo"]
    words += ["-sm", _known(_SPLITS, told["split_mode"], "--split_mode", option)] if "split_mode" in told else []
    words += ["-ts", told["tensor_split"]] if "tensor_split" in told else []
    words += ["--mmproj", told["clip_model_path"]] if "clip_model_path" in told else []
    for flag, name in (("-ctk", "type_k"), ("-ctv", "type_v")):
        if name in told:
            words += [flag, _known(_TYPES, told[name], f"--{name}", option)]
    taken = [
        Taken(f"{MODULE} reserves logits of every token of a step"),
        Taken(f"{MODULE}: layers with windows keep the whole context", of_windows=True),
    ]
    if "n_gpu_layers" not in told:
        taken.append(
            Taken(f"{MODULE} has no layer on a card without --n_gpu_layers (--n_gpu_layers -1 puts all there)")
        )
    return Relayed((*words, *further), {"n-outputs-max": "0"}, tuple(taken))


def _known(table: dict[str, str], text: str, what: str, option: str) -> str:
    if text not in table:
        raise KvcalcError(f"{option}: {what} {text[:20]} is none of {', '.join(table)}")
    return table[text]
