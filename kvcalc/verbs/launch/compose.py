"""A compose file of one service: the image of the version, the GPUs, the Hub's cache, the port."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.verbs.launch.line import one_node

if TYPE_CHECKING:
    from kvcalc.verbs.launch.line import Line, Served

IMAGE = "vllm/vllm-openai"
"""docs/deployment/docker.md of vLLM: an image a release, tagged v and its number."""
PORT = 8000


def compose_file(served: Served, line: Line) -> str:
    """Of `docker compose up`.

    Raises:
        KvcalcError: one container cannot run it.
    """
    image_of(served)
    words = [served.model.text, *line.words]
    volumes = ["~/.cache/huggingface:/root/.cache/huggingface"]
    if not served.model.is_repository:
        volumes = [f"{Path(served.model.text).absolute()}:/model:ro"]
        words[0] = "/model"
    environment = {"HF_TOKEN": "${HF_TOKEN:-}", **line.environment}
    return "\n".join(
        (
            "services:",
            "  vllm:",
            f"    image: {image_of(served)}",
            '    entrypoint: ["vllm", "serve"]',
            "    command:",
            *(f"      - {quoted(word)}" for word in words),
            "    environment:",
            *(f"      {name}: {json.dumps(value)}" for name, value in environment.items()),
            "    ports:",
            f'      - "{PORT}:{PORT}"',
            "    ipc: host  # ranks exchange tensors through shared memory",
            "    volumes:",
            *(f"      - {quoted(each)}" for each in volumes),
            "    deploy:",
            "      resources:",
            "        reservations:",
            "          devices:",
            "            - driver: nvidia",
            f"              {_devices(served)}",
            "              capabilities: [gpu]",
        )
    )


def image_of(served: Served) -> str:
    """The image with the tag of the release.

    Raises:
        KvcalcError: the card is not NVIDIA's, or there are several nodes.
    """
    one_node(served, "a container")
    vendor = served.scenario.gpu.vendor
    if vendor not in {None, "NVIDIA"}:
        raise KvcalcError(f"--emit: kvcalc emits files for cards of NVIDIA, not {vendor}; --emit vllm prints the line")
    return f"{IMAGE}:{tag_of(served)}"


def tag_of(served: Served) -> str:
    """V and the number of a release."""
    number = served.version.removeprefix("v")
    return f"v{number}" if number.count(".") > 1 else f"v{number}.0"


def _devices(served: Served) -> str:
    """So many cards, or the slice of one that the user names: a number would stand for whole cards."""
    gpu = served.scenario.gpu
    if gpu.slice_of is None:
        return f"count: {served.deployment.gpus}"
    name = gpu.name.rpartition(":")[2]
    return f'device_ids: ["${{MIG_UUID:?of a {name} instance, as nvidia-smi -L lists it}}"]'


def quoted(word: str) -> str:
    """A word as YAML; a dollar would be replaced by compose."""
    return json.dumps(word.replace("$", "$$"))
