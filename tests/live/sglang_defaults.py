"""What SGLang's own code sets where nobody says: the function that sets it, taken from a wheel and run on its own.

Nothing of the wheel is imported: its file is read, and the few functions are run with stand-ins for the
server's arguments.
"""

from __future__ import annotations

import ast
import copy
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import Path as ZipPath

FILES = ("srt/server_args.py", "srt/arg_groups/memory_hook.py", "srt/arg_groups/cuda_graph_hook.py")
SETS = ("_handle_gpu_memory_settings", "handle_gpu_memory_settings")
HELPERS = (
    "_generate_cuda_graph_batch_sizes",
    "_generate_piecewise_cuda_graph_tokens",
    "_generate_prefill_cuda_graph_batch_sizes",
    "_generate_decode_cuda_graph_batch_sizes",
    "generate_prefill_cuda_graph_batch_sizes",
    "generate_decode_cuda_graph_batch_sizes",
    "reserve_for_graph_mb",
    "reserve_for_deepep_a2a_mb",
)

CARDS = (15_360, 24_564, 32_607, 46_068, 49_140, 81_559, 97_887, 143_771, 183_359, 275_040)
"""MiB, as nvidia-smi tells it."""


def cases() -> Iterator[dict[str, Any]]:
    """Cards by ranks, dp-attention and kind of cache."""
    for card in CARDS:
        for tp, dp in ((1, 0), (2, 0), (4, 0), (8, 0), (8, 8), (16, 4)):
            for latent in (False, True):
                for prefill_graphs in (True, False):
                    yield {
                        "card": card,
                        "tp": tp,
                        "dp_attention": dp,
                        "latent": latent,
                        "prefill_graphs": prefill_graphs,
                    }


def functions(package: Path | ZipPath) -> dict[str, str]:
    """Name -> source of those of a wheel, unzipped or not, that are run here."""
    found: dict[str, str] = {}
    for file in (package.joinpath(name) for name in FILES):
        if file.exists():
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.name in (*SETS, *HELPERS):
                    found[node.name] = _alone(node)
    return found


def _alone(node: ast.FunctionDef) -> str:
    """Without decorators, types and the imports in it, for which there are stand-ins."""
    node.decorator_list, node.returns = [], None
    for argument in node.args.args:
        argument.annotation = None
    return ast.unparse(_WithoutImports().visit(node))


class _WithoutImports(ast.NodeTransformer):
    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node)


def run(source: dict[str, str], case: dict[str, Any]) -> dict[str, Any]:
    """What the server would be run with."""
    graphs = SimpleNamespace(
        decode=SimpleNamespace(max_bs=None, bs=None, backend="full"),
        prefill=SimpleNamespace(max_bs=None, bs=None, backend="on" if case["prefill_graphs"] else "off"),
    )
    args = SimpleNamespace(
        cuda_graph_config=graphs,
        device="cuda",
        model_path="model",
        tp_size=case["tp"],
        pp_size=1,
        dp_size=max(case["dp_attention"], 1),
        attn_dp_size=max(case["dp_attention"], 1),
        enable_dp_attention=bool(case["dp_attention"]),
        enable_piecewise_cuda_graph=False,
        disable_piecewise_cuda_graph=not case["prefill_graphs"],
        disaggregation_mode="null",
        max_prefill_tokens=16384,
        disable_cuda_graph_padding=False,
        enable_symm_mem=False,
        language_only=False,
        moe_a2a_backend="none",
        _cuda_graph_config_locked=(),
        **dict.fromkeys(UNSAID),
    )
    sets_tokens = any("piecewise_cuda_graph_max_tokens is None" in text for text in source.values())
    if not sets_tokens:
        args.piecewise_cuda_graph_max_tokens = 4096  # those versions' ServerArgs
    setattr(args, "_resolved", lambda: args)  # noqa: B010 - the name is SGLang's
    args.use_mla_backend = lambda: case["latent"]
    args.post_capture_kv_sizing_planned = lambda: False
    args.get_model_config = lambda: SimpleNamespace(is_multimodal=False)
    space = _stand_ins(args, case)
    for text in source.values():
        exec(text, space)  # noqa: S102 - the function of the wheel that the test is about
    for name in HELPERS:
        if name in space:
            setattr(args, name, _bound(space[name], args))
    sets = next(space[name] for name in SETS if name in space)
    sets(args, case["card"]) if sets.__code__.co_argcount > 1 else sets(args)
    largest = getattr(args, "cuda_graph_max_bs", None) or args.cuda_graph_config.decode.max_bs
    return {
        "chunked_prefill_size": args.chunked_prefill_size,
        "cuda_graph_max_bs": largest,
        "mem_fraction_static": args.mem_fraction_static,
    }


UNSAID = (
    "chunked_prefill_size",
    "context_length",
    "cuda_graph_bs",
    "cuda_graph_max_bs",
    "max_running_requests",
    "max_total_tokens",
    "mem_fraction_static",
    "piecewise_cuda_graph_max_tokens",
    "piecewise_cuda_graph_tokens",
    "speculative_algorithm",
    "speculative_num_draft_tokens",
)


def _bound(function: Callable[..., Any], args: SimpleNamespace) -> Callable[..., Any]:
    takes_self = function.__code__.co_varnames[:1] in (("self",), ("cls",))
    return (lambda *more: function(args, *more)) if takes_self else function


def _stand_ins(args: SimpleNamespace, case: dict[str, Any]) -> dict[str, Any]:
    """What the functions name and do not define."""

    def declare(into: SimpleNamespace, by: str, **values: Any) -> None:
        del by
        into.__dict__.update(values)

    return {
        "copy": copy,
        "logger": logging.getLogger(__name__),
        "Backend": SimpleNamespace(DISABLED="off", BREAKABLE="breakable", FULL="full"),
        "resolving_view": lambda each: each,
        "resolved_view": lambda each: each,
        "declare_resolution": declare,
        "get_device_memory_capacity": lambda device: case["card"],
        "is_npu": lambda: False,
        "get_platform": lambda: SimpleNamespace(is_xpu=False),
        "use_mla_backend": lambda each: case["latent"],
        "post_capture_kv_sizing_planned": lambda each: False,
        "model_config_of": lambda each: SimpleNamespace(is_multimodal=False),
        "expand_multimodal_decode_graph_to_running_limit": lambda *each: None,
        "ModelConfig": SimpleNamespace(from_server_args=lambda each: SimpleNamespace(is_multimodal=False)),
        "attn_dp_enabled_of": lambda each: args.enable_dp_attention,
    }
