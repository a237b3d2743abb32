"""Which builds of llama.cpp keep the keys of an indexer beside latents, as kvcalc counts them.

Read off the symbols of the libraries that xllamacpp has of b8929, b9538, b10068, b10229, b10566 and b11549: the first
has no llama_kv_cache_dsa, and up to b10068 nothing reads attention.indexer.types, so that GLM-5 kept latents alone
(https://github.com/ggml-org/llama.cpp/pull/25407). Until its constructor has a second filter, as in b10566, layers that
share an indexer have its keys too (https://github.com/ggml-org/llama.cpp/pull/26474). b9538 keeps them for
DeepSeek-V3.2, but has no ggml_lightning_indexer, without which scores of every head lie in the compute buffer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from kvcalc.engines.setup import Setup

DEEPSEEK = frozenset({"deepseek_v32", "deepseek32"})
"""config.json's and GGUF's names for DeepSeek-V3.2, whose every layer has an indexer."""
OF_DEEPSEEK, OF_EVERY_LAYER, OF_SOME_LAYERS = 10068, 10229, 10566


def check_indexed(setup: Setup, build: str) -> None:
    """Refuses builds that keep no such keys, or those of layers without an indexer of their own too.

    Raises:
        KvcalcError: an older build.
    """
    latents = [each.attention for each in setup.model.layout.kinds if isinstance(each.attention, MLA)]
    if not any(each.index_head_dim for each in latents):
        return
    shared = any(each.index_topk and not each.index_head_dim for each in latents)
    first = OF_DEEPSEEK if setup.model.model_type in DEEPSEEK else OF_SOME_LAYERS if shared else OF_EVERY_LAYER
    if int(build.removeprefix("b")) < first:
        raise KvcalcError(
            f"--engine: kvcalc follows how llama.cpp keeps an indexer's keys of {setup.model.name} from b{first} on; "
            f"--engine llama-cpp@b{first}"
        )
