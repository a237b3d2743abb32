"""Experts in mxfp4 as vLLM's kernels want them: padded, and in older versions with their scales twice.

The kernels follow from the accelerator and the version: vllm/model_executor/layers/quantization/mxfp4.py until 0.18,
then vllm/model_executor/layers/fused_moe/oracle/mxfp4.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.merged_matrices import layers_with_experts
from kvcalc.mechanisms import Compressed
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.setup import Setup
    from kvcalc.model.stages import Stage

ORACLE = "vllm/model_executor/layers/fused_moe/oracle/mxfp4.py"
BLOCK = 32
"""Elements that share a scale; 16 bytes and one more."""

HOPPER, BLACKWELL, CONSUMER_BLACKWELL = 90, 100, 120
TRITON_KERNELS_VENDORED = (0, 13)
"""The first of the versions read whose wheel holds triton_kernels; before, Hopper falls back to Marlin without it."""

VALUES_PADDED_TO_64 = ((0, 17), (0, 22))
"""Versions, the last not among them, whose triton_kernels pad values to 64 x 64 (hopper_value.py)."""

SCALES_FREED = (0, 26)
"""The first of the versions read that deletes the scales as loaded, beside those that Triton's kernels use."""

TRTLLM_PADS_TO_128 = (0, 29)
"""The first of the versions read where rows of TRT-LLM's kernels are padded to 128, and not to 256."""


class Experts(NamedTuple):
    """What one rank of a stage holds of the experts.

    Attributes:
        layers: that have experts.
        number: of experts in each of them.
        hidden: their inputs and outputs.
        width: of the rank's share of one; rounded up where ranks do not divide it.
    """

    layers: int
    number: int
    hidden: int
    width: int


class Loaded(NamedTuple):
    """Bytes of an expert as a kernel has it.

    Attributes:
        kernel: its name.
        values: two elements a byte.
        scales: one byte for each block.
        extra: what else it has beyond the checkpoint.
    """

    kernel: str
    values: int
    scales: int
    extra: int = 0

    @property
    def bytes(self) -> int:
        return self.values + self.scales + self.extra


def capability(setup: Setup) -> int | None:
    """The compute capability of an NVIDIA accelerator, 90 for 9.0; None of others."""
    _, _, number = (setup.gpu.architecture or "").rpartition(" sm")
    return int(number) if number.isdigit() else None


def padding_of_experts(setup: Setup, version: tuple[int, ...], stage: Stage) -> Iterator[Product]:
    """What the experts of a rank take beyond the checkpoint's 17 bytes for 32; nothing of other formats.

    DeepSeek-V4's are not among those that Triton's kernels compute (select_deepseek_v4_mxfp4_moe_backend and
    _get_priority_backends, 0.20.2 to 0.33).
    """
    experts, power = experts_in("mxfp4", setup, stage), capability(setup)
    if experts is None or power is None or not experts.layers:
        return
    of_v4 = any(isinstance(layer.attention, Compressed) for layer in stage.kinds)
    loaded = _padded(experts, "Marlin", 128) if of_v4 and power == HOPPER else _loaded(experts, version, power)
    blocks = 3 * experts.hidden * experts.width // BLOCK
    if (more := loaded.bytes - blocks * (BLOCK // 2 + 1)) > 0:
        factors = (
            Factor("layers", experts.layers, "layer"),
            Factor("experts", experts.number, "expert"),
            Factor("beyond_checkpoint", more, "byte"),
        )
        yield Product(f"experts as {loaded.kernel} has them", factors, ORACLE)


def experts_in(name: str, setup: Setup, stage: Stage) -> Experts | None:
    """The experts of a rank where they are stored in that format; else None, and where their dims are not known."""
    model, deployment, asked = setup.model, setup.deployment, setup.weight_format
    listed = any(part.split == "ep" and part.format == name for part in model.weights)
    if not (listed if asked is None else asked.name == name and model.is_mixture_of_experts):
        return None
    number, hidden, width = model.num_experts, model.hidden_size, model.moe_intermediate_size
    if number is None or hidden is None or width is None:
        return None
    ranks = deployment.expert_ranks // deployment.ep
    return Experts(layers_with_experts(model, stage), -(-number // deployment.ep), hidden, -(-width // ranks))


def _loaded(experts: Experts, version: tuple[int, ...], power: int) -> Loaded:
    if power == HOPPER and version >= TRITON_KERNELS_VENDORED:
        return _triton(experts, version)
    if BLACKWELL <= power < CONSUMER_BLACKWELL:
        return _padded(experts, "TRT-LLM", 128 if version >= TRTLLM_PADS_TO_128 else 256)
    return _padded(experts, "Marlin", 128)


def _padded(experts: Experts, kernel: str, rows: int) -> Loaded:
    """Rows to a multiple, hidden to one of 256 (mxfp4_round_up_hidden_size_and_intermediate_size)."""
    elements = 3 * _up(experts.hidden, 256) * _up(experts.width, rows)
    return Loaded(kernel, elements // 2, elements // BLOCK)


def _triton(experts: Experts, version: tuple[int, ...]) -> Loaded:
    """As Hopper's layouts swizzle them, with biases in fp32 (triton_kernels/tensor_details/layout_details).

    hopper_value.py: outputs to 16 and bytes of inputs to 32; hopper_scale.py, of 8 warps: outputs to 256, blocks to 2.
    """
    hidden, width = experts.hidden, _up(experts.width, 64)
    matrices = ((2 * width, hidden), (hidden, width))  # outputs and inputs of the two
    start, stop = VALUES_PADDED_TO_64
    row, column = (64, 64) if start <= version < stop else (16, 32)
    values = sum(_up(rows, row) * _up(columns // 2, column) for rows, columns in matrices)
    scales = sum(_up(rows, 256) * _up(columns // BLOCK, 2) for rows, columns in matrices)
    loaded = 0 if version >= SCALES_FREED else sum(rows * columns // BLOCK for rows, columns in matrices)
    biases = 2 * sum(rows for rows, _ in matrices)
    return Loaded("Triton", values, scales, loaded + biases)


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
