"""What a server of vLLM runs with: options as given, else the defaults of its version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from kvcalc.engines.base import Engine, Setup

Version = tuple[int, ...]

ASYNC_SCHEDULING_BOUNDS_IN_FLIGHT: Version = (0, 24)
RUNNER_V2: Version = (0, 31)


class Settings(NamedTuple):
    """What one server runs with.

    Attributes:
        block_size: None: the attention backend's.
        usage: server, offline or async.
        kv_cache_memory_bytes: None: what is left of the share of the accelerator's memory.
        pp: pipeline stages.
    """

    version: Version
    max_model_len: int | None
    max_num_batched_tokens: int
    max_num_seqs: int
    block_size: int | None
    enable_prefix_caching: bool
    disable_hybrid_kv_cache_manager: bool
    enforce_eager: bool
    usage: str
    kv_cache_memory_bytes: int | None
    num_speculative_tokens: int
    pp: int = 1

    @property
    def max_concurrent_batches(self) -> int:
        """Steps whose tokens may be scheduled and not yet settled (vllm/config/vllm.py, max_concurrent_batches)."""
        if self.version < ASYNC_SCHEDULING_BOUNDS_IN_FLIGHT:
            return 1
        if self.version >= RUNNER_V2:
            return self.pp + 1
        return 2 if self.pp == 1 else self.pp

    @property
    def max_in_flight_tokens(self) -> int:
        """Tokens of those steps: vLLM keeps a window's blocks until they are settled."""
        return self.max_concurrent_batches * self.max_num_batched_tokens


def parse_version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def settings_of(engine: Engine, setup: Setup) -> Settings:
    """What the engine's options and its version's defaults make of a setup."""

    def given(name: str, default: Any) -> Any:
        value = engine.option(name)
        return default if value is None else value

    return Settings(
        version=parse_version(engine.version or engine.versions[-1]),
        max_model_len=None,
        max_num_batched_tokens=given("max-num-batched-tokens", 8192),
        max_num_seqs=given("max-num-seqs", 1024),
        block_size=engine.option("block-size"),
        enable_prefix_caching=given("enable-prefix-caching", True),
        disable_hybrid_kv_cache_manager=given("disable-hybrid-kv-cache-manager", False),
        enforce_eager=engine.option("enforce-eager"),
        usage=engine.option("usage"),
        kv_cache_memory_bytes=engine.option("kv-cache-memory-bytes"),
        num_speculative_tokens=engine.option("num-speculative-tokens"),
        pp=setup.deployment.pp,
    )
