"""Temporary memory: the peak of the run that vLLM profiles its memory with, by formula.

The run computes max_num_batched_tokens tokens, and then samples for max_num_seqs sequences (profile_run and
_dummy_sampler_run of vllm/v1/worker/gpu_model_runner.py; profile_run of vllm/worker/model_runner.py before V1). In most
models the sampler holds more than any layer does. A pipeline stage that is not the last does not sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.budget import Temporary
from kvcalc.engines.vllm.options import CUTLASS
from kvcalc.engines.vllm.profiled.compiling import compiling
from kvcalc.engines.vllm.profiled.samplers import sampler_of
from kvcalc.engines.vllm.profiled.towers import RUNNER, Seen, seen_by
from kvcalc.engines.vllm.shapes import PROJECTED, Latent, Shapes, Width, shapes_of
from kvcalc.term import Factor, Product, Sum
from kvcalc.units import MIB

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.settings import Settings
    from kvcalc.engines.vllm.traits import Traits
    from kvcalc.gpu import Gpu

EXPERTS_KEEP_WORKSPACE = (0, 14)
"""From 0.14 unquantised experts run in a modular kernel too, whose workspace stays (v1/worker/workspace.py,
fused_moe/unquantized_fused_moe_method.py); a public log of 0.13 with them has none (5.58 GiB printed) [one log]."""

WHAT_IS_ALLOCATED = (0, 6, 4)
"""Before, what the device has lost counts (determine_num_available_blocks of vllm/worker/worker.py): all that PyTorch
has reserved, of which what one part of the run leaves may or may not serve the next."""

CUBLAS_WORKSPACE = {True: 32 * MIB, False: 4096 * 1024 * 2 + 16 * 1024 * 8}
"""Whether on Hopper: PyTorch, aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize. 32 MiB measured on an
H200 with torch 2.11."""

LATENT_BLOCK = 64
"""Tokens of a block of FlashMLA's backend."""

COMPILED = 16 * MIB
"""Fitted on 35 runs of 0.19.0 on H100 (llm-d-incubation/llm-d-planner#205) and confirmed by logs of 0.8 to 0.11: what
else compiled layers hold."""

LAYERS = "vLLM's layers and fused experts; 4 x hidden_size fitted on logs of 0.19"

TOWER_SPREAD = 2**17
"""Bytes a token that towers were seen to take beyond their embeddings: 0.47 GiB at 2,048 tokens (audio, 0.18) to 7 at
65,536 (images, 0.23). Fitted, three logs."""


class Step(NamedTuple):
    """The run that profiles memory.

    Attributes:
        tokens: that the layers compute.
        rows: sequences that are sampled for.
        gathered: tokens that a rank's experts are given: those of all ranks that share them
            (vllm/distributed/device_communicators/all2all.py, AgRsAll2AllManager and before it NaiveAll2AllManager).
    """

    tokens: int
    rows: int
    gathered: int


def temporary_of(
    setup: Setup, settings: Settings, traits: Traits, *, first: bool = True, last: bool = True
) -> Temporary | None:
    """Temporary memory of a rank of a stage; None where the model's file lacks dims that it needs.

    Args:
        setup: the model on its deployment.
        settings: what the server runs with.
        traits: of the model.
        first: whether the stage embeds: then towers are on it.
        last: whether the stage samples.
    """
    deployment = setup.deployment
    apart = deployment.ep > 1 or deployment.dp_attention
    cutlass = _is_cutlass(settings, traits)
    shapes = shapes_of(setup.model, deployment.tp, 1 if apart else deployment.tp, cutlass=cutlass)
    if shapes is None:
        return None
    gathered = settings.max_num_batched_tokens * (deployment.dp if deployment.dp_attention else 1)
    step = Step(settings.max_num_batched_tokens, settings.sampled_rows, gathered)
    layers = _layers(shapes, step, setup, settings, traits)
    if not last:
        layers += (_tokens("the stream between stages", shapes, step, 2),)
    branches = [layers]
    if last and not settings.pools:
        branches.append(_sampling(shapes, step, settings, setup.gpu))
    widest = max(branches, key=_bytes)
    kept = _kept(shapes, step, settings, traits)
    towers = traits.towers and first and not settings.skip_mm_profiling
    seen = seen_by(setup, settings, shapes.hidden_size, shapes.element) if towers else Seen(())
    timed = compiling(shapes, step.tokens, setup, settings, traits, first=first)
    held = max((*widest, *kept, *seen.kept), seen.running, timed, key=_bytes)
    term = Sum("temporary", held)
    without = _bytes((*widest, *kept)) if seen.kept or not settings.compiled_before else term.bytes
    most = term.bytes + (TOWER_SPREAD * step.tokens if seen.kept else 0)
    if settings.version < WHAT_IS_ALLOCATED:
        most += sum(map(_bytes, branches)) - _bytes(widest)
    return Temporary(term, without, most)


