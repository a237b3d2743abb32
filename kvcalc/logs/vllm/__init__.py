"""vLLM's start-up log, 0.6 to 0.33."""

from __future__ import annotations

import re

from kvcalc.logs.dialect import Dialect
from kvcalc.logs.vllm.figures import FIGURES
from kvcalc.logs.vllm.lines import LINES
from kvcalc.logs.vllm.settings import FLAGS, SETTINGS, SUFFIXES
from kvcalc.logs.vllm.v0_lines import V0_LINES

VLLM = Dialect(
    engine="vllm",
    figures=FIGURES,
    lines=(*LINES, *V0_LINES),
    settings=SETTINGS,
    nested=frozenset({"num_speculative_tokens", "num_spec_tokens"}),
    flags=FLAGS,
    process=re.compile(r"\((?P<name>(?:Vllm|Ray)?(?:Worker|EngineCore|APIServer)\w{0,60}(?: rank=\d{1,6})?) pid=\d"),
    typical=("Available KV cache memory: 21.3 GiB", "GPU KV cache size: 174,560 tokens"),
    first_rank_alone=(0, 13),
    suffixes=SUFFIXES,
)
"""Lines begin with their process: V0's and V1's workers (VllmWorker rank=0), Worker_TP0 and EngineCore_DP0 later.

info_once of vllm/logger.py, with the scope "local": not in 0.11, there in 0.13.
"""
