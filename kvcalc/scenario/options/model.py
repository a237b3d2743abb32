"""Which model, and what its file does not say."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any, TypedDict

from kvcalc.fields import MAX_PARAMETERS
from kvcalc.formats.element import COMPUTE_FORMATS
from kvcalc.model.ad_hoc import MAX_DIM
from kvcalc.model.layers import MAX_LAYERS
from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import assumptions, count, word
from kvcalc.units import MAX_CONTEXT

of_model = partial(Option, panel="Model")
_dim = count(MAX_DIM)


def model_names() -> Iterable[str]:
    from kvcalc.catalogue import model_names

    return model_names()


MODEL = Option(
    "MODEL",
    "A name or hub id of the catalogue, a YAML file, a config.json or its folder, a .gguf, or hf:ORG/NAME.",
    values=model_names,
)
"""The argument of most commands."""


class Assumptions(TypedDict, total=False):
    assume: Annotated[
        Mapping[str, Any] | None,
        of_model(
            "KEY=VALUE",
            "Value of a key that the imported file does not have; repeatable.",
            read=assumptions("KEY=VALUE (for example head_dim=128)"),
            repeatable=True,
        ),
    ]


class ModelNumbers(TypedDict, total=False):
    """A model without a file."""

    layers: Annotated[int | str | None, of_model("N", "Layers.", read=count(MAX_LAYERS))]
    heads: Annotated[int | str | None, of_model("N", "Query heads.", read=_dim)]
    kv_heads: Annotated[int | str | None, of_model("N", "Key/value heads (as many as heads).", read=_dim)]
    head_dim: Annotated[int | str | None, of_model("N", "Head dimension.", read=_dim)]
    v_head_dim: Annotated[int | str | None, of_model("N", "Value head dimension (as head-dim).", read=_dim)]
    kv_lora_rank: Annotated[int | str | None, of_model("N", "Rank of the KV latent (mla).", read=_dim)]
    qk_rope_head_dim: Annotated[int | str | None, of_model("N", "Dimension of the rotary key (mla).", read=_dim)]
    window: Annotated[int | str | None, of_model("N", "Sliding window of every layer.", read=count(MAX_CONTEXT))]


class ModelFields(TypedDict, total=False):
    parameters: Annotated[
        int | str | None,
        of_model("N", "Number of parameters; also for a file that does not say.", read=count(MAX_PARAMETERS)),
    ]
    dtype: Annotated[
        str | None,
        of_model(
            "F",
            "Format of computation; cache and weights default to it (bf16).",
            values=lambda: COMPUTE_FORMATS,
            read=word,
        ),
    ]
