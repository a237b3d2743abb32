"""Prefill and decode for real: the allocated caches are filled by the layers themselves and read back.

Each kind of layer computes one sequence through the cache, chunk by chunk and then token by token, and its last outputs
are compared with the textbook's, in float32 without a cache, on the host. Then every layer's cache is filled with all
sequences up to the context, less a few tokens, which are decoded for all of them.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from kvcalc.reference import ReferenceAttention, ReferenceParts, build
from kvcalc.reference.cache import begin, fill, step
from kvcalc.units import MIB
from kvcalc.verification.shapes import Observed, compute_dtype, hidden_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.reference import ReferenceLayer
    from kvcalc.reference.cache import Cache
    from kvcalc.verification.allocation import Allocated
    from kvcalc.verification.devices import Device
    from kvcalc.verification.progress import Progress
    from kvcalc.verification.scope import Rank, Scope

DECODED = 4
"""Tokens decoded one by one at the end."""

COMPARED = 8192
"""Tokens of a sequence, at most, after which outputs are compared with the textbook's."""

STATE_COMPARED = 256
"""The same where a state goes through the tokens one by one, and the textbook takes every pair of them."""

STATE_FILLED = 16
"""Tokens that fill a state before others are decoded: it is as large after any number."""

CHUNK_BYTES = 64 * MIB
"""What one chunk's largest tensor may take, so that temporary memory stays bounded."""

TOLERANCE = {
    "fp32": 1e-4,
    "fp16": 0.01,
    "bf16": 0.05,
    "fp8": 0.15,
    "fp8_per_token_head": 0.15,
    "fp8_block128": 0.15,
    "fp8_ds_v4": 0.15,
    "fp8_e5m2": 0.4,
    "int8": 0.1,
    "int8_per_token_head": 0.05,
    "int4_per_token_head": 0.6,
    "q8_0": 0.05,
    "q5_1": 0.2,
    "q5_0": 0.2,
    "q4_1": 0.4,
    "q4_0": 0.4,
    "iq4_nl": 0.4,
    "nvfp4": 0.5,
    "mxfp8": 0.2,
    "mxfp4": 0.6,
}
"""Largest relative difference (Euclidean norm) that a format's rounding may make: a few times the largest that the
tests see (tests/verification/test_verify_decode.py), and less than the 1 of a cache that reads as zeros."""


class Decoded(NamedTuple):
    """What came out for one kind of layer.

    Attributes:
        finite: whether every output was a finite number.
        difference: of the compared outputs from the textbook's, relative, in the Euclidean norm.
        tokens: of the sequence that was compared.
        tolerance: how large the difference may be in the formats that the cache is kept in.
    """

    finite: bool
    difference: float
    tokens: int
    tolerance: float


def headroom_needed(scope: Scope, layers: dict[str, Observed]) -> int:
    """Most bytes that `decode` needs beside the caches: a kind's weights twice, a sequence's rows, some chunks."""
    model = scope.scenario.model
    largest = 0
    for observed in layers.values():
        whole = build(observed.layer.attention, hidden_size(model), observed.layer.span, dtype=compute_dtype(model))
        weights = sum(weight.numel() * weight.element_size() for weight in whole.parameters())
        largest = max(largest, 2 * weights + 3 * _scores(observed) + _read(observed))
    return largest + 16 * CHUNK_BYTES


@torch.inference_mode()
def decode(scope: Scope, rank: Rank, layers: list[Allocated], device: Device, progress: Progress) -> dict[str, Decoded]:
    """Fill the caches and decode from them; what came out, by label of the kind of layer."""
    done: dict[str, Decoded] = {}
    steps = 0
    kinds = dict.fromkeys(layer.observed.layer.label for layer in layers if layer.observed.tensors)
    for label in kinds:  # one kind's weights at a time
        of_kind = [(index, layer) for index, layer in enumerate(layers) if layer.observed.layer.label == label]
        observed, first = of_kind[0][1]
        module = _module(scope, rank, observed, device)
        result = _compare(scope, module, observed, first)
        for index, layer in of_kind:
            progress("decoding", steps, len(layers))
            finite = _fill_and_decode(scope, module, observed, layer.cache, index)
            result = result._replace(finite=result.finite and finite)
            steps += 1
        done[label] = result
        del module  # before the next kind's weights are made
    progress("decoding", len(layers), len(layers))
    return done


def _module(scope: Scope, rank: Rank, observed: Observed, device: Device) -> ReferenceLayer:
    model, layer = scope.scenario.model, observed.layer
    whole = build(
        layer.attention,
        hidden_size(model),
        layer.span,
        device=device.torch_device,
        dtype=compute_dtype(model),
        seed=1,
    )
    return whole if scope.deployment.tp == 1 else whole.shard(rank.place, scope.deployment.tp)


