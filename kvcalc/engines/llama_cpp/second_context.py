"""The context of a model's own layers that draft tokens (multi-token prediction), beside that of the model.

llama.cpp makes it against the same model (tools/server/server-context.cpp, load_model): each of those layers is a full
attention layer as the last of the model is, with all cells of its slots, in f16 unless -ctkd and -ctvd say otherwise.
It lies with the last layers, and has a compute buffer of its own: of 0.7 to 1 of the model's in graphs of b11549, where
it is counted as large as that.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.mechanisms import KDA, Role
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from kvcalc.engines.llama_cpp.layout import LlamaLayout
    from kvcalc.model.stages import Stage

_SOURCE = "llama.cpp, tools/server/server-context.cpp: a context of the layers that draft, f16"
BYTES = 2
"""Of an element in f16."""


class SecondCache(NamedTuple):
    """What it keeps of a token.

    Attributes:
        names: of the tensors.
        elements: of one layer.
    """

    layers: int
    names: str
    elements: int

    @property
    def row_bytes(self) -> int:
        return self.layers * self.elements * BYTES

    def term(self, cells: int) -> Product:
        """Of so many cells."""
        return Product(
            f"layers that draft: {self.names}, a context of their own",
            (
                Factor("layers", self.layers, "layer"),
                Factor("cells", cells, "cell"),
                Factor("elements", self.elements),
                Factor("bytes", BYTES, "byte"),
            ),
            _SOURCE,
        )


def second_cache(layout: LlamaLayout, stage: Stage) -> SecondCache | None:
    """Of a stage: None where it has not the last layers, nothing is drafted, or another model drafts."""
    model, settings = layout.setup.model, layout.settings
    on_card = not settings.no_kv_offload and settings.n_gpu_layers != 0
    draft = layout.setup.draft
    if draft is None or not (draft.own_layers and on_card and stage.layers.stop == model.num_layers):
        return None
    kept = [tensor for tensor in draft.model.cached_tensors if tensor.role in {Role.CACHE, Role.INDEX}]
    names = "+".join(tensor.name for tensor in kept)
    return SecondCache(draft.model.num_layers, names, sum(tensor.row_elements for tensor in kept))


class IdleCells(NamedTuple):
    """Cells that layers which draft have among the model's own, and that nothing fills.

    Attributes:
        row: whose product is the bytes of a cell of one layer.
    """

    layers: int
    names: str
    row: tuple[Factor, ...]

    @property
    def row_bytes(self) -> int:
        return self.layers * prod(factor.value for factor in self.row)

    def term(self, cells: int) -> Product:
        """Of so many cells."""
        held = Factor("layers", self.layers, "layer"), Factor("cells", cells, "cell")
        return Product(f"layers that draft: {self.names}, cells that nothing fills", (*held, *self.row), _IDLE)


_IDLE = "llama.cpp, src/llama-model.cpp, create_memory: no filter of such a hybrid leaves out the layers that draft"


def idle_cells(layout: LlamaLayout, stage: Stage) -> IdleCells | None:
    """Of hybrids of Kimi delta attention and latents (kimi-linear, bailingmoe3), whose other layers all have cells.

    306.00 MiB were printed of Ling 3.0 at 65,536 cells in q8_0: 8 layers of 576 elements, of which one drafts. None
    where a model has no such layers, or an indexer that pools keys (glm5-next), or the stage has not the last ones.
    """
    model, settings = layout.setup.model, layout.settings
    layers = [layer for (layer, *_) in model.layout.layers]
    hybrid = any(isinstance(layer.attention, KDA) for layer in layers)
    on_card = not settings.no_kv_offload and settings.n_gpu_layers != 0
    if not (model.mtp_layers and hybrid and on_card and stage.layers.stop == model.num_layers) or layout.pools_keys:
        return None
    last = next((layer for layer in reversed(layers) if not isinstance(layer.attention, KDA)), None)
    if last is None:
        return None
    kept = [tensor for tensor in last.attention.cached() if tensor.role is Role.CACHE]
    sizes = [prod(each.value for each in layout.cache_format.of(last, one).row(one.heads, one.dims)) for one in kept]
    names = "+".join(tensor.name for tensor in kept)
    return IdleCells(model.mtp_layers, names, (Factor("bytes_of_a_cell", sum(sizes), "byte"),))
