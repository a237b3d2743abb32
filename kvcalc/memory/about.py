"""What a part of memory is, for people who ask."""

from __future__ import annotations

from typing import NamedTuple


class About(NamedTuple):
    """One part of memory: what it counts, how, and whose figures it takes."""

    name: str
    title: str
    counts: str
    formula: str
    source: str


ABOUT_WEIGHTS = About(
    name="weights",
    title="Weights: the checkpoint's parameters",
    counts=(
        "each part of the file's 'weights' list in its own format; without a list, all parameters in weight_dtype; "
        "over tensor-parallel ranks evenly, over pipeline stages by layers; --weights SIZE replaces it"
    ),
    formula="sum over parts of parameters x bytes of the format; on a rank ceil(part / ranks)",
    source="the model's own file (kvcalc models show NAME)",
)

ABOUT_GPUS = About(
    name="gpus",
    title="GPU count: by memory alone, and in the smallest legal deployment",
    counts=(
        "by memory alone is no deployment; the smallest legal deployment has a tp that divides the heads and stays in "
        "a node, pipeline stages only where the largest such tp is not enough, and ranks that stay within usable "
        "memory (fits: with the high temporary figure; tight: only with less)"
    ),
    formula="by memory alone = ceil((weights + cache + temporary + overhead + reserve) / floor(memory x utilization))",
    source=(
        "legality as in vLLM 0.33.0: num_heads % tp = 0, and num_kv_heads % tp = 0 or tp % num_kv_heads = 0 "
        "(vllm/config/model.py)"
    ),
)