def _compare(scope: Scope, module: ReferenceLayer, observed: Observed, cache: Cache) -> Decoded:
    """One sequence through the cache, against the textbook."""
    tokens = min(scope.context, _compared(observed))
    one, x_BTD = cache.sequences(0, 1), _random(module, 0, 1, tokens)
    if isinstance(module, ReferenceAttention | ReferenceParts):
        _fix_scales(one, module.keep(x_BTD[:, :512], 0))
    begin(module, one, 1)
    outputs = []
    for start, end in _chunks(0, tokens, _attended_at_once(observed, tokens)):
        outputs.append(step(module, one, x_BTD[:, start:end], start))
    found = torch.cat(outputs, dim=1)
    last = min(DECODED, tokens)
    textbook = deepcopy(module).to("cpu", torch.float32)
    expected = textbook(x_BTD.float().cpu(), last=last)
    difference = (found[:, -last:].float().cpu() - expected).norm() / expected.norm()
    tolerance = max(TOLERANCE[kept.format_name] for kept in observed.tensors.values())
    computed_in = {torch.float32: "fp32", torch.float16: "fp16"}.get(x_BTD.dtype, "bf16")
    return Decoded(bool(found.isfinite().all()), float(difference), tokens, max(tolerance, TOLERANCE[computed_in]))


def _fix_scales(cache: Cache, rows: dict[str, Tensor]) -> None:
    """The first rows that are packed fix a scale per tensor."""
    for name, some in rows.items():
        cache.stored[name].packing.pack(1.25 * some)


def _fill_and_decode(scope: Scope, module: ReferenceLayer, observed: Observed, cache: Cache, seed: int) -> bool:
    """Every sequence up to the context, the last tokens decoded; whether all their outputs are finite."""
    decoded = min(DECODED, scope.context)
    prompt = scope.context - decoded
    token_bytes = _dtype(module).itemsize * max(module.hidden_size, 4 * _elements(observed))
    most = min(CHUNK_BYTES // token_bytes, CHUNK_BYTES // _scores(observed), 8 * CHUNK_BYTES // _read(observed))
    together = max(1, min(scope.sequences, most))
    finite = True
    for first in range(0, scope.sequences, together):
        some = cache.sequences(first, min(first + together, scope.sequences))
        sequences = min(together, scope.sequences - first)
        begin(module, some, sequences)
        skipped = max(0, prompt - (STATE_FILLED if observed.slots is None else observed.slots))  # which leave nothing
        for start, end in _chunks(skipped, prompt, [max(1, CHUNK_BYTES // (token_bytes * sequences))]):
            fill(module, some, _random(module, seed + start, sequences, end - start), start)
        for position in range(prompt, scope.context):
            x_B1D = _random(module, seed + position, sequences, 1)
            finite = finite and bool(step(module, some, x_B1D, position).isfinite().all())
    return finite


def _compared(observed: Observed) -> int:
    """Tokens to compare after. As many as a sparse layer reads: which it chose of more may turn on a rounding."""
    if observed.slots is None and observed.layer.attention.query_heads is None:
        return STATE_COMPARED
    attention = observed.layer.attention
    together = max((tensor.tokens_per_row for tensor in attention.cached()), default=1)
    return min(COMPARED, together * (attention.positions_read or COMPARED))


def _scores(observed: Observed) -> int:
    """Bytes of one query's float32 scores against one sequence."""
    return 4 * observed.rows * (observed.layer.attention.query_heads or 1)


def _read(observed: Observed) -> int:
    """Bytes that reading one sequence's rows may take: as float32, in the dtype of computing, and in another order."""
    return 12 * (observed.slots or 1) * _elements(observed)


def _elements(observed: Observed) -> int:
    """Of one token in one layer, or of a sequence where they are a constant."""
    return sum(kept.elements for kept in observed.tensors.values())


def _attended_at_once(observed: Observed, tokens: int) -> list[int]:
    """Sizes of chunks: as many tokens as chunks have memory for their scores, and the last ones singly."""
    rows = observed.rows if observed.slots is None else min(observed.slots, tokens)
    most = max(1, min(rows, CHUNK_BYTES // (4 * rows * (observed.layer.attention.query_heads or 1))))
    prompt = tokens - min(DECODED, tokens)
    return [*([most] * (prompt // most)), *([prompt % most] if prompt % most else []), 1]


def _chunks(start: int, tokens: int, sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Starts and ends of chunks of these sizes from a start, the last one repeated until all tokens are there."""
    while start < tokens:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        end = min(start + size, tokens)
        yield start, end
        start = end


def _random(module: ReferenceLayer, seed: int, sequences: int, tokens: int) -> Tensor:
    weight = next(module.parameters())
    generator = torch.Generator(device=weight.device).manual_seed(seed)
    shape = (sequences, tokens, module.hidden_size)
    return torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)


def _dtype(module: ReferenceLayer) -> torch.dtype:
    return next(module.parameters()).dtype
