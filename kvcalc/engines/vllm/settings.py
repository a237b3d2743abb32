"""What a server of vLLM runs with: options as given, else the defaults of its version."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.engines.option_values import AUTO
from kvcalc.engines.vllm.defaults import (
    ENGINE_V0_GONE,
    ENGINE_V1,
    SEQUENCES_BY_USAGE,
    TOKENS_BOUNDED_BY_SEQUENCES,
    Batch,
    Version,
    default_batch,
    default_prefix_caching,
    runner_of,
    tokens_of_an_item,
)
from kvcalc.engines.vllm.options import BALANCED, DSPARK, NATIVE, POOLING, THROUGHPUT
from kvcalc.engines.vllm.traits import traits_of
from kvcalc.errors import KvcalcError
from kvcalc.note import note, register
from kvcalc.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.engines.base import Engine
    from kvcalc.engines.setup import Setup
    from kvcalc.gpu import Gpu
    from kvcalc.note import Note

register({"engine-defaults": "settings of the engine that are not given have its defaults"})

PERFORMANCE_MODES: Version = (0, 17)
IN_FLIGHT_BOUNDS: Version = (0, 26)
"""max_in_flight_tokens of SlidingWindowSpec (vllm/v1/kv_cache_interface.py): not in 0.25.1, and in 0.26.0."""
DRAFTS_OVERLAP: Version = (0, 33)
PLACES_LEFT_GONE: Version = (0, 28)
"""scheduled_token_delta of vllm/config/vllm.py is of all sequences in 0.27.1, of one in 0.28.0."""
BLOCKS_ON_STAGES: Version = (0, 30)
"""The draft's class supports no pipeline stages in 0.29.0, and does in 0.30.0."""
DRAFTS_BLOCKS: Version = (0, 26)
"""vllm/models/deepseek_v4/nvidia/dspark.py: not in 0.24.0, and in 0.26.0."""
PROMPTS_WHOLE: Version = (0, 19)
"""The first version read whose EngineArgs let a step be as long as the longest request without chunked prefill."""
MODULES_READ_AGAIN: Version = (0, 28)
"""extra_retained_tokens of SlidingWindowSpec: not in 0.27.1, there in 0.28."""


