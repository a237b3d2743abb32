"""SGLang's start-up log, 0.4.4 to 0.5.23."""

from __future__ import annotations

import re
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.logs.dialect import Dialect
from kvcalc.logs.server_log import Printed
from kvcalc.logs.sglang.figures import BOTH_POOLS, FIGURES, POOL_TOKENS, WINDOW_TOKENS
from kvcalc.logs.sglang.lines import LINES
from kvcalc.logs.sglang.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARTS = ("keys", "values", "keys and values", "convolution states", "states")
_OF_A_POOL = ("keys", "keys and values")
"""Of which each pool prints one."""


def derived(printed: Mapping[str, tuple[Printed, ...]]) -> Mapping[str, tuple[Printed, ...]]:
    """What its figures tell together: the memory of all pools of a rank, and the tokens of the full one.

    Of a rank that allocates two pools alike, one is a draft's, and their memory is not added up.
    """
    found = dict(printed)
    pools = printed.get(POOL_TOKENS, ())
    if "tokens" not in found and pools:
        found["tokens"] = (max(pools),)
    if BOTH_POOLS in printed:
        return {**found, "cache memory": printed[BOTH_POOLS]}
    pairs = [(name, each) for name in _PARTS for each in printed.get(name, ())]
    for process in dict.fromkeys(each.process for _, each in pairs):
        own = [each for _, each in pairs if each.process == process]
        allocated = sum(name in _OF_A_POOL and each.process == process for name, each in pairs)
        if allocated > (2 if WINDOW_TOKENS in printed else 1):
            continue
        total = sum((each.value for each in own), Fraction(0)), sum((each.off for each in own), Fraction(0))
        text = " + ".join(each.text for each in own)
        found["cache memory"] = (*found.get("cache memory", ()), Printed(*total, text, process))
    return found


SGLANG = Dialect(
    engine="sglang",
    figures=FIGURES,
    lines=LINES,
    settings=SETTINGS,
    nested=frozenset(),
    flags=MappingProxyType({}),
    process=re.compile(r"\[[\d -]{8,12}[\d:. ]{6,16} (?P<name>(?:[A-Z_]{2,12}\d{1,6} ?){1,6})\]"),
    typical=(
        "max_total_num_tokens=463866, chunked_prefill_size=8192",
        "KV Cache is allocated. #tokens: 463866, K size: 28.31 GB, V size: 28.31 GB",
    ),
    wraps=False,
    derive=derived,
)
