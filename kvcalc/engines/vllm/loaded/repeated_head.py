"""An output head that a checkpoint repeats though it is its embedding, and that vLLM does not give back.

Google's Gemma 4 E2B and E4B in w4a16 (-qat-w4a16-ct) say tie_word_embeddings and hold lm_head beside the table. Since
0.29 vLLM loads such a head, compares the two, and keeps one where they are equal, but only of models that have one
table: these two have another for their layers. 0.28 did not load it: 9.81 GiB printed of E4B, 11.04 by 0.30. Of E2B
8.02 and 8.01 by 0.29 and 0.30, and 7.26 of a copy without the head (github.com/xbill9/sagemaker-gemma, docs/articles,
sagemaker-gemma-formats).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.formats.by_name import find_format
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

REPEATED_IN = {"gemma4": "w4a16_g32"}
"""The format of checkpoints that hold the head twice, by model type."""
LOADED_SINCE = (0, 29)
SOURCE = (
    "vllm/config/model.py, maybe_untie_word_embeddings; vllm/model_executor/model_loader/weight_tying.py, "
    "_get_untied_lm_head: left alone unless there is one table"
)


def repeated_head(setup: Setup, version: tuple[int, ...], stage: Stage) -> Iterator[Product]:
    """On a single stage; on several the last has a head of its own anyway."""
    model = setup.model
    tables = sum(part.place == "embedding" and not part.ngrams for part in model.weights)
    listed = any(part.place == "head" for part in model.weights)  # as a folder with its tensors has it
    stored = model.weight_dtype if setup.weight_format is None else setup.weight_format.name
    if (
        version < LOADED_SINCE
        or not model.tie_word_embeddings
        or tables <= 1
        or listed
        or setup.weights_bytes is not None
    ):
        return
    if REPEATED_IN.get(model.model_type or "", "") != stored or setup.deployment.pp > 1 or stage.number:
        return
    if model.vocab_size is not None and model.hidden_size is not None:
        factors = (
            Factor("vocab_size", -(-model.vocab_size // setup.deployment.tp), "token"),
            Factor("hidden_size", model.hidden_size),
            Factor("bytes_per_element", find_format(model.dtype or "bf16", "dtype").block_bytes, "byte"),
        )
        yield Product("output head that repeats the embedding", factors, SOURCE)
