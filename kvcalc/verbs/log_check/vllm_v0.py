"""What vLLM's V0 runs with where V1 is the default beside it, from 0.8 to 0.10: a log says which of them serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import version_number
from kvcalc.engines.vllm.defaults import ENGINE_V0_GONE, ENGINE_V1, default_batch
from kvcalc.engines.vllm.traits import traits_of

if TYPE_CHECKING:
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model

LAST_V0_ALONE = (0, 7, 3)
"""The last version without V1 as its default, whose defaults V0 keeps (0.9.2, EngineArgs._set_default_args_v0)."""


def v0_options(version: str, gpu: Gpu, model: Model, context: int) -> dict[str, str]:
    """Options that nobody gave, by V0's defaults; none of a version whose default engine V0 is."""
    number = version_number(version)
    if number is None or not ENGINE_V1 <= number[:2] < ENGINE_V0_GONE:
        return {}
    batch = default_batch(LAST_V0_ALONE, gpu, "v0", "server", context, traits_of(model, None))
    return {
        "max-num-batched-tokens": str(batch.tokens),
        "max-num-seqs": str(batch.sequences),
        "enable-prefix-caching": "false",
    }
