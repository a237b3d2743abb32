"""What vLLM takes where nobody says, as far as a log tells more of it than kvcalc's options do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import version_number
from kvcalc.engines.vllm.defaults import ENGINE_V0_GONE, ENGINE_V1, default_batch, runner_of
from kvcalc.engines.vllm.traits import traits_of

if TYPE_CHECKING:
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model


def v0_options(version: str) -> dict[str, str]:
    """What asks for V0 where V1 is the default beside it, as from 0.8 to 0.10, and a log says which serves."""
    number = version_number(version)
    return {"use-v1": "false"} if number is not None and ENGINE_V1 <= number[:2] < ENGINE_V0_GONE else {}


def default_tokens_of_a_step(version: str, gpu: Gpu, model: Model, context: int) -> int | None:
    """max_num_batched_tokens of a server on that card; None of a version that is no number."""
    number = version_number(version)
    if number is None:
        return None
    traits = traits_of(model, None)
    runner = runner_of(number[:3], gpu, 1, model.model_type, traits)
    return default_batch(number[:3], gpu, runner, "server", context, traits).tokens
