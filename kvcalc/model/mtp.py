"""The layers of a model's own file that predict further tokens (multi-token prediction), as a model of their own.

Such a module joins the embedding of a token with the hidden state before it (2 x hidden_size x hidden_size), passes
that through one layer, and uses the model's own embedding and output head: DeepSeek-V3, section 2.2. Most families'
layer is like the model's last that keeps every token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import Compressed
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model
from kvcalc.model.mtp_family import family_of
from kvcalc.model.mtp_weights import mtp_weights
from kvcalc.model.span import Chunk, Window

if TYPE_CHECKING:
    from kvcalc.model.layers import Layer


def mtp_cache(model: Model) -> Layer | None:
    """What one of the layers that predict further tokens keeps; None where that is not known."""
    grows = [cache for caches in model.layout.layers for cache in caches if cache.attention.elements_per_token]
    if grows and isinstance(last := grows[-1].attention, Compressed):  # a window alone: compress_ratio 0
        alone: Any = {"overlap": False, "index_head_dim": None, "index_n_heads": None, "index_topk": None}
        return grows[-1]._replace(attention=replace(last, compress_ratio=None, **alone))
    windowed = family_of(model).windowed
    found = [cache for cache in reversed(grows) if (cache.span is not None) == windowed]
    indexed = (cache for cache in found if getattr(cache.attention, "index_head_dim", None))  # others reuse its choice
    return next(indexed, found[0] if found else None)


def mtp_model(model: Model, loaded: int | None = None) -> Model:
    """The layers that predict further tokens, as a model: all that the file has, however many tokens they predict.

    Its parameters are None where the file does not tell how many there are, or in which format.

    Args:
        model: whose file has them.
        loaded: how many of them an engine loads; None: all.

    Raises:
        KvcalcError: the file has none, or what they keep is not known.
    """
    if not model.mtp_layers:
        from kvcalc.model.dspark import FAMILIES  # only for this message

        blocks = (model.model_type or "") in FAMILIES
        step = "--engine vllm --engine-option speculative-method=dspark beside it has those that draft a block"
        raise KvcalcError(
            f"--mtp: the file of {model.name} has no layers that predict further tokens (mtp_layers; in config.json "
            "num_nextn_predict_layers or mtp_num_hidden_layers); "
            f"{step if blocks else '--draft MODEL takes a model of its own'}"
        )
    kept = mtp_cache(model)
    if kept is None:
        raise KvcalcError(
            f"--mtp: kvcalc does not know what the layers of {model.name} that predict further tokens keep; "
            "--draft FILE takes them as a model of their own"
        )
    layers = min(model.mtp_layers, loaded or model.mtp_layers)
    parts = tuple(mtp_weights(model, kept, layers))
    span = kept.span
    return Model(
        name=f"{model.name} mtp",
        source=family_of(model).source,
        model_type=model.model_type,
        hidden_size=model.hidden_size,
        unreached_window=model.unreached_window,
        num_experts=None if family_of(model).dense else model.num_experts,
        num_experts_per_tok=None if family_of(model).dense else model.num_experts_per_tok,
        dtype=model.dtype,
        parameters=sum(part.parameters for part in parts if not part.scales) or None,
        weight_dtype=model.weight_dtype,
        weights=parts,
        layers=(
            LayerGroup(
                count=layers,
                attention=kept.attention,
                window=span.tokens if isinstance(span, Window) else None,
                chunk=span.tokens if isinstance(span, Chunk) else None,
                cache_dtype=kept.cache_dtype,
            ),
        ),
    )