def _bytes(parts: tuple[Product, ...]) -> int:
    return sum(part.bytes for part in parts)


def _tokens(name: str, shapes: Shapes, step: Step, times: int = 1, source: str = RUNNER) -> Product:
    factors = (
        Factor("max_num_batched_tokens", step.tokens, "token"),
        *((Factor("copies", times),) if times > 1 else ()),
        Factor("hidden_size", shapes.hidden_size),
        Factor("element", shapes.element, "byte"),
    )
    return Product(name, factors, source)


def _sampling(shapes: Shapes, step: Step, settings: Settings, gpu: Gpu) -> tuple[Product, ...]:
    sampler = sampler_of(settings, gpu, shapes.element)
    rows, vocab = Factor("max_num_seqs", step.rows, "row"), Factor("vocab_size", shapes.vocab_size, "logit")
    held = Factor("bytes_of_a_logit", sampler.bytes, "byte")
    random = 1 if settings.runner == "v2" else 2
    sampled = (rows, Factor("copies", random), Factor("hidden_size", shapes.hidden_size))
    found = [Product(f"sampling ({sampler.name}): {sampler.words}", (rows, vocab, held), sampler.source)]
    if sampler.buffer and (programs := _programs(gpu, step.rows)):
        source = "vllm/v1/sample/ops/topk_topp_triton.py, _TRITON_BUFFER_CACHE"
        buffer = (Factor("programs", programs, "program"), vocab, Factor("fp32", 4, "byte"))
        found.append(Product("rows of the Triton kernel", buffer, source))
    element = Factor("element", shapes.element, "byte")
    found.append(_tokens("hidden states of the step", shapes, step))
    found.append(Product("hidden states that are sampled from", (*sampled, element), RUNNER))
    found.append(_cublas(gpu))
    return tuple(found)


def _programs(gpu: Gpu, rows: int) -> int:
    """min(next power of 2 of the programs, multiprocessors)."""
    if gpu.multiprocessors is None:
        return rows
    programs = min(gpu.multiprocessors, rows)
    return min(1 << (programs - 1).bit_length(), gpu.multiprocessors)


def _cublas(gpu: Gpu) -> Product:
    size = CUBLAS_WORKSPACE[gpu.compute_capability == (9, 0)]
    source = "PyTorch, aten/src/ATen/cuda/CublasHandlePool.cpp"
    return Product("cuBLAS workspace", (Factor("workspace", size, "byte"),), source)


def _layers(shapes: Shapes, step: Step, setup: Setup, settings: Settings, traits: Traits) -> tuple[Product, ...]:
    tokens, element = Factor("max_num_batched_tokens", step.tokens, "token"), Factor("element", shapes.element, "byte")
    gathered = Factor("tokens", step.gathered, "token")
    cutlass = _is_cutlass(settings, traits)
    transient = settings.version < EXPERTS_KEEP_WORKSPACE or not _workspace_stays(traits) or cutlass
    parts = [_of_width("a layer's activations", tokens, shapes.layer, element)]
    if shapes.passing and transient:
        stream = Width(4 * shapes.hidden_size, "4 x hidden_size", f"4 x {shapes.hidden_size:,}")
        experts: tuple[Product, ...] = (
            _of_width("experts", gathered, shapes.passing, element, shapes.top_k),
            _of_width("the stream beside them", tokens, stream, element),
        )
        if cutlass and shapes.projected:
            width = Width(shapes.projected, PROJECTED, f"{shapes.projected:,}")
            experts += (_of_width("what a state's layer keeps beside them", tokens, width, element),)
        if _bytes(experts) > parts[0].bytes:
            parts = list(experts)
    if shapes.latent is not None:
        latent = _latent(shapes.latent, shapes, tokens, setup, settings)
        if settings.runner == "v0":
            parts += latent
        elif _bytes(latent) > _bytes(tuple(parts)):
            parts = list(latent)
    if setup.deployment.tp > 1 and settings.runner == "v0":
        source = "one log of 0.8.5 [one log]; one of 0.11 has none"
        parts.append(_tokens("the sum over tensor-parallel ranks", shapes, step, source=source))
    parts.append(
        Product("other buffers of compiled layers", (Factor("fitted", COMPILED, "byte"),), "fitted on logs of 0.19")
    )
    return tuple(parts)


