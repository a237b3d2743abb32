"""Parameters of a layer's attention, by its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN
from kvcalc.importers.config_json.parameters import states
from kvcalc.importers.config_json.parameters.compressed import compressed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.parameters.anatomy import Anatomy, Flag
    from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer


def holds(config: Config, flag: Flag) -> bool:
    """Whether a family has what a flag is about."""
    if flag.key is None:
        return flag.default
    found = config.get(flag.key)
    return flag.default if found is None else bool(found.value)


def attention_parameters(config: Config, anatomy: Anatomy, layer: ImportedLayer) -> int | None:
    """Those of a layer's attention; None where its kind has no count."""
    if anatomy.sinks == "sliding" and layer.window is None:
        anatomy = anatomy._replace(sinks="none")
    counts = [_KINDS.get(block.kind) for block in layer.blocks]
    if None in counts:
        return None
    return sum(count(config, anatomy, block) for count, block in zip(counts, layer.blocks, strict=True) if count)


def _heads(config: Config, anatomy: Anatomy, block: AttentionBlock) -> int:
    sizes = block.sizes
    hidden, heads, width = config.count(*HIDDEN).value, sizes["num_heads"], sizes["head_dim"]
    kv_heads = {"mha": heads, "mqa": 1}.get(block.kind) or sizes["num_kv_heads"]
    v_width = sizes.get("v_head_dim", width)
    queries = heads * width * (2 if anatomy.doubled_queries else 1)
    rows = queries + kv_heads * (width + v_width)
    total: int = hidden * rows + heads * v_width * hidden
    if holds(config, anatomy.qkv_bias):
        total += rows
    if holds(config, anatomy.out_bias):
        total += hidden
    if anatomy.sinks != "none":
        total += heads
    if holds(config, anatomy.if_qk_norm):
        norms = {"none": 0, "head": 2 * width, "head with bias": 4 * width}
        total += norms.get(anatomy.qk_norm, (heads + kv_heads) * width)
    if "index_kpool" in sizes:
        index = sizes["index_head_dim"]
        total += hidden * (sizes["index_n_heads"] + 1) * index + 2 * index
    return total + _gate(config, anatomy, heads, v_width)


def _gate(config: Config, anatomy: Anatomy, heads: int, width: int) -> int:
    """A matrix from hidden_size to a number a head, or to one for each of the head's."""
    if anatomy.gate == "none":
        return 0
    kind = config.get("gating") if anatomy.gate == "by gating" else None
    one = anatomy.gate == "a head" or (kind is not None and (kind.value is True or kind.value == "per-head"))
    return int(config.count(*HIDDEN).value) * heads * (1 if one else width)


def _latent(config: Config, anatomy: Anatomy, block: AttentionBlock) -> int:
    sizes = block.sizes
    hidden, heads, rank = config.count(*HIDDEN).value, sizes["num_heads"], sizes["kv_lora_rank"]
    rope, nope, v_width = sizes["qk_rope_head_dim"], sizes["qk_nope_head_dim"], sizes["v_head_dim"]
    bias, q_rank = holds(config, anatomy.qkv_bias), sizes.get("q_lora_rank")
    total: int = hidden * (rank + rope) + rank + rank * heads * (nope + v_width) + heads * v_width * hidden
    total += (rank + rope if bias else 0) + (hidden if holds(config, anatomy.out_bias) else 0)
    if q_rank is None:
        total += hidden * heads * (nope + rope)
    else:
        total += hidden * q_rank + q_rank + q_rank * heads * (nope + rope) + (q_rank if bias else 0)
    if "index_head_dim" in sizes:
        width, index_heads = sizes["index_head_dim"], sizes["index_n_heads"]
        total += (q_rank or hidden) * index_heads * width + hidden * width + 2 * width + hidden * index_heads
        group = sizes.get("index_kpool")
        total += 0 if group is None else hidden * width + group * width
    return total + _gate(config, anatomy, heads, v_width)


def _state(count: Callable[[Config, AttentionBlock], int]) -> Callable[[Config, Anatomy, AttentionBlock], int]:
    return lambda config, _, block: count(config, block)


def _nothing(*_: object) -> int:
    return 0


_KINDS: Mapping[str, Callable[[Config, Anatomy, AttentionBlock], int]] = {
    "none": _nothing,
    "shared": _nothing,
    "mha": _heads,
    "mqa": _heads,
    "gqa": _heads,
    "mla": _latent,
    **{
        each.__name__: _state(each)
        for each in (
            states.gated_deltanet,
            states.kda,
            states.lightning,
            states.short_conv,
            states.mamba1,
            states.mamba2,
            compressed,
        )
    },
}
