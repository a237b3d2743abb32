"""What a server of SGLang runs with: options as given, else the defaults of its version."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kvcalc.engines.sglang.compressed import BY_REQUESTS, PAGE, RATIO, REQUESTS, compresses
from kvcalc.engines.sglang.defaults import (
    GRAPHS_BY_REQUESTS,
    Server,
    Version,
    chunked_prefill_size,
    cuda_graph_max_bs,
    mem_fraction_static,
    parse_version,
)
from kvcalc.engines.sglang.drafting import REQUESTS as DRAFTED_REQUESTS
from kvcalc.engines.sglang.hisparse import HiSparse, check_hisparse
from kvcalc.engines.sglang.model_types import tower_share
from kvcalc.engines.sglang.served import (
    check_page,
    default_page,
    has_prefill_graphs,
    has_window_pool,
    is_latent,
    refuse_unknown_share,
)
from kvcalc.errors import KvcalcError
from kvcalc.note import note, register
from kvcalc.units import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.engines.base import Engine
    from kvcalc.engines.setup import Setup
    from kvcalc.gpu import Gpu
    from kvcalc.note import Note

register({"engine-defaults": "settings of the engine that are not given have its defaults"})

FALLBACK_MEMORY = 45 * 1024
"""Where the card's memory is not known, SGLang takes chunked_prefill_size 4096 and a share of its own."""
_USUAL_RATIO = Fraction(4, 5)
"""The default, which before 0.5.21 counts as not given."""
GRAPHS_NOT_RESERVED: Version = (0, 5, 15)
"""No memory is reserved for graphs that are not captured (reserve_for_graph_mb)."""


class Settings(NamedTuple):
    """What one server runs with.

    Attributes:
        mem_fraction_static: of the memory that is free before the weights are loaded.
        page_size: tokens.
        chunked_prefill_size: -1 where prompts are not cut.
        max_running_requests: of one replica; None: up to 4096, where nothing drafts.
        window_pool: whether layers with windows have a pool of their own.
        mamba_radix_cache_strategy: None: by version and class.
        chunks_in_flight: of prompts that are computed while others are scheduled: one with pipeline stages.
        swa_ratio_given: whether swa_full_tokens_ratio was given.
        hisparse: how latents lie in host memory; None where they do not.
        defaults: names of those that nobody gave, of which the default depends on more than the version.
    """

    version: Version
    mem_fraction_static: Fraction
    page_size: int
    chunked_prefill_size: int
    cuda_graph_max_bs: int
    max_running_requests: int | None
    max_total_tokens: int | None
    max_mamba_cache_size: int | None
    swa_full_tokens_ratio: Fraction
    mamba_full_memory_ratio: Fraction
    disable_radix_cache: bool
    window_pool: bool
    disable_overlap_schedule: bool = False
    mamba_radix_cache_strategy: str | None = None
    chunks_in_flight: int = 2
    swa_ratio_given: bool = False
    hisparse: HiSparse | None = None
    defaults: tuple[str, ...] = ()

    def notes(self, gpu: Gpu) -> Iterator[Note]:
        """The defaults that were taken."""
        if not self.defaults:
            return
        taken = {name: getattr(self, name.replace("-", "_")) for name in self.defaults}
        shown = {name: float(value) if isinstance(value, Fraction) else value for name, value in taken.items()}
        words = ", ".join(f"{name} {round(value, 4)}" for name, value in shown.items())
        version = ".".join(map(str, self.version[:3]))
        given = gpu.memory_from == "user" and gpu.memory_bytes is not None
        card = f"a GPU of {format_size(gpu.memory_bytes or 0, 'GiB')} GiB, else as {gpu.name}" if given else gpu.name
        default, them = ("default", "it") if len(taken) == 1 else ("defaults", "them")
        yield note(
            "engine-defaults",
            f"SGLang {version}'s {default} on {card}: {words} (--engine-option sets {them})",
            version=version,
            gpu=gpu.name,
            **{name.replace("-", "_"): value for name, value in shown.items()},
        )


def ranks_of_sglang(setup: Setup) -> int:
    """--tp as SGLang counts it: with dp-attention the replicas are among its tensor-parallel ranks."""
    deployment = setup.deployment
    return deployment.tp * (deployment.dp if deployment.dp_attention else 1)


