"""Parameters of Qwen3.8-Flash-Next beside its layers: what mixes residual streams, and what is made of n-grams.

Source: transformers 5.24.0, models/qwen4_exp/modeling_qwen4_exp.py.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING

from kvcalc.importers.config_json.heads import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.importers.config import Config
    from kvcalc.importers.config_json.parameters.anatomy import Anatomy
    from kvcalc.importers.imported_layer import ImportedLayer


_MOST = 64
"""Tokens of an n-gram, and heads of those of one length: so many primes are soon found."""


def mixed_streams_and_ngrams(config: Config, _: Anatomy, layers: Sequence[ImportedLayer]) -> int:
    """All of it, with the tables that the rows come from."""
    return mixed_streams(config, len(layers)) + hashed_tables(config)


def mixed_streams(config: Config, layers: int) -> int:
    """What mixes streams, and what puts n-grams into them.

    That is whole on every rank too (vLLM 0.33.0, vllm/models/qwen4_exp/nvidia, disable_tp).
    """
    wide, hidden = _wide(config), config.count(*HIDDEN).value
    joined = _width(config) * (wide + hidden) + 3 * wide
    return _mixing(config, layers) + int(len(_places(config)) * joined)


def streams_of_drafts(config: Config) -> int:
    """Of a layer that predicts a further token, which mixes streams before and at its end, and norms all of them.

    Source: vLLM 0.33.0, vllm/models/qwen4_exp/nvidia/mtp.py, Qwen4ExpMultiTokenPredictor. Of the three norms that other
    families have, the hidden state's is as wide as the streams, and the output has none.
    """
    return _mixing(config, 1) + _wide(config) - 2 * int(config.count(*HIDDEN).value)


def _mixing(config: Config, layers: int) -> int:
    """Before attention, before the experts and at the end streams are mixed; all but the end give back to each."""
    wide, rank = _wide(config), config.count("hc_lowrank").value
    mixing = wide + 2 * wide * rank
    return int(2 * layers * (mixing + wide * config.count("hc_count").value) + mixing)


def _wide(config: Config) -> int:
    return int(config.count("hc_count").value * config.count(*HIDDEN).value)


def hashed_tables(config: Config) -> int:
    """Tables of n-grams: each head's has as many rows as a prime of its own, and each layer's are padded together.

    Raises:
        KvcalcError: a row does not divide over the heads.
    """
    places = _places(config)
    if not places:
        return 0
    heads, least = _heads(config), config.count("ngram_vocab_size_base", most=10**9).value
    whole = config.count("make_ngram_vocab_size_divisible_by").value
    width = _width(config)
    if width % heads:
        raise config.refusal(f"ple_embed_dim is {width}, which does not divide over {heads} heads of n-grams")
    primes = _primes_from(least, heads * len(places))
    rows = sum(-(-sum(primes[heads * place : heads * (place + 1)]) // whole) * whole for place in range(len(places)))
    return int(rows * (width // heads))


def _places(config: Config) -> list[int]:
    return sorted(set(config.numbers("ple_layer_ids"))) if config.get("ple_layer_ids") else []


def _heads(config: Config) -> int:
    longest = config.count("ngram_size", least=2, most=_MOST).value
    return int((longest - 1) * config.count("heads_per_ngram", most=_MOST).value)


def _width(config: Config) -> int:
    given = config.optional_count("ple_embed_dim")
    return int((given or config.count(*HIDDEN)).value)


@lru_cache(maxsize=8)
def _primes_from(least: int, count: int) -> list[int]:
    found, number = list[int](), least
    while len(found) < count:
        if number > 1 and all(number % each for each in range(2, isqrt(number) + 1)):
            found.append(number)
        number += 1
    return found
