"""Which element format each kept tensor is stored in: what the user asks for, the model's file says, or is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import TENSOR_FORMATS
from kvcalc.formats.turboquant import TURBOQUANT
from kvcalc.mechanisms import Role
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from kvcalc.formats.element import ElementFormat
    from kvcalc.mechanisms import CachedTensor
    from kvcalc.model.layers import Layer


class CacheFormat(NamedTuple):
    """The element format of each kept tensor.

    Attributes:
        name: as it was asked for, printed with the result.
        default: for every tensor of the cache that `tensors` does not name.
        tensors: names of tensors, each with its format.
        computing: the format of computing, to which the inputs of convolutions default.
        conv: instead of what convolutions' inputs have.
        state: instead of what states have.
    """

    name: str
    default: ElementFormat
    tensors: tuple[tuple[str, ElementFormat], ...]
    computing: ElementFormat
    conv: ElementFormat | None = None
    state: ElementFormat | None = None

    def of(self, layer: Layer, tensor: CachedTensor) -> ElementFormat:
        """The format of one of a layer's tensors. The layer's own wins for its cache, never for states."""
        own = None if tensor.format is None else find_format(tensor.format, tensor.name)
        match tensor.role:
            case Role.CACHE if layer.cache_dtype is not None:
                return find_format(layer.cache_dtype, "cache_dtype")
            case Role.CACHE:
                return self._named(tensor) or self.default
            case Role.INDEX:
                return self._named(tensor) or own or self.default
            case Role.CONV:
                return self.conv or own or self.computing
            case Role.STATE:
                return self.state or own or self.computing

    def _named(self, tensor: CachedTensor) -> ElementFormat | None:
        return next((each for name, each in self.tensors if name == tensor.name), None)


def parse_cache_format(
    text: str,
    computing: ElementFormat,
    tensors: Iterable[CachedTensor],
    what: str = "--cache-dtype",
    *,
    conv: ElementFormat | None = None,
    state: ElementFormat | None = None,
    names: Mapping[str, tuple[str, ...]] | None = None,
) -> CacheFormat:
    """'fp8', 'k=q8_0,v=q4_0' or 'fp8_ds_mla' -> the format of each tensor.

    Args:
        text: what the user typed.
        computing: the format of computing, for tensors that a 'name=format' list leaves out.
        tensors: what this model keeps.
        what: the option or field, for messages.
        conv: instead of what the inputs of convolutions have.
        state: instead of what states have.
        names: what an engine calls tensors, each with all that it means, of which those that a model keeps count.

    Raises:
        KvcalcError: an unknown format, a tensor that this model does not keep or whose format another option says, or
            one named twice.
    """
    stripped = text.strip()
    kept = {tensor.name: tensor.role for tensor in tensors}
    packed = TURBOQUANT.get(stripped.lower())
    if packed is not None:
        if not packed.keys() <= kept.keys():
            raise KvcalcError(
                f"{what}: '{stripped}' is for keys and values, which this model does not keep; it keeps "
                f"{', '.join(kept) or 'none'}"
            )
        return CacheFormat(stripped.lower(), computing, tuple(packed.items()), computing, conv, state)
    if stripped.lower() in TENSOR_FORMATS:
        pairs = _of_layout(TENSOR_FORMATS[stripped.lower()], kept)
    elif "=" in stripped:
        pairs = list(_meant((_pair(part, what) for part in stripped.split(",")), kept, names or {}))
    else:
        default = find_format(stripped, what)
        return CacheFormat(stripped.lower(), default, (), computing, conv, state)
    by_tensor: dict[str, ElementFormat] = {}
    for tensor, format_name in pairs:
        if kept.get(tensor) in {Role.CONV, Role.STATE}:
            option = "--conv-dtype" if kept[tensor] is Role.CONV else "--state-dtype"
            raise KvcalcError(f"{what}: '{tensor}' is a constant state, whose format {option} says")
        if tensor not in kept:
            named = [name for name, role in kept.items() if role in {Role.CACHE, Role.INDEX}]
            raise KvcalcError(
                f"{what}: '{stripped[:60]}' is for tensor '{tensor}', which this model does not keep; "
                f"it keeps {', '.join(named) or 'none'}{did_you_mean(tensor, named)}"
            )
        if tensor in by_tensor:
            raise KvcalcError(f"{what}: tensor '{tensor}' is given twice")
        by_tensor[tensor] = find_format(format_name, what)
    return CacheFormat(stripped.lower(), computing, tuple(by_tensor.items()), computing, conv, state)


def _of_layout(layout: Mapping[str, str], kept: Container[str]) -> list[tuple[str, str]]:
    """The tensors of a layout that a model keeps; all of them where it keeps none, so that one is named as missing."""
    found = [(tensor, format_name) for tensor, format_name in layout.items() if tensor in kept]
    return found or list(layout.items())


def _meant(
    pairs: Iterable[tuple[str, str]], kept: Container[str], names: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    """The model's own tensors for those that an engine has a name for."""
    for tensor, format_name in pairs:
        if tensor in names:
            yield from ((each, format_name) for each in names[tensor] if each in kept)
        else:
            yield tensor, format_name


def _pair(part: str, what: str) -> tuple[str, str]:
    tensor, equals, format_name = part.partition("=")
    if not (equals and tensor.strip() and format_name.strip()):
        raise KvcalcError(f"{what}: '{part[:40]}' is not TENSOR=FORMAT (for example k=q8_0,v=q4_0)")
    return tensor.strip(), format_name.strip()
