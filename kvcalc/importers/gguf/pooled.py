"""Indexers of a GGUF file that pool their keys: Qwen3.8-Flash-Next (qwen4exp) and GLM-5.3-Flash (glm5-next)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.gguf.compressed import RATIOS
from kvcalc.importers.gguf.latents import INDEXER, hybrid_latent
from kvcalc.importers.gguf.layers import HIDDEN
from kvcalc.importers.gguf.states import CONV_DTYPE, deltanet
from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

NGRAMS = "ple.layers"


def qwen4exp(config: Config) -> list[ImportedLayer]:
    """Gated delta networks, and heads with an indexer where compress_ratios is not 0 (src/models/qwen4exp.cpp).

    Raises:
        KvcalcError: no ratios, ratios of several sizes or for other layers, or n-grams beside heads.
    """
    ratios, layers = config.numbers(RATIOS), deltanet(config)
    groups = {ratio for ratio, layer in zip(ratios, layers, strict=False) if layer.blocks[0].kind == "gqa"}
    if len(ratios) < len(layers) or len(groups) != 1 or 0 in groups:
        raise config.refusal(f"{RATIOS} has not one ratio for all layers with heads")
    index = (*_index(config), ("index_kpool", Sourced(groups.pop(), RATIOS)))
    places = config.numbers(NGRAMS) if config.get(NGRAMS) is not None else []
    if any(place >= len(layers) or layers[place].blocks[0].kind == "gqa" for place in places):
        raise config.refusal(f"{NGRAMS} has layers without linear attention, which llama.cpp does not know")
    ngrams = (_of_ngrams(config),) if places else ()
    found = []
    for number, layer in enumerate(layers):
        block = layer.blocks[0]
        blocks = (block._replace(fields=(*block.fields, *index)),) if block.kind == "gqa" else (block,)
        found.append(layer._replace(blocks=(*blocks, *ngrams) if number in places else blocks))
    return found


def glm5_next(config: Config) -> list[ImportedLayer]:
    """Kimi delta attention, and latents whose every layer has an indexer of its own unless types says otherwise.

    Source: llama.cpp, src/models/glm5-next.cpp.
    """
    layers = hybrid_latent(config)
    listed = config.get(f"{INDEXER}.types")
    if listed is not None and 0 in (
        config.numbers(f"{INDEXER}.types") if isinstance(listed.value, list) else [listed.value]
    ):
        raise config.refusal(f"{INDEXER}.types has layers that share an indexer, which kvcalc knows of no such file")
    config.ignore(f"{INDEXER}.kpool_select_tail")
    index = (*_index(config), ("index_kpool", config.count(f"{INDEXER}.kpool", least=2)))
    return [
        layer._replace(blocks=(layer.blocks[0]._replace(fields=(*layer.blocks[0].fields, *index)),))
        if layer.blocks[0].kind == "mla"
        else layer
        for layer in layers
    ]


def _index(config: Config) -> tuple[tuple[str, Sourced], ...]:
    names = {"index_head_dim": "key_length", "index_n_heads": "head_count", "index_topk": "top_k"}
    return tuple((field, config.count(f"{INDEXER}.{name}")) for field, name in names.items())


def _of_ngrams(config: Config) -> AttentionBlock:
    """The convolution over all residual streams, which skips as many inputs as n-grams are long."""
    streams, hidden = config.count("hyper_connection.count"), config.count(HIDDEN)
    return AttentionBlock(
        "short_conv",
        (
            ("hidden_size", Sourced(streams.value * hidden.value, f"hyper_connection.count x {HIDDEN}, of n-grams")),
            ("conv_kernel", config.count("ple.conv_kernel")),
            ("dilation", config.count("ple.ngram_size")),
            ("whole", Sourced(value=True, reason="of residual streams")),
            CONV_DTYPE,
        ),
    )