class Settings(NamedTuple):
    """What one server runs with.

    Attributes:
        max_model_len: tokens of the longest request.
        block_size: None: the attention backend's.
        usage: server, offline or async.
        kv_cache_memory_bytes: None: what is left of the share of the accelerator's memory.
        pp: pipeline stages.
        runner: the model runner: v0, v1 or v2.
        performance_mode: balanced, throughput or interactivity.
        use_flashinfer_sampler: None: by version and card.
        skip_mm_profiling: whether towers do not run while memory is profiled.
        compiled_before: whether what is compiled is loaded from an earlier start; None: not known.
        moe_backend: what computes experts; auto: by version, card and format.
        kv_offloading_backend: native or lmcache.
        speculative_method: what drafts without a model or layers; auto: those.
        retained_tokens: before each window, which several layers that draft read again.
        async_scheduling: as given; None: where the version can.
        gdn_prefill_backend: what computes prompts of gated delta nets; auto: by card.
        defaults: names of those that nobody gave, of which the default depends on more than the version.
    """

    version: Version
    max_model_len: int
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
    runner: str = "v1"
    performance_mode: str = BALANCED
    use_flashinfer_sampler: bool | None = None
    skip_mm_profiling: bool = False
    compiled_before: bool | None = None
    moe_backend: str = AUTO
    kv_offloading_backend: str = NATIVE
    pools: bool = False
    speculative_method: str = AUTO
    retained_tokens: int = 0
    async_scheduling: bool | None = None
    gdn_prefill_backend: str = AUTO
    defaults: tuple[str, ...] = ()

    @property
    def max_concurrent_batches(self) -> int:
        """Steps whose tokens may be scheduled and not yet settled (vllm/config/vllm.py, max_concurrent_batches)."""
        if self.version < IN_FLIGHT_BOUNDS:
            return 1
        if not self.overlaps_steps:
            return self.pp
        if self.runner == "v2":
            return self.pp + 1
        return 2 if self.pp == 1 else self.pp

    @property
    def overlaps_steps(self) -> bool:
        """Whether a step is scheduled while another runs (async_scheduling of vllm/config/vllm.py).

        Where nobody says, not if it pools, nor before 0.33 if tokens are drafted from the text itself.
        """
        if self.async_scheduling is not None:
            return self.async_scheduling
        overlaps = self.speculative_method in {AUTO, DSPARK} or self.version >= DRAFTS_OVERLAP
        return overlaps and not self.pools

    @property
    def max_in_flight_tokens(self) -> int:
        """Tokens of those steps: vLLM keeps a window's blocks until they are settled."""
        return self.max_concurrent_batches * self.max_num_batched_tokens

    @property
    def sampled_rows(self) -> int:
        """Sequences of the step that profiles memory (GPUModelRunner._dummy_run)."""
        return min(self.max_num_seqs, self.max_num_batched_tokens)

    def notes(self, gpu: Gpu) -> Iterator[Note]:
        """The defaults that were taken."""
        if self.defaults:
            taken = {name: getattr(self, name.replace("-", "_")) for name in self.defaults}
            words = ", ".join(f"{name} {str(value).lower()}" for name, value in taken.items())
            version = ".".join(map(str, self.version))
            given = gpu.memory_from == "user" and gpu.memory_bytes is not None
            card = (
                f"a GPU of {format_size(gpu.memory_bytes or 0, 'GiB')} GiB, else as {gpu.name}" if given else gpu.name
            )
            default, them = ("default", "it") if len(taken) == 1 else ("defaults", "them")
            yield note(
                "engine-defaults",
                f"vLLM {version}'s {default} for {self.usage} use on {card}: {words} (--engine-option sets {them})",
                version=version,
                usage=self.usage,
                gpu=gpu.name,
                **{name.replace("-", "_"): value for name, value in taken.items()},
            )


@lru_cache(maxsize=64)
def parse_version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def _asked_engine(engine: Engine, version: Version) -> str | None:
    """V0 or V1, where one of them is asked for; None where the version decides.

    Raises:
        KvcalcError: the version has the other engine alone.
    """
    asked = engine.option("use-v1")
    if asked is None or not ENGINE_V1 <= version < ENGINE_V0_GONE:
        if asked is not None and asked != (version >= ENGINE_V1):
            raise KvcalcError(
                f"--engine-option: use-v1 {str(asked).lower()}: vllm has both its engines from 0.8 to 0.10 alone "
                "(vllm/engine/arg_utils.py, EngineArgs.create_engine_config)"
            )
        return None
    return "v1" if asked else "v0"


def _since_0_17(engine: Engine, name: str, version: Version) -> str:
    value: str = engine.option(name)
    if value not in {AUTO, BALANCED} and version < PERFORMANCE_MODES:
        raise KvcalcError(
            f"--engine-option: {name} {value}: vllm has moe-backend and performance-mode since 0.17 (vllm/config); "
            "leave it out"
        )
    return value


def _takes_prompts_whole(engine: Engine, version: Version, runner: str) -> bool:
    """Whether a step must have room for the longest request.

    Raises:
        KvcalcError: of this version it is not followed.
    """
    chunked = engine.option("enable-chunked-prefill")
    if chunked is None or version >= PROMPTS_WHOLE or (chunked and runner != "v0"):
        return chunked is False
    if engine.option("max-num-batched-tokens") is not None:
        return False
    raise KvcalcError(
        f"--engine-option: enable-chunked-prefill {str(chunked).lower()}: kvcalc follows since vllm 0.19 what it makes "
        "of the tokens of a step (vllm/engine/arg_utils.py); give max-num-batched-tokens too"
    )


