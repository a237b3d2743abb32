"""Layers of a GGUF file: heads, which may differ from layer to layer, widths, and windows by a pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from kvcalc.importers.imported_layer import AttentionBlock, ImportedLayer, block_of_heads
from kvcalc.importers.sourced import Sourced
from kvcalc.model.layers import MAX_LAYERS
from kvcalc.units import MAX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvcalc.importers.config import Config

HEADS, KV_HEADS, WIDTH, V_WIDTH, HIDDEN = (
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "embedding_length",
)
MAX_HEADS = 10**6
WINDOW, PATTERN, DRAFTS = "attention.sliding_window", "attention.sliding_window_pattern", "nextn_predict_layers"
SHARED = "attention.shared_kv_layers"


def num_layers(config: Config) -> int:
    """How many layers there are, without those that predict further tokens."""
    blocks, drafts = config.count("block_count", most=MAX_LAYERS), config.optional_count(DRAFTS, least=0)
    layers = blocks.value - (0 if drafts is None else drafts.value)
    if layers < 1:
        raise config.refusal(f"{blocks.value} blocks, of which none are layers")
    return int(layers)


def by_layer(config: Config, name: str) -> list[int] | None:
    """A number for each layer, which may be one for all; None where there is none.

    Raises:
        KvcalcError: a list of another length, or something else.
    """
    found, layers = config.get(name), num_layers(config)
    if found is None:
        return None
    if not isinstance(found.value, list):
        return [config.count(name, least=0).value] * layers
    numbers = config.numbers(name)
    if len(numbers) < layers or any(each > MAX_HEADS for each in numbers):
        raise config.refusal(f"{name} has {len(numbers)} entries for {layers} layers, or one beyond {MAX_HEADS:,}")
    return numbers[:layers]


def attentions(config: Config, *, sliding: bool = False) -> list[AttentionBlock | None]:
    """Each layer's attention; None where there are no KV heads.

    Args:
        config: of the file.
        sliding: whether widths are those of sliding layers, which may have keys of their own.
    """
    heads = by_layer(config, HEADS)
    kv_heads = by_layer(config, KV_HEADS)
    if heads is None:
        raise config.refusal(f"it has no {HEADS}")
    reason = KV_HEADS if kv_heads is not None else f"no {KV_HEADS}: as many as heads"
    suffix = "_swa" if sliding else ""
    pairs = list(zip(heads, kv_heads or heads, strict=True))
    built = {
        pair: _block(config, Sourced(pair[0], HEADS), Sourced(pair[1], reason), suffix)
        for pair in set(pairs)
        if pair[1]
    }
    return [built.get(pair) for pair in pairs]


def _block(config: Config, heads: Sourced, kv_heads: Sourced, suffix: str) -> AttentionBlock:
    if not heads.value:
        raise config.refusal(f"a layer has {kv_heads.value} KV heads and no heads")
    widths = (_width(config, name, suffix, heads) for name in (WIDTH, V_WIDTH))
    return block_of_heads(config, heads, kv_heads, *widths)


def every_attention(config: Config, *, sliding: bool = False) -> list[AttentionBlock]:
    """Each layer's attention, which all must have.

    Raises:
        KvcalcError: one has no KV heads.
    """
    found = [block for block in attentions(config, sliding=sliding) if block is not None]
    if len(found) < num_layers(config):
        raise config.refusal(f"{KV_HEADS} is 0 for a layer")
    return found


def _width(config: Config, name: str, suffix: str, heads: Sourced) -> Sourced:
    found = config.optional_count(f"{name}{suffix}") or config.optional_count(name)
    if found is not None:
        return found
    hidden = config.count(HIDDEN)
    if hidden.value % heads.value:
        raise config.refusal(f"it has no {name}, and {hidden.value} / {heads.value} heads is no whole number")
    return Sourced(hidden.value // heads.value, f"no {name}: {hidden.reason} / {HEADS}")


def full(config: Config) -> list[ImportedLayer]:
    """Every layer that has KV heads keeps everything; others keep nothing."""
    nothing = AttentionBlock("none", reason=f"{KV_HEADS} is 0 here")
    return [ImportedLayer((block or nothing,)) for block in attentions(config)]


def unused(config: Config, *names: str) -> None:
    """Keys that llama.cpp does not read of this architecture; an assumption of them is idle."""
    config.ignore(*(name for name in names if config.assumed.get(name) is None))


def marked(config: Config, name: str, marks: list[Any]) -> list[bool]:
    """Each layer's mark, true or false; layers after the end of the list are not marked, as in llama.cpp.

    Raises:
        KvcalcError: something else is in the list.
    """
    if not marks or not all(each in (0, 1) for each in marks):
        raise config.refusal(f"{name} is no list of true and false")
    layers = num_layers(config)
    return [bool(mark) for mark in (*marks[:layers], *[False] * (layers - len(marks)))]


def sliding_marks(config: Config, every: int, *, first: bool = False) -> list[bool]:
    """Whether each layer slides: by the file's pattern, a period or a list; without one, all but every n-th.

    Args:
        config: of the file.
        every: the period, where the file has none.
        first: whether the first of a period is full, not the last.
    """
    found = config.get(PATTERN)
    if found is not None and isinstance(found.value, list):
        return marked(config, PATTERN, found.value)
    period = every if found is None else int(config.count(PATTERN, least=0).value)
    whole = 0 if first else period - 1
    return [period == 0 or index % period != whole for index in range(num_layers(config))]


def window_of(config: Config, otherwise: int | None = None) -> Sourced | None:
    """The sliding window; None where there is none, for which files also have 0.

    Args:
        config: of the file.
        otherwise: what llama.cpp takes for this architecture where the key is absent.
    """
    found = config.optional_count(WINDOW, least=0, most=MAX_CONTEXT)
    if found is None:
        return (
            None if otherwise is None else Sourced(otherwise, f"no {WINDOW}: llama.cpp's own for {config.model_type}")
        )
    return found if found.value else None


def needed_window(config: Config) -> Sourced | None:
    """The sliding window of an architecture that llama.cpp does not load without; None where that is assumed."""
    return window_of(config) if WINDOW in config.assumed else config.tokens(WINDOW)


def pattern(
    config: Config,
    every: int,
    *,
    first: bool = False,
    span_of: Callable[[Config], Sourced | None] = window_of,
    name: Literal["window", "chunk"] = "window",
) -> list[ImportedLayer]:
    """All but every n-th layer slide, or stay within a chunk; none where there is no window.

    Args:
        config: of the file.
        every: the period, where the file has no pattern.
        first: whether the first of a period is full, not the last.
        span_of: how long the window is.
        name: what it is.
    """
    span = span_of(config)
    if span is None:
        return full(config)
    whole, own = every_attention(config), every_attention(config, sliding=True)
    return [
        ImportedLayer((own[index],), **{name: span}) if slides else ImportedLayer((whole[index],))
        for index, slides in enumerate(sliding_marks(config, every, first=first))
    ]
