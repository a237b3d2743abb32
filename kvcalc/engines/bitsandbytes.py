"""Checkpoints of bitsandbytes under vLLM and SGLang, whose loaders divide none of its weights over ranks.

Weights that are quantised as they are loaded (--weight-dtype nf4) they do divide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.formats.weights import is_of_bitsandbytes

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup


def refuse_shares_of_nf4(setup: Setup, engine: str, source: str) -> None:
    """Refuses tensor-parallel ranks of a checkpoint that bitsandbytes has quantised.

    Raises:
        KvcalcError: of such a deployment.
    """
    tp = setup.deployment.tp
    stored = setup.weight_format is None and any(is_of_bitsandbytes(part.format) for part in setup.model.weights)
    if stored and tp > 1:
        raise KvcalcError(
            f"--tp: {engine} divides no weights that a checkpoint of bitsandbytes has quantised over {tp} ranks "
            f"({source}, pre_quant); --pp N divides layers, and --weight-dtype nf4 is of a model that is quantised as "
            "it is loaded"
        )
