"""mlx_lm's options as text, each by its own name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.mlx.rules import STEP
from kvcalc.engines.option import Option
from kvcalc.engines.option_values import count
from kvcalc.errors import KvcalcError
from kvcalc.model.span import Chunk
from kvcalc.units import MAX_CONTEXT, parse_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.engines.base import Engine
    from kvcalc.model.span import Span

MOST_TOKENS = 10**6


def _one_of(*values: int) -> Callable[[str, str], int]:
    def read(text: str, what: str) -> int:
        found = next((each for each in values if text.strip() == str(each)), None)
        if found is None:
            raise KvcalcError(f"{what}: '{text[:40]}' is none of {', '.join(map(str, values))}")
        return found

    return read


def _rotating(text: str, what: str) -> bool:
    known = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
    value = known.get(text.strip().lower())
    if value is None:
        raise KvcalcError(f"{what}: '{text[:40]}' is not 0 or 1; the tokens of a rotating cache are max-kv-size")
    return value


def _prefill(text: str, what: str) -> int:
    tokens = parse_count(text, what, MOST_TOKENS, 1)
    if tokens % STEP:
        raise KvcalcError(f"{what}: kvcalc counts multiples of {STEP}, and {tokens:,} is none")
    return tokens


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "step": Option(count(MOST_TOKENS), str(STEP), "Tokens that a cache grows by (KVCache.step)."),
        "rotating": Option(
            _rotating,
            None,
            "1: layers with windows keep no more than the window; 0: they keep every token.",
            otherwise="as the class of the model_type does",
        ),
        "max-kv-size": Option(
            count(MAX_CONTEXT, 5),
            None,
            "Tokens of a rotating cache for every layer, the first 4 of the context among them.",
            otherwise="no limit",
        ),
        "kv-bits": Option(_one_of(2, 4, 8), None, "Bits of an element of a quantised cache.", "not quantised"),
        "kv-group-size": Option(_one_of(32, 64, 128), "64", "Elements that share a scale and a bias."),
        "quantized-kv-start": Option(count(MAX_CONTEXT, 0), "5000", "Tokens from which on a cache is quantised."),
        "prefill-step-size": Option(_prefill, "2048", "Tokens of a prompt that one pass reads."),
    }
)

GIVEN_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {"max-tokens": "--context, prompt and answer together", "dtype": "--dtype"}
)


class Settings(NamedTuple):
    """What mlx_lm.generate runs with, by the names of its options; None: as `Option.otherwise` says."""

    step: int
    rotating: bool | None
    max_kv_size: int | None
    kv_bits: int | None
    kv_group_size: int
    quantized_kv_start: int
    prefill_step_size: int

    def rows(self, span: Span | None, tokens: int) -> int:
        """Rows of a layer for a sequence of so many tokens, all but one of them its prompt."""
        step = self.step
        whole = -(-tokens // step) * step
        match span:
            case None:
                return whole
            case Chunk(tokens=chunk):
                return whole if tokens <= chunk else max(chunk + step, -(-chunk // step) * step)
            case _ if tokens:
                prompt = tokens - 1
                alone = (
                    prompt % self.prefill_step_size == 1
                )  # a pass over one token grows the cache as an answer's does
                return min(span.tokens, prompt - alone + step)
            case _:
                return 0


def settings_of(engine: Engine) -> Settings:
    """The options of an engine."""
    return Settings(*(engine.option(name.replace("_", "-")) for name in Settings._fields))
