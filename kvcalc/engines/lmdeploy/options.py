"""LMDeploy's options as text, each by its own name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.lmdeploy.rules import BATCHES, MESSAGES
from kvcalc.engines.option import Option
from kvcalc.engines.option_values import AUTO, count, or_auto
from kvcalc.errors import KvcalcError, did_you_mean
from kvcalc.named_tuple import NamedTuple
from kvcalc.units import parse_count, parse_fraction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from kvcalc.engines.base import Engine
    from kvcalc.gpu import Gpu

STEP = 64
BACKENDS = ("turbomind", "pytorch")
POLICIES: Mapping[str, str | None] = {"0": None, "4": "int4_per_token_head", "8": "int8_per_token_head"}
MOST_TOKENS, MOST_BATCHES = 10**6, 10**6
BATCHES_OF: Mapping[str, int] = {"a100": 384, "a800": 384, "h100": 1024, "h800": 1024, "l20y": 1024, "h200": 1024}
OTHERS = 128


class Settings(NamedTuple):
    """Of one start.

    Attributes:
        block: tokens of a block.
        share: of what is free, for the cache.
        kept_in: the format of a quantised cache.
        prefill: tokens of prompts that one pass reads.
        batches: requests of a pass.
    """

    turbomind: bool
    block: int
    share: Fraction
    kept_in: str | None
    prefill: int
    batches: int

    def of(self, free: int) -> int:
        """The cache's share."""
        return free * self.share.numerator // self.share.denominator


def settings_of(engine: Engine, gpu: Gpu) -> Settings:
    """The options of an engine on a card, whose name decides how many requests a pass has."""
    batches = engine.option("max-batch-size")
    return Settings(
        engine.option("backend") == BACKENDS[0],
        engine.option("cache-block-seq-len"),
        engine.option("cache-max-entry-count"),
        POLICIES[engine.option("quant-policy")],
        engine.option("max-prefill-token-num"),
        _batches_on(gpu) if batches is None else batches,
    )


def _batches_on(gpu: Gpu) -> int:
    named = " ".join((gpu.name, *gpu.device_names)).lower()
    return next((each for name, each in BATCHES_OF.items() if name in named), OTHERS)


def _backend(text: str, what: str) -> str:
    name = text.strip().lower()
    if name not in BACKENDS:
        raise KvcalcError(f"{what}: '{text[:40]}' is not turbomind or pytorch{did_you_mean(name, BACKENDS)}")
    return name


def _block(text: str, what: str) -> int:
    tokens = parse_count(text, what, MOST_TOKENS, 1)
    if tokens % STEP:
        raise KvcalcError(f"{what}: TurboMind's kernels need a multiple of {STEP}, and {tokens:,} is none")
    return tokens


def _share(text: str, what: str) -> Fraction:
    share = parse_fraction(text, what)
    if share == 1:
        raise KvcalcError(f"{what}: LMDeploy takes a share below 1 of what is free (for example 0.8)")
    return share


def _policy(text: str, what: str) -> str:
    known = text.strip()
    if known not in POLICIES:
        raise KvcalcError(f"{what}: '{text[:40]}' is none of {', '.join(POLICIES)}, which kvcalc follows")
    return known


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "backend": Option(_backend, "turbomind", "What runs the model: turbomind or pytorch.", source=MESSAGES),
        "cache-block-seq-len": Option(_block, "64", "Tokens of a block.", source=MESSAGES),
        "cache-max-entry-count": Option(
            _share, "0.8", "Share of the memory that is free after the weights, for the cache.", source=MESSAGES
        ),
        "quant-policy": Option(_policy, "0", "Bits of an element of a quantised cache: 8, 4, or 0.", source=MESSAGES),
        "max-prefill-token-num": Option(
            count(MOST_TOKENS), "8192", "Tokens of prompts that a pass reads; the pytorch backend leaves them room."
        ),
        "max-batch-size": Option(
            or_auto(count(MOST_BATCHES)), AUTO, "Requests of a pass; auto: as the card's name says.", source=BATCHES
        ),
    }
)
GIVEN_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "tp": "--tp",
        "dp": "--dp",
        "ep": "--ep",
        "session-len": "--context",
        "dtype": "--dtype",
        "model-format": "--weight-dtype",
    }
)
