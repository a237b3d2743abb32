"""Everything an estimate depends on, in one frozen value."""

from __future__ import annotations

from dataclasses import field, replace
from fractions import Fraction
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from kvcalc.engines import Engine, Exact
from kvcalc.engines.base import DEFAULT_UTILIZATION
from kvcalc.engines.cache_format import CacheFormat, parse_cache_format
from kvcalc.errors import MAX_NAME, KvcalcError, one_line
from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import ElementFormat
from kvcalc.formats.weights import find_asked_format
from kvcalc.mechanisms import find_state_format
from kvcalc.noun import Noun, noun
from kvcalc.scenario.mix import load_of
from kvcalc.scenario.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kvcalc.deployment import Deployment
    from kvcalc.engines.load import Load
    from kvcalc.engines.lora import Lora
    from kvcalc.gpu import Gpu
    from kvcalc.model.model import Model
    from kvcalc.note import Note
    from kvcalc.scenario.drafting import Drafting

T = TypeVar("T")


DEFAULT_DTYPE = "bf16"
"""Where a model's source does not say."""


@noun
class Replacements(Noun):
    """What a user states instead of letting it be computed, in bytes.

    Attributes:
        weights: of one replica.
        temporary: of one rank.
        overhead: of one rank.
        reserve: of one rank, by name: rows of their own.
    """

    weights: int | None = None
    temporary: int | None = None
    overhead: int | None = None
    reserve: tuple[tuple[str, int], ...] = ()


@noun
class BesideGpus(Noun):
    """What keeps caches beside the accelerators, and what sends them on, in bytes.

    Attributes:
        host_memory: of one replica.
        disk: of one replica.
        disk_bandwidth: that the disk reads in a second.
        handoff: that each rank of a prefill pool sends in a second.
        requests_per_second: that pools which read prompts and decode serve.
    """

    host_memory: int | None = None
    disk: int | None = None
    disk_bandwidth: int | None = None
    handoff: int | None = None
    requests_per_second: Fraction | None = None


@noun
class GpuLimit(Noun):
    """A request for the best legal deployment of a few GPUs.

    Attributes:
        gpus: at most so many.
        dp: replicas that they are divided over.
    """

    gpus: int
    dp: int = 1

    def __post_init__(self) -> None:
        if self.gpus < self.dp:
            raise KvcalcError(f"--gpus: {self.gpus} are fewer than the {self.dp} replicas of --dp")


