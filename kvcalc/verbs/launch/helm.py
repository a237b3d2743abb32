"""Values of vLLM's production-stack chart: one model, its image, its GPUs, its options."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from kvcalc.engines.vllm.settings import settings_of
from kvcalc.errors import KvcalcError
from kvcalc.memory import Ranks
from kvcalc.verbs.launch.compose import IMAGE, image_of, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verbs.launch.line import Line, Served

CHART = (
    "https://github.com/vllm-project/production-stack, helm/values.yaml and helm/templates/deployment-vllm-multi.yaml"
)
MAX_NAME = 30
SWITCH, SPLIT = "--enable-prefix-caching", "--tensor-parallel-size"
"""Options that the chart sets itself: it mounts shared memory where the second is among its own values."""


def helm_values(served: Served, line: Line) -> str:
    """Of `helm install vllm vllm/vllm-stack -f values.yaml`.

    Raises:
        KvcalcError: one pod cannot run it, or would not find the model.
    """
    image_of(served)
    if not served.model.is_repository:
        raise KvcalcError("--emit: a pod does not see the folder of a checkpoint; name its repository as MODEL")
    name = re.sub(r"[^a-z0-9]+", "-", served.scenario.model.name.lower())[:MAX_NAME].strip("-")
    words = [word for word in line.words if word not in {SWITCH, f"--no-{SWITCH[2:]}"}]
    if SPLIT in words:
        del words[words.index(SPLIT) : words.index(SPLIT) + 2]
    environment = [f"        - {{name: {key}, value: {json.dumps(value)}}}" for key, value in line.environment.items()]
    return "\n".join(
        (
            f"# {CHART}",
            "servingEngineSpec:",
            "  modelSpec:",
            f"    - name: {name}",
            f"      repository: {IMAGE}",
            f"      tag: {tag_of(served)}",
            f"      modelURL: {json.dumps(served.model.text)}",
            "      replicaCount: 1",
            "      requestCPU: 6",
            '      requestMemory: "16Gi"',
            f"      requestGPU: {served.deployment.gpus}",
            *_resource(served),
            *(["      env:", *environment] if environment else []),
            "      vllmConfig:",
            f"        enablePrefixCaching: {json.dumps(_caches_prefixes(served))}",
            *([f"        tensorParallelSize: {served.deployment.tp}"] if served.deployment.gpus > 1 else []),
            "        extraArgs:",
            *(f"          - {json.dumps(word)}" for word in words),
        )
    )


def _resource(served: Served) -> Iterator[str]:
    """The name that a slice has in a cluster: without it a pod takes a whole card."""
    gpu = served.scenario.gpu
    if gpu.slice_of is not None:
        yield f'      requestGPUType: "nvidia.com/mig-{gpu.name.rpartition(":")[2]}"'


def _caches_prefixes(served: Served) -> bool:
    """As the server would: the chart turns it on or off, whatever its default is."""
    settled = Ranks(served.scenario).settled(served.deployment)
    return settings_of(served.scenario.engine, settled.setup).enable_prefix_caching