def _check_adapters(setup: Setup, tokens: int, sequences: int, drafted: int) -> None:
    """Where tokens are drafted and there are adapters, a step must have room for all sequences' tokens.

    Raises:
        KvcalcError: it has not.
    """
    if setup.lora is not None and drafted and tokens < sequences * (drafted + 1):
        most = tokens // (drafted + 1)
        raise KvcalcError(
            f"--lora: with {drafted} drafted tokens vllm refuses max-num-batched-tokens {tokens:,} for max-num-seqs "
            f"{sequences:,} (vllm/engine/arg_utils.py); --engine-option max-num-seqs={max(1, most)}"
        )


def _check_method(engine: Engine, setup: Setup, version: Version) -> None:
    """What drafts is said once, there are tokens to draft, and steps overlap only where they can.

    Raises:
        KvcalcError: it is not so.
    """
    method = engine.option("speculative-method")
    if method == AUTO:
        return
    if method == DSPARK and version < DRAFTS_BLOCKS:
        raise KvcalcError(
            "--engine-option: speculative-method dspark: followed since vllm 0.26 "
            "(vllm/models/deepseek_v4/nvidia/dspark.py); --engine vllm@0.26"
        )
    if method == DSPARK and setup.deployment.pp > 1 and version < BLOCKS_ON_STAGES:
        raise KvcalcError(
            "--pp: vllm drafts by dspark on several stages since 0.30 (vllm/config/model.py, SupportsPP); leave it out"
        )
    if setup.draft is not None and not (method == DSPARK and setup.draft.own_layers):
        raise KvcalcError(
            f"--engine-option: speculative-method {method}: --draft and --mtp say what drafts; leave it out"
        )
    if not engine.option("num-speculative-tokens"):
        raise KvcalcError(
            f"--engine-option: speculative-method {method} drafts no tokens; --engine-option num-speculative-tokens=N"
        )
    if engine.option("async-scheduling") and version < DRAFTS_OVERLAP and method != DSPARK:
        raise KvcalcError(
            f"--engine-option: async-scheduling true does not go with speculative-method {method} in vllm before 0.33 "
            "(vllm/config/vllm.py, VllmConfig.__post_init__); leave it out"
        )


def _check_room(method: str, version: Version, drafted: int, tokens: int, sequences: int) -> None:
    """Before 0.28 a step leaves places free for tokens that are drafted at once.

    Raises:
        KvcalcError: there is no room beside them.
    """
    if method == DSPARK and version < PLACES_LEFT_GONE and tokens <= sequences * (drafted - 1):
        raise KvcalcError(
            f"--engine-option: {drafted} drafted tokens leave no room in max-num-batched-tokens {tokens:,} with "
            f"max-num-seqs {sequences:,}, which vllm before 0.28 refuses (vllm/config/vllm.py, "
            f"_set_max_num_scheduled_tokens); --engine-option max-num-seqs={max(1, (tokens - 1) // (drafted - 1))}"
        )


def _check_modules(setup: Setup, drafted: int, method: str) -> None:
    """More tokens than there are layers that draft are drafted by all of them in turn, equally often.

    Raises:
        KvcalcError: they are no multiple.
    """
    draft = setup.draft
    if method == DSPARK:  # which drafts them all at once
        return
    if draft is None or not draft.own_layers or drafted <= (layers := draft.model.num_layers) or not drafted % layers:
        return
    raise KvcalcError(
        f"--mtp: {drafted} tokens are no multiple of the {layers} layers that draft, which vllm refuses "
        f"(vllm/config/speculative.py, num_speculative_tokens % n_predict); --mtp {drafted - drafted % layers}"
    )


def _retained(setup: Setup, drafted: int, method: str, version: Version) -> int:
    """Of k tokens that several layers of the model's own draft, k - 1.

    use_multi_module_mtp of vllm/config/speculative.py; get_global_kv_cache_groups of vllm/v1/core/kv_cache_planning.py.
    """
    draft = setup.draft
    if draft is None or not draft.own_layers or version < MODULES_READ_AGAIN or method == DSPARK:
        return 0
    return drafted - 1 if min(draft.model.num_layers, drafted) > 1 else 0