@noun
class Scenario(Noun):
    """One question: this model, at this workload, on this accelerator.

    Attributes:
        deployment: the one asked for; None leaves the choice to kvcalc.
        gpu_limit: instead of a deployment, a request for the best of a few GPUs, which verbs resolve.
        cache_format_given: whether the cache's format was asked for, and is not the model's own.
        dtype_given: whether the format of computing was asked for, and is not the model's own.
        weight_format: replaces the checkpoint's own; None keeps it.
        utilization: share of the accelerator's memory that may be used, above 0 and up to 1.
        allow_pp: whether the smallest deployment may use pipeline stages although tensor parallelism is enough.
        shared_prefix: first tokens of the context that all sequences of a replica share: kept once.
        prefix_groups: how many such prefixes there are, each of which some sequences share.
        spill: whether cache that does not fit on an accelerator is kept in host memory.
        beside: what keeps caches beside the accelerators, and what sends them on.
        origin: where the model was read from, for messages.
        weights_as: the model whose projections the weights are, where `model` is what it would keep with another
            mechanism; None: its own.
        lora: the adapters that the engine has memory for; None without any.
        drafting: what drafts tokens; None where nothing does.
        notes: what was assumed while the scenario was put together, which are notes of its results too.
    """

    model: Model
    workload: Workload
    gpu: Gpu
    cache_format: CacheFormat
    deployment: Deployment | None = None
    gpu_limit: GpuLimit | None = None
    engine: Engine = field(default_factory=Exact)
    cache_format_given: bool = False
    dtype_given: bool = False
    weight_format: ElementFormat | None = None
    utilization: Fraction = DEFAULT_UTILIZATION
    replacements: Replacements = field(default_factory=Replacements)
    allow_pp: bool = False
    shared_prefix: int = 0
    prefix_groups: int = 1
    spill: bool = False
    beside: BesideGpus = field(default_factory=BesideGpus)
    origin: str = "this model"
    weights_as: Model | None = None
    drafting: Drafting | None = None
    lora: Lora | None = None
    notes: tuple[Note, ...] = ()

    def __repr__(self) -> str:
        """One line: for whom it is a question, all that it asks is in its fields."""
        workload, model = self.workload, one_line(self.model.name, MAX_NAME)
        on = f", {self.gpu.name}, {self.engine.name}"
        return f"<Scenario {model}, {workload.batch:,} x {workload.context:,} tokens{on}>"

    def load_on(self, deployment: Deployment) -> Load:
        """What the replica of a deployment that has most holds of the workload, every request with its last token."""
        workload = self.workload
        sequences = deployment.sequences(workload.batch)
        return load_of(sequences, workload.lengths, self.shared_prefix, self.prefix_groups, deployment.dp)

    @cached_property
    def worked_out(self) -> dict[object, Any]:
        """What `once` keeps."""
        return {}

    def with_workload(self, batch: int, context: int) -> Scenario:
        """The same with another workload."""
        return replace(self, workload=Workload(batch, context))

    @property
    def memory_bytes(self) -> int:
        """Memory of one accelerator.

        Raises:
            KvcalcError: no figure is known for it.
        """
        if self.gpu.memory_bytes is None:
            several = self.gpu.devices > 1
            together = f", of its {self.gpu.devices} devices together or of one," if several else ""
            raise KvcalcError(
                f"gpu: no measured memory is known for '{self.gpu.name}'; give what its runtime reports{together} with "
                "--gpu-memory SIZE"
            )
        return self.gpu.memory_bytes

    @cached_property
    def usable_bytes(self) -> int:
        """floor(memory x utilization) of one accelerator.

        Raises:
            KvcalcError: nothing is left.
        """
        usable = self.memory_bytes * self.utilization.numerator // self.utilization.denominator
        if not usable:
            memory = "--gpu-memory" if self.gpu.memory_from == "user" else f"the memory of {self.gpu.name}"
            raise KvcalcError(
                f"--utilization: {float(self.utilization)} of {memory}, {self.memory_bytes:,} bytes, leaves none"
            )
        return usable


def once(work: Callable[[Scenario], T]) -> Callable[[Scenario], T]:
    """Something that a scenario decides alone is worked out once for it."""

    @wraps(work)
    def remembered(scenario: Scenario) -> T:
        if work not in scenario.worked_out:
            scenario.worked_out[work] = work(scenario)
        found: T = scenario.worked_out[work]
        return found

    return remembered


def compute_format(model: Model) -> ElementFormat:
    """The model's dtype of computing, or bf16 where its source does not say."""
    return find_format(model.dtype or DEFAULT_DTYPE, "dtype")


def checkpoint_format(model: Model) -> ElementFormat:
    """The format of the checkpoint's weights."""
    return find_asked_format(model.weight_dtype, "weight_dtype") if model.weight_dtype else compute_format(model)


def cache_format(
    model: Model,
    asked: str | None,
    conv_dtype: str | None = None,
    state_dtype: str | None = None,
    names: Mapping[str, tuple[str, ...]] | None = None,
) -> CacheFormat:
    """The formats of the cache and of states: as asked, else the model's dtype, and what states have.

    Args:
        model: whose tensors are kept.
        asked: of the cache.
        conv_dtype: of the inputs of convolutions.
        state_dtype: of states.
        names: what an engine calls tensors.
    """
    computing = compute_format(model)
    return parse_cache_format(
        computing.name if asked is None else asked,
        computing,
        model.cached_tensors,
        conv=None if conv_dtype is None else find_state_format(conv_dtype, "--conv-dtype"),
        state=None if state_dtype is None else find_state_format(state_dtype, "--state-dtype"),
        names=names,
    )
