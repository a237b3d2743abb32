"""What benchmarks hold while a model is compiled, which the first start of a server does within the profiling run.

TorchInductor times the kernels that it combines, on tensors that it makes for them: an embedding as large as the
model's own, and what two kernels look up in it. Over tensor-parallel ranks an embedding is an operation of vLLM's, with
images its result comes from outside, and a server that finds what it compiled before times nothing. A start that
compiled had no more than those that load: it is the most of a range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.engines.vllm.shapes import Shapes
    from kvcalc.engines.vllm.traits import Traits

BENCHMARKED = (0, 12)
"""The first of the versions read that sets benchmark_combo_kernel where torch is 2.9 or later, and needs such a torch;
not in 0.11.0."""
SOURCE = (
    "vllm/config/compilation.py, benchmark_combo_kernel; recorded at the peak of 0.29 (mondegreens/apron, "
    "tests of its startup peak), and what is printed by first stages of 0.19 and five logs of 0.19 to 0.27; not held "
    "in a start of 0.12.0 whose log says that it compiles [one log]"
)


def compiling(
    shapes: Shapes, tokens: int, setup: Setup, settings: Settings, traits: Traits, *, first: bool
) -> tuple[Product, ...]:
    """Its parts; empty where nothing is compiled, or no embedding is among it."""
    if settings.version < BENCHMARKED or settings.enforce_eager or settings.compiled_before:
        return ()
    if not first or traits.towers or setup.deployment.tp > 1:
        return ()
    width, element = Factor("hidden_size", shapes.hidden_size), Factor("element", shapes.element, "byte")
    rows = (Factor("vocab_size", shapes.vocab_size, "row"), width, element)
    step = (Factor("max_num_batched_tokens", tokens, "token"), Factor("kernels", 2, "kernel"), width, element)
    return (
        Product("an embedding made to time kernels, as the model is compiled", rows, SOURCE),
        Product("what is looked up in it", step, SOURCE),
    )
