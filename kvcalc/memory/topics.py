"""What a part of memory is, for people who ask."""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """One part of memory: what it counts, how, and whose figures it takes."""

    name: str
    title: str
    counts: str
    formula: str
    source: str


WEIGHTS_TOPIC = Topic(
    name="weights",
    title="Weights: the checkpoint's parameters",
    counts=(
        "each part of the file's 'weights' list in its own format; without a list, all parameters in weight_dtype; "
        "with --weight-dtype in a format of quantised checkpoints, but for what they leave in the model's dtype: "
        "embedding, output head, routers, towers; "
        "over tensor-parallel ranks evenly but for what they copy (routers, latent down-projections, an indexer, "
        "projections of fewer heads than ranks), experts over the ranks that share them, over pipeline stages by "
        "layers, embeddings first and the output head last; --weights SIZE replaces it"
    ),
    formula="sum over parts of parameters x bytes of the format; on a rank ceil(part / min(ranks, its heads))",
    source="the model's own file (kvcalc models show NAME)",
)

GPUS_TOPIC = Topic(
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

DECODE_TOPIC = Topic(
    name="decode",
    title="The bound of decoding: at most so many tokens a second",
    counts=(
        "what a step must read and compute on a rank, at least: the weights of the layers and of the output head (of "
        "num_experts, num_experts_per_tok), all of the cache, two operations a multiply-add; --spill reads what has no "
        "room over the host link. A bound, never a prediction"
    ),
    formula="seconds >= max(bytes read / memory bandwidth, operations / peak rate, bytes spilled / host link)",
    source="the accelerator's bandwidth and rates (kvcalc gpus show NAME); docs/formulas.md",
)
