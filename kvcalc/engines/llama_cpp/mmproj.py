"""What a file of towers (mmproj) takes on a card: its weights at 16 bits, and the buffer of the graph that encodes.

llama-server reserves that graph at the start, for an image of the size that its tower is warmed up with (tools/mtmd/
clip.cpp, set_warmup_n_tokens; 1,472 x 1,472 of Qwen's); a larger image lets it grow later. Norms, biases and tables of
places are in f32. Files in bf16 have the kernels of patches in f32 too, 3.4 MiB of Qwen3.5's.

Buffers are those that llama.cpp b11549 reserves on a device that answers as CUDA's back end does, of towers with these
dims (tests/live/llama_cpp_towers.py). Servers printed weights, buffer and the image in host memory together: 1,130.63
MiB of Qwen3.6-35B-A3B, 1,300.79 of gemma-4-31B, 1,502.33 of Qwen3-VL-8B.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tower(NamedTuple):
    """One tower.

    Attributes:
        in_f32: parameters that its file has in f32, less those that it lacks: LLaVA 1.5's has no last layer, which its
            projector does not read.
        buffer: bytes on the card.
        beside: bytes of what is given to it, in host memory.
    """

    in_f32: int
    buffer: int
    beside: int


_QWEN3 = 26_136_832
_QWEN3_VL = (3_116_272, 390_156_544, _QWEN3)
_GEMMA3 = (5_119_344, 127_139_840, 9_633_792)
_QWEN2_5 = 163_338_304
_QWEN2 = (280_056_832, 20_042_752)
_MISTRAL3 = 2_416_640
_INTERN = (29_388_800, 2_408_448)

TOWERS: Mapping[int, Tower] = MappingProxyType(
    {
        parameters: Tower(*numbers)
        for parameters, numbers in {
            # Qwen3.5 and 3.6: 0.8B, 2B, 4B, 9B and 397B, 27B, 35B, 122B
            100_592_896: (1_895_680, 169_144_576, _QWEN3),
            331_416_576: (2_688_000, 234_148_096, _QWEN3),
            333_514_240: (2_688_512, 234_148_096, _QWEN3),
            456_010_480: (3_062_512, 260_149_504, _QWEN3),
            460_730_096: (3_063_536, 260_149_504, _QWEN3),
            446_571_248: (3_060_464, 260_149_504, _QWEN3),
            451_290_864: (3_061_488, 260_149_504, _QWEN3),
            # Qwen3-VL: 2B, 4B, 8B and 235B, 30B, 32B
            406_957_056: (2_731_008, 338_153_728, _QWEN3),
            415_347_712: (2_733_056, 338_153_728, _QWEN3),
            576_388_336: _QWEN3_VL,
            538_631_408: (3_108_080, 377_155_840, _QWEN3),
            595_266_800: (3_120_368, 437_825_792, _QWEN3),
            # Qwen2.5-VL: 3B, 7B, 32B, 72B; Qwen2-VL: 2B, 7B, 72B
            668_684_288: (514_048, 597_372_416, _QWEN2_5),
            676_550_144: (515_584, 597_372_416, _QWEN2_5),
            688_841_984: (519_424, 601_028_864, _QWEN2_5),
            704_573_696: (522_496, 601_028_864, _QWEN2_5),
            665_271_296: (541_696, *_QWEN2),
            675_759_104: (543_744, *_QWEN2),
            699_356_672: (548_352, *_QWEN2),
            # Gemma 3: 4B, 12B, 27B; Gemma 4: 26B, 31B
            419_816_304: _GEMMA3,
            421_290_864: _GEMMA3,
            423_060_336: _GEMMA3,
            572_792_112: (23_723_568, 157_943_808, 7_096_320),
            575_741_232: (23_723_568, 157_943_808, 7_096_320),
            # Mistral Small 3.1 and those of its width, Ministral 3 8B, 3B; Pixtral
            438_958_080: (56_320, 67_756_032, _MISTRAL3),
            428_472_320: (55_296, 67_690_496, _MISTRAL3),
            420_083_712: (54_272, 67_624_960, _MISTRAL3),
            434_957_312: (55_296, 17_184_768, 604_160),
            # InternVL3 14B, 1B; Llama 4
            351_216_640: (1_438_720, *_INTERN),
            308_495_104: (1_430_272, *_INTERN),
            871_932_416: (1_441_792, 38_915_456, 9_748_992),
            # Kimi-VL; LLaVA 1.5 7B, 13B; Voxtral Mini, whose tower hears half a minute
            447_545_840: (5_127_152, 36_560_896, 2_416_640),
            324_487_168: (-11_685_888, 24_956_544, 1_359_392),
            334_974_976: (-11_683_840, 29_675_136, 1_359_392),
            662_134_784: (2_414_080, 53_760_000, 1_536_000),
        }.items()
    }
)
"""By the parameters of a tower with its projector, which no two of other dims share."""


class Mmproj(NamedTuple):
    """What a file of towers takes.

    Attributes:
        weights: bytes.
        buffer: bytes on a card; None where the tower's is not known.
        beside: bytes in host memory.
    """

    weights: int
    buffer: int | None
    beside: int

    @property
    def on_card(self) -> int:
        """Bytes, as far as they are known."""
        return self.weights + (self.buffer or 0)

    @property
    def told(self) -> str:
        """What that is, in words."""
        if self.buffer is None:
            return "its weights at 16 bits, without a buffer, which is not known of this tower"
        of = "an image or half a minute of sound"
        return f"its weights at 16 bits and the buffer that is reserved for {of}; more lets it grow"


def mmproj_of(parameters: int) -> Mmproj:
    """Of towers with so many parameters."""
    tower = TOWERS.get(parameters)
    if tower is None:
        return Mmproj(2 * parameters, None, 0)
    return Mmproj(2 * (parameters + tower.in_f32), tower.buffer, tower.beside)