def settings_of(engine: Engine, setup: Setup) -> Settings:
    """What the engine's options and its version's defaults make of a setup.

    Raises:
        KvcalcError: a default of this version does not follow from what is known.
    """
    version = parse_version(engine.version or engine.versions[-1])
    given = _given(engine)
    memory = smi_memory(setup.gpu)
    dp = setup.deployment.dp if setup.deployment.dp_attention else 1
    chunk = given["chunked-prefill-size"]
    chunk = chunked_prefill_size(version, memory) if chunk is None else chunk
    graphs = given["cuda-graph-max-bs"]
    requests = given["max-running-requests"]
    if graphs is None:
        graphs = cuda_graph_max_bs(version, memory, ranks_of_sglang(setup))
        if requests is not None and version >= GRAPHS_BY_REQUESTS:
            graphs = min(graphs, requests)
    share = given["mem-fraction-static"]
    if share is None:
        share = _default_share(version, setup, given, chunk, graphs)
    page = given["page-size"] or default_page(setup, version)
    if not compresses(setup.model):
        check_page(setup, version, page)
    ratio, ratio_given = (
        given["swa-full-tokens-ratio"],
        any(name == "swa-full-tokens-ratio" for name, _ in engine.given),
    )
    if setup.draft is not None and requests is None:
        requests = DRAFTED_REQUESTS  # once the share of memory is chosen
    if compresses(setup.model):
        requests = REQUESTS if requests is None else requests
        ratio_given = ratio_given and (ratio != _USUAL_RATIO or version >= BY_REQUESTS)
        ratio = ratio if ratio_given else RATIO
        if page != PAGE:
            raise KvcalcError(
                f"--block-size: sglang's pages are of {PAGE} tokens with compressed attention; leave --block-size and "
                "--engine-option page-size out"
            )
    return Settings(
        version=version,
        mem_fraction_static=share,
        page_size=page,
        chunked_prefill_size=max(1, chunk // dp) if chunk > 0 else chunk,
        cuda_graph_max_bs=graphs,
        max_running_requests=None if requests is None else max(1, requests // dp),
        max_total_tokens=given["max-total-tokens"],
        max_mamba_cache_size=given["max-mamba-cache-size"],
        swa_full_tokens_ratio=ratio,
        mamba_full_memory_ratio=given["mamba-full-memory-ratio"],
        disable_radix_cache=given["disable-radix-cache"],
        window_pool=has_window_pool(setup, version, given["disable-hybrid-swa-memory"]),
        disable_overlap_schedule=given["disable-overlap-schedule"],
        mamba_radix_cache_strategy=given["mamba-radix-cache-strategy"],
        chunks_in_flight=1 if setup.deployment.pp > 1 or given["disable-overlap-schedule"] else 2,
        swa_ratio_given=ratio_given,
        hisparse=_hisparse(given, setup, version, page),
        defaults=tuple(
            name for name in ("mem-fraction-static", "chunked-prefill-size", "cuda-graph-max-bs") if given[name] is None
        ),
    )


def _hisparse(given: Mapping[str, Any], setup: Setup, version: Version, page: int) -> HiSparse | None:
    if not given["enable-hisparse"]:
        if given["hisparse-config"] is not None:
            raise KvcalcError("--engine-option: hisparse-config is of no effect without enable-hisparse=true")
        return None
    asked: HiSparse = given["hisparse-config"] or HiSparse()
    check_hisparse(asked, setup, version, page, radix_cache=not given["disable-radix-cache"])
    return asked


@lru_cache(maxsize=64)
def _given(engine: Engine) -> Mapping[str, Any]:
    """Its options, read once: searches ask for them on thousands of deployments."""
    return {name: engine.option(name) for name in engine.options}


def smi_memory(gpu: Gpu) -> float:
    """A card's memory in MiB as nvidia-smi tells it, which the defaults look at."""
    size = gpu.nvidia_smi_bytes or gpu.memory_bytes
    return float(FALLBACK_MEMORY if size is None else size // MIB)


def _default_share(version: Version, setup: Setup, given: Mapping[str, Any], chunk: int, graphs: int) -> Fraction:
    refuse_unknown_share(setup)
    server = Server(
        version=version,
        memory=smi_memory(setup.gpu),
        tp=ranks_of_sglang(setup),
        pp=setup.deployment.pp,
        dp_attention=setup.deployment.dp if setup.deployment.dp_attention else 0,
        latent=is_latent(setup.model),
        prefill_graphs=not (given["disable-cuda-graph"] or given["disable-prefill-cuda-graph"])
        and has_prefill_graphs(setup, version),
    )
    captured = 0 if given["disable-cuda-graph"] and version >= GRAPHS_NOT_RESERVED else graphs
    share = mem_fraction_static(server, chunk, captured) * tower_share(setup.model, version)
    if share <= 0:
        raise KvcalcError(
            f"--engine sglang: on a card of {format_size(setup.gpu.memory_bytes or 0, 'GiB')} GiB its default of "
            f"mem-fraction-static is {float(share):.3f}; give --engine-option mem-fraction-static=X"
        )
    return share
