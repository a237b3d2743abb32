"""With which options a process's CUDA allocator runs, by its environment: those that are modelled, or why not.

Sources: https://github.com/pytorch/pytorch, c10/core/AllocatorConfig.h and .cpp (the tokenizer of the variables).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvcalc.cuda_allocator import DEFAULT, Rules

if TYPE_CHECKING:
    from collections.abc import Mapping

CONF = "PYTORCH_CUDA_ALLOC_CONF"
ALIASES = ("PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
NO_CACHING = "PYTORCH_NO_CUDA_MEMORY_CACHING"


class NotModelled(NamedTuple):
    """A configuration that these rules do not predict.

    Attributes:
        reason: which setting it is, and what to do about it.
    """

    reason: str


def rules_from(environment: Mapping[str, str], backend: str = "native", is_rocm: bool = False) -> Rules | NotModelled:
    """The rules of a process that starts with these environment variables.

    Args:
        environment: such as `os.environ`.
        backend: `torch.cuda.get_allocator_backend()`.
        is_rocm: whether `torch.version.hip` is set.

    Returns:
        The rules, or why there are none. PYTORCH_CUDA_ALLOC_CONF is read by every release, PYTORCH_ALLOC_CONF by newer
        ones (2.9.1 ignored expandable_segments there, https://github.com/pytorch/pytorch/issues/183387); where both are
        set, AllocatorConfig.h and AllocatorConfig.cpp state opposite orders. So every variable that is set must ask for
        what PYTORCH_CUDA_ALLOC_CONF asks for, or has by default.
    """
    if is_rocm:
        return NotModelled("this PyTorch is built for ROCm, whose allocator is not modelled; use a CUDA build")
    if backend != "native":
        return NotModelled(
            f"the allocator backend is {backend}, which is not modelled; leave it at native, the default"
        )
    if NO_CACHING in environment:  # even where it is empty or 0
        return NotModelled(f"{NO_CACHING} is set, so nothing is cached; unset it")

    rules = _settings(CONF, environment.get(CONF, ""))
    for alias in ALIASES:
        if isinstance(rules, NotModelled):
            return rules
        if alias in environment:
            other = _settings(alias, environment[alias])
            if isinstance(other, Rules) and other != rules:
                return NotModelled(
                    f"{alias} and {CONF} ask for different things, and which of them counts depends on the release of "
                    f"PyTorch; set {CONF} to the same, or unset {alias}"
                )
            rules = other
    return rules


def _settings(variable: str, text: str) -> Rules | NotModelled:
    """Read 'key:value,key:value' as PyTorch does: without any white space, and the last value of a key counts."""
    rules = DEFAULT
    compact = "".join(text.split())
    for setting in compact.removesuffix(",").split(",") if compact else ():
        match setting:
            case "expandable_segments:True":
                rules = Rules(expandable_segments=True)
            case "expandable_segments:False":
                rules = Rules(expandable_segments=False)
            case "backend:native":
                pass  # the default, by name
            case _:
                return NotModelled(
                    f"{variable} sets {setting.partition(':')[0]!r}, and only expandable_segments:True, "
                    f"expandable_segments:False and backend:native are modelled, in this spelling; unset {variable}"
                )
    return rules
