"""What vLLM takes where nobody says, as far as a log tells more of it than kvcalc's options do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import version_number
from kvcalc.engines.vllm.defaults import ENGINE_V0_GONE, ENGINE_V1, default_batch, runner_of
from kvcalc.engines.vllm.traits import traits_of

if TYPE_CHECKING:
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model

LAST_V0_ALONE = (0, 7, 3)
"""The last version without V1 as its default, whose defaults V0 keeps (0.9.2, EngineArgs._set_default_args_v0)."""


def v0_options(version: str, gpu: Gpu, model: Model, context: int) -> dict[str, str]:
    """Options that nobody gave to V0, where V1 is the default beside it; none of other versions.

    From 0.8 to 0.10 both are there, and a log says which of them serves.
    """
    number = version_number(version)
    if number is None or not ENGINE_V1 <= number[:2] < ENGINE_V0_GONE:
        return {}
    batch = default_batch(LAST_V0_ALONE, gpu, "v0", "server", context, traits_of(model, None))
    return {
        "max-num-batched-tokens": str(batch.tokens),
        "max-num-seqs": str(batch.sequences),
        "enable-prefix-caching": "false",
    }


def default_tokens_of_a_step(version: str, gpu: Gpu, model: Model, context: int) -> int | None:
    """max_num_batched_tokens of a server on that card; None of a version that is no number."""
    number = version_number(version)
    if number is None:
        return None
    traits = traits_of(model, None)
    runner = runner_of(number[:3], gpu, 1, model.model_type, traits)
    return default_batch(number[:3], gpu, runner, "server", context, traits).tokens