def _of_width(
    name: str, tokens: Factor, width: Width, element: Factor, top_k: int = 0, source: str = LAYERS
) -> Product:
    experts = (Factor("num_experts_per_tok", top_k, "expert"),) if top_k else ()
    elements = Factor("elements", width.elements, "element", derived=(width.words, width.numbers))
    return Product(name, (tokens, *experts, elements, element), source)


def context_of_latents(max_model_len: int, settings: Settings) -> int:
    """Tokens of a context whose keys and values are made at once (determine_chunked_prefill_workspace_size)."""
    block = settings.block_size or LATENT_BLOCK
    asked = max(8 * max_model_len, 4 * settings.max_num_seqs * block)
    return max(min(asked, 64 * 1024), settings.max_num_seqs * block)


def _latent(latent: Latent, shapes: Shapes, tokens: Factor, setup: Setup, settings: Settings) -> tuple[Product, ...]:
    """What attention holds where keys and values are made of a latent.

    V0 runs it: queries, what kv_b_proj gives, keys, values padded to them, and what comes out. V1 skips it, and sets
    aside what kv_b_proj would make of a context, beside what compiled layers hold of the step then.
    """
    element, heads = Factor("element", shapes.element, "byte"), Factor("heads_of_a_rank", latent.heads, "head")
    queries = Factor("queries_keys_and_values", latent.attention)
    if settings.runner == "v0":
        source = "vllm/attention/backends/mla/common.py, _forward_prefill"
        return (Product("attention over a latent", (tokens, heads, queries, element), source),)
    context = context_of_latents(setup.max_model_len, settings)
    source = "vllm/model_executor/layers/attention/mla_attention.py, determine_chunked_prefill_workspace_size"
    seen = "recorded at the peak of GLM-4.7-Flash, 0.29 (mondegreens/apron, tests of its startup peak) [one log]"
    heads_of_step = (tokens, Factor("copies", 5), heads, Factor("widest_of_a_head", latent.widest), element)
    beside = Width(
        7 * shapes.hidden_size + 2 * latent.rank,
        "7 x hidden_size + 2 x kv_lora_rank",
        f"7 x {shapes.hidden_size:,} + 2 x {latent.rank:,}",
    )
    return (
        Product(
            "keys and values of a latent's context",
            (Factor("tokens", context, "token"), heads, Factor("nope_and_v", latent.context), element),
            source,
        ),
        Product("queries and what attention gives", heads_of_step, seen),
        _of_width("the stream and latents beside them", tokens, beside, element, source=seen),
    )


def _is_cutlass(settings: Settings, traits: Traits) -> bool:
    """Whether vLLM's own CUTLASS kernels compute the experts (map_nvfp4_backend of fused_moe/oracle/nvfp4.py)."""
    return settings.moe_backend == CUTLASS and "nvfp4" in traits.weight_formats


def _workspace_stays(traits: Traits) -> bool:
    """Whether its experts run in a kernel that keeps its workspace: all but mxfp4 (gpt-oss on an H100, 0.19)."""
    return "mxfp4" not in traits.weight_formats


def _kept(shapes: Shapes, step: Step, settings: Settings, traits: Traits) -> tuple[Product, ...]:
    """The experts' workspace, which is there beside both the layers and the sampler."""
    if shapes.experts is None or settings.version < EXPERTS_KEEP_WORKSPACE or not _workspace_stays(traits):
        return ()
    elements = Factor(
        "elements", shapes.experts.elements, "element", derived=(shapes.experts.words, shapes.experts.numbers)
    )
    factors = (
        Factor("tokens", step.gathered, "token"),
        Factor("num_experts_per_tok", shapes.top_k, "expert"),
        elements,
        Factor("element", shapes.element, "byte"),
    )
    source = "vllm/model_executor/layers/fused_moe, workspace_shapes of TritonExperts; v1/worker/workspace.py"
    return (Product("experts' workspace", factors, source),)