def settings_of(engine: Engine, setup: Setup) -> Settings:
    """What the engine's options and its version's defaults make of a setup."""
    version = parse_version(engine.version or engine.versions[-1])
    traits = traits_of(setup.model, setup.weight_format)
    usage = engine.option("usage")
    tokens, sequences = engine.option("max-num-batched-tokens"), engine.option("max-num-seqs")
    by_default = runner_of(version, setup.gpu, setup.deployment.pp, setup.model.model_type, traits)
    runner = _asked_engine(engine, version) or by_default
    mode = _since_0_17(engine, "performance-mode", version)
    batch = default_batch(version, setup.gpu, runner, usage, setup.max_model_len, traits)
    if mode == THROUGHPUT:
        batch = Batch(2 * batch.tokens, 2 * batch.sequences)
    most_sequences = batch.sequences if sequences is None else sequences
    most_tokens = batch.tokens if tokens is None else tokens
    whole = _takes_prompts_whole(engine, version, runner)
    if tokens is None:
        most_tokens = max(most_tokens, tokens_of_an_item(version, setup.model), whole * setup.max_model_len)
    if runner != "v0":
        if tokens is None and version >= TOKENS_BOUNDED_BY_SEQUENCES:
            most_tokens = min(most_tokens, most_sequences * max(1, setup.max_model_len))
        if sequences is None and version >= SEQUENCES_BY_USAGE:
            most_sequences = min(most_sequences, most_tokens)
    if whole and most_tokens < setup.max_model_len:
        raise KvcalcError(
            f"--engine-option: max-num-batched-tokens {most_tokens:,} is less than the {setup.max_model_len:,} of "
            "--context, which vllm refuses with enable-chunked-prefill false (vllm/config/scheduler.py, "
            f"verify_max_model_len); --engine-option max-num-batched-tokens={setup.max_model_len}"
        )
    if most_tokens < most_sequences:
        raise KvcalcError(
            f"--engine-option: max-num-batched-tokens {most_tokens:,} is less than max-num-seqs {most_sequences:,}, "
            "which vllm refuses (vllm/config/scheduler.py)"
        )
    _check_adapters(setup, most_tokens, most_sequences, engine.option("num-speculative-tokens"))
    _check_method(engine, setup, version)
    method = engine.option("speculative-method")
    _check_modules(setup, engine.option("num-speculative-tokens"), method)
    _check_room(method, version, engine.option("num-speculative-tokens"), most_tokens, most_sequences)
    prefix = engine.option("enable-prefix-caching")
    given: dict[str, Any] = {"max-num-batched-tokens": tokens, "max-num-seqs": sequences}
    return Settings(
        version=version,
        max_model_len=setup.max_model_len,
        max_num_batched_tokens=most_tokens,
        max_num_seqs=most_sequences,
        block_size=engine.option("block-size"),
        enable_prefix_caching=default_prefix_caching(version, runner, traits) if prefix is None else prefix,
        disable_hybrid_kv_cache_manager=bool(engine.option("disable-hybrid-kv-cache-manager")),
        enforce_eager=engine.option("enforce-eager"),
        usage=usage,
        kv_cache_memory_bytes=engine.option("kv-cache-memory-bytes"),
        num_speculative_tokens=engine.option("num-speculative-tokens"),
        pp=setup.deployment.pp,
        runner=runner,
        performance_mode=mode,
        use_flashinfer_sampler=engine.option("use-flashinfer-sampler"),
        skip_mm_profiling=engine.option("skip-mm-profiling"),
        compiled_before=engine.option("compiled-before"),
        moe_backend=_since_0_17(engine, "moe-backend", version),
        kv_offloading_backend=engine.option("kv-offloading-backend"),
        pools=engine.option("runner") == POOLING,
        speculative_method=engine.option("speculative-method"),
        retained_tokens=_retained(setup, engine.option("num-speculative-tokens"), method, version),
        async_scheduling=engine.option("async-scheduling"),
        gdn_prefill_backend=engine.option("gdn-prefill-backend"),
        defaults=tuple(name for name, value in given.items() if value is None),
    )
