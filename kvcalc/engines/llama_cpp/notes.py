"""What to know of how llama.cpp lays out a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.formats.weights import find_weight_format, may_be_in_gguf
from kvcalc.model.layers import count_layers
from kvcalc.note import Note, note, register

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.engines.load import Load
    from kvcalc.engines.setup import Setup

register({"no-experts-to-move": "n-cpu-moe is given for a model without experts: it changes nothing"})
register({"weights-in-no-gguf": "the weights' format is a checkpoint's, and none of GGUF files"})
register({"cache-on-host": "layers whose cache lies in host memory, which is not counted, and its bytes"})
register({"draft-not-counted": "tokens are drafted by a model that is not counted"})
register({"slots-share-no-prefix": "llama.cpp keeps a prefix that sequences share once for each slot"})


def notes(layout: LlamaLayout, load: Load) -> Iterator[Note]:
    """What is moved, left out or not used as it was asked for."""
    if layout.drops_windows:
        told = f"llama.cpp does not use the window of {layout.setup.model.model_type}: its layers keep all positions"
        yield note("unused-window", told, key="window")
    layers = len(layout.setup.model.layout.layers)
    on_host = layers if layout.settings.no_kv_offload else layout.first_on_card
    if on_host:
        held = _on_host(layout, load, on_host)
        told = (
            f"the cache of {on_host:,} of {layers:,} layers, {held:,} bytes, is in host memory, beside what is counted"
        )
        yield note("cache-on-host", told, layers=on_host, bytes=held)
    if layout.settings.n_cpu_moe and not layout.setup.model.is_mixture_of_experts:
        told = f"n-cpu-moe moves experts, and {layout.setup.model.name} has none: nothing changes, as in llama.cpp"
        yield note("no-experts-to-move", told, option="n-cpu-moe")
    if layout.settings.draft_n and layout.setup.draft is None:
        yield note("draft-not-counted", "the cache and the buffers of the model that drafts tokens are not counted")
    if (other := _in_no_file(layout.setup)) is not None:
        yield note(
            "weights-in-no-gguf",
            f"weights in {other} are a checkpoint's, and none of GGUF files: --weight-dtype (q8_0, q4_k_m) is of those",
            format=other,
        )
    if load.shared_prefix:
        yield note(
            "slots-share-no-prefix",
            f"slots share no cells: the {load.shared_prefix:,} tokens of the prefix are kept by each",
            shared_prefix=load.shared_prefix,
        )


def _in_no_file(setup: Setup) -> str | None:
    """A format of the weights that no GGUF file has."""
    if setup.weights_bytes is not None:
        return None
    asked, model = setup.weight_format, setup.model
    own = [part.format for part in model.weights if not part.scales] or [model.weight_dtype or model.dtype or "bf16"]
    formats = (asked,) if asked is not None else (find_weight_format(each, "format") for each in own)
    return next((each.name for each in formats if not may_be_in_gguf(each)), None)


def _on_host(layout: LlamaLayout, load: Load, layers: int) -> int:
    """Bytes of what the first layers keep, which the host has."""
    held = count_layers(layout.setup.model.layout.layers[:layers])
    return layout.held_bytes(layout.stages[0]._replace(layers=range(layers), kinds=held), load)
