"""What SGLang runs with where nobody says, by version, card and model.

sglang/srt/server_args.py, `_handle_gpu_memory_settings` (`__post_init__` up to 0.5.2; since 0.5.19
sglang/srt/arg_groups/memory_hook.py, `handle_gpu_memory_settings`). Memory is in MiB, as nvidia-smi tells it.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

Version = tuple[int, ...]

VERSIONS = (
    "0.4.4",
    "0.4.6.post5",
    "0.4.8",
    "0.4.9.post6",
    "0.4.10",
    "0.5.1",
    "0.5.2",
    "0.5.3",
    "0.5.4",
    "0.5.4.post3",
    "0.5.5",
    "0.5.6",
    "0.5.6.post2",
    "0.5.7",
    "0.5.8",
    "0.5.9",
    "0.5.10",
    "0.5.10.post1",
    "0.5.11",
    "0.5.12",
    "0.5.12.post1",
    "0.5.13",
    "0.5.14",
    "0.5.15",
    "0.5.15.post1",
    "0.5.16",
    "0.5.17",
    "0.5.18",
    "0.5.19",
    "0.5.20",
    "0.5.21",
    "0.5.22",
    "0.5.23",
)
"""Those whose sources the rules here were read from."""

BY_RESERVE: Version = (0, 4, 8)
"""The first version that reserves memory by the size of the card; before it there is a share by the number of ranks."""
BY_FORMULA: Version = (0, 5, 3)
"""The first version that reserves by chunked_prefill_size and cuda_graph_max_bs."""
LARGER_SMALL_CARDS: Version = (0, 5, 20)
"""chunked_prefill_size 4096 and cuda_graph_max_bs 48 or 160 on cards of 20 to 35 GiB."""
PREFILL_GRAPHS: Version = (0, 5, 10)
"""The first version that captures graphs of prefill unless told not to (disable_piecewise_cuda_graph)."""
BREAKABLE_GRAPHS: Version = (0, 5, 15)
"""default_prefill_backend is breakable: which models have graphs of prefill is decided anew."""
GRAPHS_BY_REQUESTS: Version = (0, 5, 22)
"""cuda_graph_max_bs is no more than max_running_requests."""

FEW_RANKS = 4
"""With fewer, graphs are captured for fewer sequences."""
SMALL = 25_000
"""A small card in MiB, up to 0.4.7."""
MANY_SEQUENCES = 300
"""With larger graphs dp-attention is reserved half as much again."""
MAX_PREFILL_TOKENS = 16384
"""ServerArgs.max_prefill_tokens, which a prompt is cut to where chunked_prefill_size is -1."""


class Server(NamedTuple):
    """What the defaults depend on.

    Attributes:
        memory: of the card in MiB.
        tp: ranks that SGLang counts as tensor-parallel: those of all replicas with dp-attention.
        dp_attention: replicas that share ranks so; 0 where they do not.
        latent: whether the model is served with multi-head latent attention.
        prefill_graphs: whether graphs of prefill are captured.
    """

    version: Version
    memory: float
    tp: int
    pp: int
    dp_attention: int
    latent: bool
    prefill_graphs: bool


@lru_cache(maxsize=64)
def parse_version(text: str) -> Version:
    """0.5.6.post2 -> (0, 5, 6, 2)."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def chunked_prefill_size(version: Version, memory: float) -> int:
    """Tokens of a prompt that a step computes at most."""
    if version < BY_RESERVE:
        return 2048 if memory < SMALL else 8192
    if version < BY_FORMULA:
        return 2048 if memory < 35 * 1024 else 8192 if memory < 160 * 1024 else 16384
    tiers = ((20, 2048), (35, 4096 if version >= LARGER_SMALL_CARDS else 2048), (60, 4096), (160, 8192))
    return _tier(tiers, memory, 16384)


def cuda_graph_max_bs(version: Version, memory: float, tp: int) -> int:
    """Sequences of the largest graph of decoding."""
    few = tp < FEW_RANKS
    if version < BY_FORMULA:
        if memory < (SMALL if version < BY_RESERVE else 35 * 1024):
            return 8 if few else 80
        return 160
    small_cards = 16 if version < (0, 5, 4, 1) else 24
    small = (small_cards if few else 80) if version < LARGER_SMALL_CARDS else (48 if few else 160)
    return _tier(((20, 8), (35, small), (60, 32 if few else 160), (160, 256 if few else 512)), memory, 512)


@lru_cache(maxsize=1024)  # searches ask on thousands of deployments
def mem_fraction_static(server: Server, chunk: int, graphs: int) -> Fraction:
    """The share of a card for weights and pools.

    Args:
        server: what it depends on.
        chunk: chunked_prefill_size; below 1 where prompts are not cut.
        graphs: cuda_graph_max_bs; 0 where no graphs are captured.
    """
    if server.version < BY_RESERVE:
        return _by_ranks(server)
    reserved = _by_card(server) if server.version < BY_FORMULA else _by_settings(server, chunk, graphs)
    return Fraction(str(round((server.memory - reserved) / server.memory, 3)))


def prefill_graph_sizes(version: Version, most: int) -> int:
    """How many sizes of prefill have a graph, up to so many tokens (`generate_prefill_cuda_graph_batch_sizes`)."""
    sizes = [*range(4, 33, 4), *range(48, 257, 16), *range(288, 513, 32), *range(576, 1025, 64)]
    sizes += [*range(1280, 4097, 256), *range(4608, most + 1, 512)]
    del version  # the same since graphs of prefill are the default
    return sum(size <= most for size in sizes)


def _tier(tiers: tuple[tuple[int, int], ...], memory: float, above: int) -> int:
    return next((value for gib, value in tiers if memory < gib * 1024), above)


def _by_ranks(server: Server) -> Fraction:
    """Up to 0.4.7."""
    ranks = server.tp * server.pp
    share = _tier_of_ranks(ranks)
    if server.version < (0, 4, 6):
        return share
    if server.memory > 80 * 1024:
        share = Fraction(88, 100)
    if server.memory > 96 * 1024:
        memory = Fraction(server.memory)
        share = min(share + 48 * 1024 * (1 - share) / memory, (memory - 1024 * 18) / memory)
    return share


def _tier_of_ranks(ranks: int) -> Fraction:
    for least, share in ((16, 79), (8, 81), (4, 85), (2, 87)):
        if ranks >= least:
            return Fraction(share, 100)
    return Fraction(88, 100)


def _by_card(server: Server) -> float:
    """0.4.8 to 0.5.2."""
    ranks = server.tp * server.pp
    if server.memory < 35 * 1024:
        reserved = (2.8 + ranks / 10) * 1024
    elif server.memory < 160 * 1024:
        reserved = ((9.5 if server.memory < 90 * 1024 else 12) + ranks / 2) * 1024
    else:
        reserved = 32 * 1024
    return reserved + (4 * 1024 if server.dp_attention else 0)


def _by_settings(server: Server, chunk: int, graphs: int) -> float:
    """From 0.5.3 on."""
    reserved = 512 + max(chunk if chunk > 0 else MAX_PREFILL_TOKENS, 2048) * 1.5 + 2 * graphs
    reserved += server.tp * server.pp / 8 * 1024
    if server.dp_attention:
        reserved += graphs * server.dp_attention * (4.5 if graphs > MANY_SEQUENCES else 3)
    if server.prefill_graphs and server.version >= PREFILL_GRAPHS:
        reserved += 1.5 * 1024 if server.latent else 8 * prefill_graph_sizes(server.version, chunk)
    return max(reserved, 10 * 1024) if server.memory > 60 * 1024 else reserved
