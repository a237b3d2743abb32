"""Tables that vLLM's classes make on every pipeline stage, where others make them on the first and on the last alone.

Read in vllm/model_executor/models of 0.19 and 0.33, where these are the same: `embed_tokens = VocabParallelEmbedding`
without is_first_rank, `lm_head = ParallelLMHead` without is_last_rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.merged_matrices import VOCABULARY_BLOCK
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.model import Model
    from kvcalc.model.stages import Stage

SOURCE = "vllm/model_executor/models: made on every pipeline stage"

BOTH_TABLES = frozenset(
    {
        *("bloom", "chatglm", "dbrx", "falcon", "falcon_mamba", "gemma3", "gemma3_text", "gemma4", "gemma4_unified"),
        *("gpt2", "gpt_oss", "gptj", "granitemoe", "granitemoehybrid", "granitemoeshared", "hy_v3", "internlm2"),
        *("iquestloopcoder", "jamba", "mamba", "mamba2", "minicpm", "mixtral", "molmo", "molmo2", "muse_glimmer"),
        *("nemotron_h", "nemotron_h_puzzle", "olmo_hybrid", "olmoe", "opt", "orion", "phimoe", "plamo3"),
        *("qwen2_moe", "qwen3_moe", "qwen3_next", "qwen3_vl_moe", "qwen4_exp", "rnj1", "stablelm"),
        *("qwen3_omni_moe", "qwen3_omni_moe_thinker"),
    }
)
EMBEDDING = frozenset(
    {
        *("aya_vision", "cohere", "cohere2", "cohere2_moe", "cohere2_vision", "cohere_compass", "gemma", "gemma2"),
        *("gemma3n", "lfm2", "lfm2_moe", "lfm2_vl", "paligemma", "qwen3_5", "qwen3_5_moe"),
    }
)
INTERNVL = frozenset({"internvl", "internvl_chat"})
"""With experts their text model is Qwen3-MoE or gpt-oss, which have both; without, mostly one that has neither."""


def check_tables(model: Model, pp: int) -> None:
    """Refuses pipeline stages of a model whose classes have tables on each, where it is not known how many.

    Raises:
        KvcalcError: the file does not say whether embedding and head are one table.
    """
    if pp > 1 and model.tie_word_embeddings is None and _kind(model) in BOTH_TABLES | EMBEDDING:
        raise KvcalcError(
            f"--pp: vllm has tables of the vocabulary on every stage of {model.name} (vllm/model_executor/models), "
            "one or two, as tie_word_embeddings says, which its file lacks; put it there"
        )


def _kind(model: Model) -> str:
    kind = model.model_type or ""
    return "qwen3_moe" if kind in INTERNVL and model.is_mixture_of_experts else kind


def tables_of_other_stages(setup: Setup, stage: Stage) -> Iterator[Product]:
    """The tables of a stage that it needs none of."""
    model, pp = setup.model, setup.deployment.pp
    kind = _kind(model)
    if pp == 1 or model.vocab_size is None or model.hidden_size is None or kind not in BOTH_TABLES | EMBEDDING:
        return
    last = any(pp - 1 in numbers for numbers in stage.numbers)
    tied = model.tie_word_embeddings is not False
    embedding = stage.number > 0 and not (tied and last)
    head = kind in BOTH_TABLES and not tied and not last
    if embedding or head:
        rows = -(-model.vocab_size // VOCABULARY_BLOCK) * VOCABULARY_BLOCK
        factors = (
            Factor("tables", embedding + head, "table"),
            Factor("rows", -(-rows // setup.deployment.tp), "row"),
            Factor("hidden_size", model.hidden_size),
            Factor("bytes_per_element", find_format(model.dtype or "bf16", "dtype").block_bytes, "byte"),
        )
        yield Product("tables that no token looks up here", factors, SOURCE)
