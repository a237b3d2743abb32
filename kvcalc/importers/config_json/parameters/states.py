"""Parameters of layers that keep a state, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN

if TYPE_CHECKING:
    from kvcalc.importers.config import Config
    from kvcalc.importers.imported_layer import AttentionBlock


def _true(config: Config, name: str, *, default: bool) -> bool:
    found = config.get(name)
    return default if found is None else bool(found.value)


def gated_deltanet(config: Config, block: AttentionBlock) -> int:
    """Projections, one convolution over keys, queries and values, step bias, decay and norm."""
    sizes, hidden = block.sizes, int(config.count(*HIDDEN).value)
    heads, width = sizes["num_v_heads"], sizes["v_head_dim"]
    keys, values = sizes["num_k_heads"] * sizes["k_head_dim"], heads * width
    mixed = 2 * keys + values
    projections = hidden * (mixed + values + 2 * heads) + values * hidden
    return projections + mixed * sizes["conv_kernel"] + 2 * heads + width


def kda(config: Config, block: AttentionBlock) -> int:
    """Projections, a convolution each, two gates, through a head's width except Ling's; step bias, decay and norm."""
    sizes, hidden = block.sizes, int(config.count(*HIDDEN).value)
    heads, width = sizes["num_heads"], sizes["head_dim"]
    inner = heads * width
    gates = 2 * (hidden * inner if config.model_type == "bailing_hybrid" else hidden * width + width * inner)
    return 4 * hidden * inner + 3 * inner * sizes["conv_kernel"] + gates + hidden * heads + inner + heads + width


def lightning(config: Config, block: AttentionBlock) -> int:
    """Queries, keys, values, a gate, the way back, and a norm over all heads."""
    inner = block.sizes["num_heads"] * block.sizes["head_dim"]
    return 5 * int(config.count(*HIDDEN).value) * inner + inner


def short_conv(config: Config, block: AttentionBlock) -> int:
    """Three projections, the way back, and the convolution between; of n-grams the convolution."""
    if "whole" in block.sizes:
        return block.sizes["hidden_size"] * block.sizes["conv_kernel"]
    hidden, biased = block.sizes["hidden_size"], _true(config, "conv_bias", default=False)
    return 4 * hidden * hidden + hidden * block.sizes["conv_kernel"] + (5 * hidden if biased else 0)


def mamba1(config: Config, block: AttentionBlock) -> int:
    """Mamba's mixer; Jamba's has norms of the step, B and C too."""
    sizes, hidden = block.sizes, int(config.count(*HIDDEN).value)
    inner, state, kernel = sizes["intermediate_size"], sizes["state_size"], sizes["conv_kernel"]
    given = config.get("mamba_dt_rank", "time_step_rank")
    automatic = given is None or given.value == "auto"
    rank = -(-hidden // 16) if automatic else int(config.count("mamba_dt_rank", "time_step_rank").value)
    total = hidden * 2 * inner + inner * hidden + inner * (rank + 2 * state) + rank * inner + inner
    total += inner * kernel + inner * state + inner
    if _true(config, "mamba_conv_bias", default=True) and _true(config, "use_conv_bias", default=True):
        total += inner
    if _true(config, "mamba_proj_bias", default=False) or _true(config, "use_bias", default=False):
        total += 2 * inner + hidden
    return total + (rank + 2 * state if config.model_type == "jamba" else 0)


def mamba2(config: Config, block: AttentionBlock) -> int:
    """Mamba-2's mixer, with a norm before the way back; Falcon-H1 has it only with mamba_rms_norm."""
    sizes, hidden = block.sizes, int(config.count(*HIDDEN).value)
    heads = sizes["num_heads"]
    inner = heads * sizes["head_dim"]
    mixed = inner + 2 * sizes["num_groups"] * sizes["state_size"]
    total = hidden * (inner + mixed + heads) + mixed * sizes["conv_kernel"] + 3 * heads + inner * hidden
    if _true(config, "mamba_conv_bias", default=True) and _true(config, "use_conv_bias", default=True):
        total += mixed
    biases = ("use_bias",) if config.model_type == "nemotron_h" else ("mamba_proj_bias", "use_bias")
    if any(_true(config, name, default=False) for name in biases):
        total += inner + mixed + heads + (0 if config.model_type == "falcon_h1" else hidden)
    if _true(config, "projectors_bias", default=False):
        total += hidden
    return total + (inner if config.model_type != "falcon_h1" or _true(config, "mamba_rms_norm", default=False) else 0)
