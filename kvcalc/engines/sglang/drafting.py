"""What SGLang keeps of a draft: a pool of its own of as many tokens as the model's, priced before both are made.

    bytes of a token = those of the model's layers + layers of the draft x those of one of the model's full layers

sglang/srt/model_executor/pool_configurator.py, from 0.5.14 on; before, the model's pool took all that the budget gave.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.engines.content_counter import ContentCounter
from kvcalc.engines.sglang.model_types import WINDOW_POOLS
from kvcalc.engines.sglang.served import has_states
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import Role
from kvcalc.note import note, register
from kvcalc.term import Factor, Product
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.defaults import Version
    from kvcalc.note import Note

register({"draft-pool-beside": "a draft's pool is not as large as what the engine takes off for it"})

PRICED: Version = (0, 5, 14)
WITH_WINDOWS: Version = (0, 5, 15)
"""The pool of windows has the draft's layers in its price since then (HybridSWAPoolConfigurator)."""
BY_THE_FILE: Version = (0, 5, 20)
"""Layers of the model's own are priced by num_nextn_predict_layers of its file since then, whatever the class."""
REQUESTS = 48
"""max_running_requests of a server that drafts, where nobody says (sglang/srt/arg_groups/speculative_hook.py)."""
HOOK = "sglang/srt/arg_groups/speculative_hook.py, _handle_eagle_family"
COPIES = (
    "sglang/srt/speculative/eagle_worker_v2.py, alloc_memory_pool: init_lm_head comes after the model's pool is sized "
    "(https://github.com/sgl-project/sglang/issues/36452)"
)
NEVER: Version = (10**6,)
OWN_LAYERS_PRICED: Mapping[str, Version] = MappingProxyType(
    dict.fromkeys(
        ("deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "hy_v3"), PRICED
    )
    | dict.fromkeys(("kimi_k25", "mimo", "nemotron_h"), BY_THE_FILE)
    | dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_moe"), NEVER)
)
"""Classes whose own layers are priced, and since when. The first are read again as a draft's model, as if its path were
given; of the others the file counts, where it has num_nextn_predict_layers. Qwen's files say mtp_num_hidden_layers."""


class DraftPool(NamedTuple):
    """A draft's pool on a rank, in bytes of a token.

    Attributes:
        priced: that the model's pool has less for it.
        row: that it takes.
    """

    priced: int = 0
    row: int = 0


def refuse_draft(setup: Setup, version: Version) -> None:
    """Refuses what is not followed.

    Raises:
        KvcalcError: the version, the model or the draft.
    """
    draft = setup.draft
    if draft is None:
        return
    option = "--mtp" if draft.own_layers else "--draft"
    if version < PRICED:
        raise KvcalcError(f"{option}: kvcalc follows how sglang sizes a draft's pool from 0.5.14 on")
    if setup.deployment.pp > 1:
        raise KvcalcError(f"{option}: kvcalc does not follow drafts of sglang over pipeline stages; --pp 1")
    if draft.own_layers and (setup.model.model_type or "") not in OWN_LAYERS_PRICED:
        raise KvcalcError(
            f"--mtp: whether sglang takes memory off for {setup.model.name}'s own layers depends on its class, which "
            "kvcalc has not read; --engine exact counts what they keep"
        )
    _refuse_windows(setup, draft, option, version)
    if has_states(draft.model):
        raise KvcalcError(f"{option}: kvcalc does not follow drafts of sglang that keep states; --engine exact does")
    if has_states(setup.model) and draft.drafted is None:
        raise KvcalcError(
            f"{option}: sglang keeps states of every token that is drafted, and how many are is not said; give "
            "--draft-tokens N, which is its --speculative-num-steps"
        )


def _refuse_windows(setup: Setup, draft: Setup, option: str, version: Version) -> None:
    pools = WINDOW_POOLS.get(setup.model.model_type or "", NEVER) <= version
    of_draft = any(layer.span is not None for layer in draft.model.layout.kinds)
    full = any(layer.span is None and layer.attention.elements_per_token for layer in setup.model.layout.kinds)
    of_draft = of_draft or draft.own_layers  # whose kind the class decides
    if (pools and (of_draft or not full)) or draft.model.model_type in WINDOW_POOLS:
        raise KvcalcError(
            f"{option}: kvcalc does not follow how sglang sizes pools of windows of what drafts; --engine exact counts "
            "what is kept"
        )
    if pools and version < WITH_WINDOWS:
        raise KvcalcError(f"{option}: kvcalc follows a draft beside sglang's pool of windows from 0.5.15 on")


def pool_of_draft(setup: Setup, version: Version, kept_in: CacheFormat, full_row: int) -> DraftPool:
    """What a token takes and costs in the draft's pool.

    Args:
        setup: with a draft or without one.
        version: of SGLang.
        kept_in: the formats of the cache.
        full_row: bytes of a token in one of the model's layers that keep every token, an indexer's keys too.
    """
    draft = setup.draft
    if draft is None:
        return DraftPool()
    rows = ContentCounter(kept_in).rows(draft.model.layout.kinds, draft.deployment.tp)
    row = sum(each.row_bytes for each in rows if each.tensor.role in {Role.CACHE, Role.INDEX})
    priced = not draft.own_layers or version >= OWN_LAYERS_PRICED.get(setup.model.model_type or "", NEVER)
    return DraftPool(full_row * draft.model.num_layers if priced else 0, row)


def draft_notes(setup: Setup, pool: DraftPool) -> Iterator[Note]:
    """Of a draft whose pool takes other than what was taken off for it."""
    if setup.draft is None or pool.priced == pool.row:
        return
    more = pool.row > pool.priced
    told = f"{format_size(abs(pool.row - pool.priced), 'KiB')} KiB a token"
    where = "more, which lie in what mem-fraction-static leaves free" if more else "less, which stay free"
    yield note(
        "draft-pool-beside",
        f"sglang takes {format_size(pool.priced, 'KiB')} KiB a token off for the pool of {setup.draft.model.name}, "
        f"which takes {told} {where}",
        priced_bytes=pool.priced,
        row_bytes=pool.row,
        source=HOOK,
    )


def copies_of_tables(setup: Setup) -> Iterator[Product]:
    """The embedding and the output head that layers of the model's own make and give back once the pool is sized."""
    model, draft = setup.model, setup.draft
    if draft is None or not draft.own_layers or model.vocab_size is None or model.hidden_size is None:
        return
    share = -(-model.vocab_size * model.hidden_size // setup.deployment.tp)
    element = find_format(model.dtype or "bf16", "dtype")
    factors = (
        Factor("tables", 2, "table"),
        Factor("share", share, "element"),
        Factor("bytes", element.block_bytes, "byte"),
    )
    yield Product("draft, embedding and output head while pools are sized", factors, COPIES)
