"""HiSparse in SGLang: latents of an indexer's model in host memory, and of each request a hot set on the device.

    tokens of the device pool  = memory / (bytes of the latents + host_to_device_ratio x bytes of the index keys)
    tokens that requests hold  = host_to_device_ratio x that, each with index keys on the device and latents on the host
    on the device of a request = its tokens; from device_buffer_size on, that and a page for new tokens

A prompt that is read lies on the device whole until it is copied, so the longest has room beside the hot sets of the
others. Then it lets go of all but its own.

sglang/srt/managers/hisparse_coordinator.py, sglang/srt/mem_cache/allocator/hisparse.py and hisparse_memory_pool.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import MLA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvcalc.engines.load import Alike
    from kvcalc.engines.setup import Setup
    from kvcalc.engines.sglang.defaults import Version

SINCE: Version = (0, 5, 23)
"""The first that was read."""
HOPPER = 9
"""Major compute capability. On later cards the format of latents in fp8 follows the backend that HiSparse takes."""
TOP_K, RATIO = 2048, 2
CONFIG = "sglang/srt/mem_cache/sparsity/factory.py, _parse_sparse_config"
HOOK = "sglang/srt/arg_groups/hisparse_hook.py, validate_hisparse"
COORDINATOR = "sglang/srt/managers/hisparse_coordinator.py"
MOST = 10**6
_OF_KERNELS = "swap_in_block_size"


class HiSparse(NamedTuple):
    """What --hisparse-config says.

    Attributes:
        device_buffer_size: tokens whose latents a request keeps on the device.
        host_to_device_ratio: tokens that requests hold for each token of the device pool.
    """

    device_buffer_size: int = 2 * TOP_K
    host_to_device_ratio: int = RATIO

    def hot(self, context: int, page: int) -> int:
        """Tokens of a request of so many that decodes (alloc_device_buffer, _grow_device_buffers)."""
        whole = -(-context // page) * page
        return whole if whole < self.device_buffer_size else self.device_buffer_size + page

    def on_device(self, alike: Iterable[Alike], page: int) -> int:
        """Tokens that requests take of the device pool, with the longest of them as it is read."""
        hot = more = 0
        for sequences, context in alike:
            each = self.hot(context, page)
            hot += sequences * each
            more = max(more, -(-context // page) * page - each) if sequences else more
        return hot + more

    def tokens(self, alike: Iterable[Alike], page: int) -> int:
        """Tokens of the device pool that they need: for their latents on it, and for all their index keys."""
        together = tuple(alike)
        held = sum(sequences * (-(-context // page) * page) for sequences, context in together)
        most = max(self.on_device(together, page), -(-held // self.host_to_device_ratio))
        return -(-most // page) * page

    def concurrency(self, tokens: int, context: int, page: int) -> float:
        """Requests of so many tokens that a device pool of so many holds, the last of them as it is read."""
        whole, hot = -(-context // page) * page, self.hot(context, page)
        on_device = 1 + (tokens - whole) / min(hot, whole) if tokens >= whole else tokens / whole
        return min(on_device, tokens * self.host_to_device_ratio / whole)


def hisparse_config(text: str, what: str) -> HiSparse:
    """The JSON of --hisparse-config.

    Raises:
        KvcalcError: it is none, or has keys that kvcalc does not follow.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise KvcalcError(f"{what}: '{text[:40]}' is no JSON object; as in '{{\"device_buffer_size\": 4096}}'")
    top_k = _count(found, "top_k", TOP_K, what)
    buffer = _count(found, "device_buffer_size", 2 * top_k, what)
    ratio = _count(found, "host_to_device_ratio", RATIO, what)
    found.pop(_OF_KERNELS, None)
    if found:
        raise KvcalcError(
            f"{what}: '{min(found)[:40]}' is none of top_k, device_buffer_size, host_to_device_ratio, {_OF_KERNELS}"
        )
    if buffer < top_k:
        raise KvcalcError(f"{what}: device_buffer_size {buffer:,} is less than top_k {top_k:,} ({CONFIG})")
    return HiSparse(buffer, ratio)


def config_text(asked: HiSparse) -> str:
    """The JSON that says so."""
    top_k = min(TOP_K, asked.device_buffer_size)
    return json.dumps({"top_k": top_k, **asked._asdict()})


def _count(found: dict[str, object], name: str, default: int, what: str) -> int:
    value = found.pop(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise KvcalcError(f"{what}: {name} must be a whole number from 1 to {MOST:,}")
    return value


def check_hisparse(asked: HiSparse, setup: Setup, version: Version, page: int, *, radix_cache: bool) -> None:
    """Refuses what SGLang does not serve with HiSparse, or what kvcalc does not follow of it.

    Raises:
        KvcalcError: the model, its deployment or another option.
    """
    option, kinds = "--engine-option: enable-hisparse", [layer.attention for layer in setup.model.layout.kinds]
    chosen = {each.index_topk for each in kinds if isinstance(each, MLA)}
    if version < SINCE:
        raise KvcalcError(f"{option}: kvcalc follows it in sglang from 0.5.23 on")
    if not all(isinstance(each, MLA) for each in kinds) or None in chosen:
        raise KvcalcError(
            f"{option}: kvcalc follows it for latents with an indexer, as DeepSeek-V3.2 and GLM-5 have, which "
            f"{setup.model.name} has not; leave it out"
        )
    if any(getattr(each, "index_kpool", None) for each in kinds):
        raise KvcalcError(f"{option}: kvcalc does not follow it with pooled index keys; leave it out")
    if radix_cache:
        raise KvcalcError(f"{option}: sglang asks for --engine-option disable-radix-cache=true with it ({HOOK})")
    if (setup.gpu.compute_capability or (0,))[0] != HOPPER:
        raise KvcalcError(
            f"{option}: kvcalc follows it on cards of compute capability 9.0, not on {setup.gpu.name}; --gpu h200"
        )
    if setup.deployment.pp > 1:
        raise KvcalcError(f"{option}: kvcalc does not follow it over pipeline stages; --pp 1")
    if setup.draft is not None:
        raise KvcalcError(f"{option}: kvcalc does not follow what drafts tokens beside it; leave the draft out")
    buffer = asked.device_buffer_size
    if buffer % page:
        raise KvcalcError(
            f"--engine-option: hisparse-config: device_buffer_size {buffer:,} is no multiple of the {page} tokens of a "
            "page (sglang/srt/mem_cache/allocator/hisparse.py, configure_spec_scratch)"
        )
    if buffer < (most := max(each or 0 for each in chosen)):
        raise KvcalcError(
            f"--engine-option: hisparse-config: device_buffer_size {buffer:,} is less than the {most:,} positions that "
            f"the model's indexer chooses ({COORDINATOR}); give {most:,} or more"
        )
