"""What differs between builds of llama.cpp in what their graphs hold.

Read off graphs that the builds b8929, b9093, b9294, b9538, b9873, b10229, b10566, b10809, b11063 and b11549 reserve on
a device that answers as CUDA's back end does (tests/live), and explained by their commits. An RTX 3090 printed 654.78
MiB with b8946, as b8929 does there to the print. What is older than b8929 is read in the source (src/llama-context.cpp,
src/llama-kv-cache.cpp and src/llama-graph.cpp as Ollama 0.11.5, 0.12.4 and 0.13.5 have them), and holds on compute
buffers that were printed (tests/llama_cpp_start_ups.py).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


MOST_SLOTS = 256
"""LLAMA_MAX_SEQ of src/llama-cparams.h since https://github.com/ggml-org/llama.cpp/pull/15916; 64 before."""


class BuildRules(NamedTuple):
    """Of one build.

    Attributes:
        masks_in_f32: whether a mask is made in f32 and copied to f16 for flash attention; b9410 makes it in f16
            (https://github.com/ggml-org/llama.cpp/pull/23764).
        logits_of_all: whether logits are reserved for every token of a micro-batch, as with all masks in f32; since
            b9460 for one of each slot (https://github.com/ggml-org/llama.cpp/pull/23861).
        copies_within: whether copies of K and V in f16 lie within the buffer, as since b9489
            (https://github.com/ggml-org/llama.cpp/pull/23907); before, CUDA's pool grows by them as they are needed.
        hidden_kept: vectors of hidden_size that a layer holds beside what it computes.
        hidden_kept_gated: the same where gated delta rules stand between its attention.
        logits_hidden: vectors of hidden_size beside the logits of every token, where an application wants those.
        logits_with_masks: whether masks are still there then.
        latent_alike: whether a latent is refused where K and V are asked in different types (src/llama-context.cpp,
            llama_init_from_model).
        pad_without_flash: cells are a multiple of it without flash attention, and of 256 with it (get_padding of
            src/llama-kv-cache-unified.cpp at commit 4227c9be, which llama-cpp-python 0.3.16 has).
        flash_asked: whether flash attention runs only where it is asked for (likewise, common/common.h).
        values_turn_on: whether V in blocks turns flash attention on where that is left to llama.cpp (likewise).
        inputs: vectors of hidden_size that cards are given which work in turn: the first, and the others.
        most_slots: a context of more sequences is refused (src/llama-context.cpp).
    """

    masks_in_f32: bool
    logits_of_all: bool
    copies_within: bool
    hidden_kept: int
    hidden_kept_gated: int
    logits_hidden: int
    logits_with_masks: bool
    latent_alike: bool
    values_turn_on: bool
    pad_without_flash: int
    flash_asked: bool
    inputs: tuple[int, int]
    most_slots: int


_B6182 = BuildRules(
    masks_in_f32=True,
    logits_of_all=True,
    copies_within=False,
    hidden_kept=3,
    hidden_kept_gated=2,
    logits_hidden=1,
    logits_with_masks=False,
    latent_alike=False,
    values_turn_on=False,
    pad_without_flash=32,
    flash_asked=True,
    inputs=(4, 4),
    most_slots=64,
)
_B6325 = _B6182._replace(flash_asked=False, most_slots=MOST_SLOTS)
"""Flash attention is left to llama.cpp (https://github.com/ggml-org/llama.cpp/pull/15434)."""
_B6924 = _B6325._replace(pad_without_flash=256)
"""Cells are a multiple of 256 in any case (pull/16736, pull/16812)."""
_B9410 = _B6924._replace(masks_in_f32=False)
_B9460 = _B9410._replace(logits_of_all=False, logits_hidden=2)
_B9489 = _B9460._replace(copies_within=True)
_B10229 = _B9489._replace(latent_alike=True, values_turn_on=True)
_B11549 = _B10229._replace(hidden_kept=4, hidden_kept_gated=4, logits_hidden=4, logits_with_masks=True, inputs=(12, 7))

BUILDS: Mapping[str, BuildRules] = MappingProxyType(
    {
        "b6182": _B6182,
        "b6325": _B6325,
        "b6924": _B6924,
        "b8929": _B6924,
        "b9410": _B9410,
        "b9460": _B9460,
        "b9489": _B9489,
        "b10229": _B10229,
        "b11549": _B11549,
    }
)
"""By the build that has them first, of those that were looked at."""
