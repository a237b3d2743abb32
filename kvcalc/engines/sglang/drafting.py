"""What SGLang keeps of a draft: a pool of its own of as many tokens as the model's, priced before both are made.

    bytes of a token = those of the model's layers x (1 + layers of the draft / layers of the model)

sglang/srt/model_executor/pool_configurator.py, from 0.5.14 on; before, the model's pool took all that the budget gave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.content_counter import ContentCounter
from kvcalc.engines.sglang.served import has_states
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.mechanisms import Role
from kvcalc.term import Factor, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.cache_format import CacheFormat
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.defaults import Version

PRICED: Version = (0, 5, 14)
COPIES = (
    "sglang/srt/speculative/eagle_worker_v2.py, alloc_memory_pool: init_lm_head comes after the model's pool is sized "
    "(https://github.com/sgl-project/sglang/issues/36452)"
)


def refuse_draft(setup: Setup, version: Version, share: object) -> None:
    """Refuses what is not followed.

    Args:
        setup: with a draft or without one.
        version: of SGLang.
        share: mem-fraction-static as it is given.

    Raises:
        KvcalcError: the version, the model or the draft.
    """
    draft = setup.draft
    if draft is None:
        return
    option = "--mtp" if draft.own_layers else "--draft"
    if version < PRICED:
        raise KvcalcError(f"{option}: kvcalc follows how sglang sizes a draft's pool from 0.5.14 on")
    if share is None:
        raise KvcalcError(
            f"{option}: what sglang reserves beside a draft's graphs is not known to kvcalc; give "
            "--engine-option mem-fraction-static=X, as the server prints it"
        )
    kinds = [*setup.model.layout.kinds, *draft.model.layout.kinds]
    if has_states(setup.model) or has_states(draft.model) or any(layer.span is not None for layer in kinds):
        raise KvcalcError(
            f"{option}: kvcalc does not follow how sglang sizes pools of states or windows beside a draft; --engine "
            "exact counts what is kept"
        )
    if len({row for each in (setup, draft) for row in _rows(each)}) > 1:
        raise KvcalcError(
            f"{option}: sglang prices a draft's layers as the model's (pool_configurator.py), and those of "
            f"{draft.model.name} keep other rows; kvcalc does not follow what is left over"
        )


def _rows(setup: Setup) -> Iterator[int]:
    """Bytes of a token in a layer of each kind."""
    counter, tp = ContentCounter(setup.cache_format), setup.deployment.tp
    for layer in setup.model.layout.kinds:
        if layer.attention.elements_per_token:
            yield sum(each.row_bytes for each in counter.rows({layer: 1}, tp))


def row_of_draft(setup: Setup, kept_in: CacheFormat) -> int:
    """Bytes of a token in all layers of a draft, on a rank; 0 without one."""
    draft = setup.draft
    if draft is None:
        return 0
    rows = ContentCounter(kept_in).rows(draft.model.layout.kinds, draft.deployment.tp)
    return sum(each.row_bytes for each in rows if each.tensor.role in {Role.CACHE, Role.INDEX})


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
