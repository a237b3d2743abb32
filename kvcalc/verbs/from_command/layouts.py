"""Options of a line of vLLM that decide how caches are laid out and are not counted: refused where they matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines import ENGINES, version_number
from kvcalc.engines.option_values import AUTO
from kvcalc.engines.sglang.served import is_sparse
from kvcalc.errors import KvcalcError
from kvcalc.logs.command_lines import OFF
from kvcalc.logs.launchers import OPTION
from kvcalc.mechanisms import KDA, MLA, Compressed
from kvcalc.verbs.log_check.vllm_settings import FOLLOWED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from kvcalc.logs.command import Command
    from kvcalc.model.model import Model

_CHOOSE_BACKEND = (
    *("--attention-backend", "--attention_backend", "--attention-config", "--attention_config", "-ac"),
    "VLLM_ATTENTION_BACKEND",
)
_CHOOSE_KDA = ("--kda-", "--kda_")
_LAYOUT = "VLLM_KV_CACHE_LAYOUT"
_TRANSFER = ("--kv-transfer-config", "--kv_transfer_config")
_GROUPS_OFFLOADED = (0, 22)
_SPARSE = tuple(
    f"--{name}{dash}{phase}{dash}backend" for name in ("dsa", "nsa") for dash in "-_" for phase in ("prefill", "decode")
)
_MANAGER = "disable-hybrid-kv-cache-manager"
_BLOCK = "block-size"


def check_layouts(command: Command, model: Model, given: Mapping[str, Any]) -> None:
    """Refuses what lays this model's cache out in a way that is not followed.

    Args:
        command: what the server is told.
        model: that it serves.
        given: options beside the line.

    Raises:
        KvcalcError: such an option, with what to give instead.
    """
    if command.engine == "sglang":
        _check_sparse_rows(command, model, given)
    if command.engine != "vllm":
        return
    _check_values(command)
    _check_experts(command, model)
    own = {*command.settings, *(given.get("engine_option") or {})}
    _check_backend(command, model, blocks_given=f"--{_BLOCK}" in own or _BLOCK in own or bool(given.get("block_size")))
    told = str(given.get("engine") or "").partition("@")[2] or command.version
    version = version_number(told or ENGINES["vllm"].versions[-1]) or ()
    _check_connector(command, model, version, manager_given=_MANAGER in own)
    _check_kernels(command, model)


def _check_sparse_rows(command: Command, model: Model, given: Mapping[str, Any]) -> None:
    """Backends of sparse latents keep them in fp8 in rows of 576 or 656 bytes.

    sglang/srt/mem_cache/kv_cache_configurator.py, calculate_mla_kv_cache_dim.
    """
    chosen = next((each for each in command.noted if each.startswith(_SPARSE)), None)
    kept = str(given.get("cache_dtype") or command.settings.get("--cache-dtype", ""))
    if chosen is not None and is_sparse(model) and kept not in {"bf16", "bfloat16"}:
        raise KvcalcError(
            f"{OPTION}: {chosen} decides how wide sglang's rows of sparse latents in fp8 are, and kvcalc follows the "
            "backend that it takes where nobody says; leave it out of the line, or give --kv-cache-dtype bf16 where "
            "the server keeps that"
        )


def _check_values(command: Command) -> None:
    """Values that a log may have beside those that are followed, and that are left out there."""
    for name, (followed, source) in FOLLOWED.items():
        value = command.settings.get(name, AUTO)
        if value not in {AUTO, *followed}:
            raise KvcalcError(
                f"{OPTION}: --{name} {value[:40]}: kvcalc follows {' and '.join(followed)} ({source}); leave it out of "
                "the line"
            )


def _check_experts(command: Command, model: Model) -> None:
    if command.settings.get("--ep", "").lower() == "true" and not model.is_mixture_of_experts:
        raise KvcalcError(
            f"{OPTION}: --enable-expert-parallel: {model.name} has no experts, which vllm refuses "
            "(vllm/config/model.py, _verify_with_expert_parallelism); leave it out of the line"
        )


def _check_backend(command: Command, model: Model, *, blocks_given: bool) -> None:
    """Another backend keeps compressed entries otherwise, and latents and states in blocks of another length.

    vllm/models/deepseek_v4/nvidia/model.py and deepseek_v41/nvidia/model.py, _select_dsv4_attn_cls;
    vllm/platforms/interface.py, update_block_size_for_backend.
    """
    chosen = next((each for each in command.noted if each.startswith(_CHOOSE_BACKEND)), None)
    if chosen is None:
        return
    kinds = [layer.attention for layer in model.layout.kinds]
    if any(isinstance(each, Compressed) for each in kinds):
        raise KvcalcError(
            f"{OPTION}: {chosen} decides how vllm keeps compressed attention, and kvcalc follows the one that it "
            "takes where nobody says; leave it out of the line"
        )
    states = any(tensor.rows is not None for each in kinds for tensor in each.cached())
    if not blocks_given and (states or any(isinstance(each, MLA) for each in kinds)):
        kept = "states" if states else "latents"
        raise KvcalcError(
            f"{OPTION}: {chosen} decides how many tokens vllm's blocks of {kept} have, and kvcalc follows the one that "
            "it takes where nobody says; give --block-size N as the server prints it, or leave it out of the line"
        )


def _check_kernels(command: Command, model: Model) -> None:
    """Kernels that export states take a block more; a layout of the pool decides how unlike layers share a block.

    vllm/models/kimi_k3/nvidia/kda.py, num_prefill_checkpoint_blocks; vllm/v1/attention/backends/utils.py,
    resolve_kv_cache_layout.
    """
    chosen = next((each for each in command.noted if each.startswith(_CHOOSE_KDA)), None)
    if chosen is not None and any(isinstance(layer.attention, KDA) for layer in model.layout.kinds):
        raise KvcalcError(
            f"{OPTION}: {chosen} decides how many blocks vllm's states take, and kvcalc follows the one that it takes "
            "where nobody says; leave it out of the line"
        )
    if _LAYOUT in command.noted and len(model.layout.kinds) > 1:
        raise KvcalcError(
            f"{OPTION}: {_LAYOUT} decides how vllm lays unlike layers into blocks, and kvcalc follows the one that it "
            "takes where nobody says; leave it out of the line"
        )


def _check_offloading(command: Command, version: tuple[int, ...]) -> None:
    """--kv-offloading-size makes a connector: of vLLM's own, or LMCache's, which supports no groups up to 0.33."""
    if command.settings.get("offloading size", "0").lower() in OFF:
        return
    if version >= _GROUPS_OFFLOADED and command.settings.get("offloading backend", "native") != "lmcache":
        return
    raise KvcalcError(
        f"{OPTION}: --kv-offloading-size makes vllm keep every token of layers with windows, before 0.22 and with "
        f"LMCache (SupportsHMA of vllm/distributed/kv_transfer); give --engine-option {_MANAGER}=true, as vllm takes it"
    )


def _check_connector(command: Command, model: Model, version: tuple[int, ...], *, manager_given: bool) -> None:
    """A connector decides whether layers with windows drop tokens: without SupportsHMA they keep every one.

    vllm/config/vllm.py, need_disable_hybrid_kv_cache_manager: with any connector up to 0.21, by its class from 0.22.
    """
    chosen = next((each for each in command.noted if each.startswith(_TRANSFER)), None)
    if manager_given or all(layer.span is None for layer in model.layout.kinds):
        return
    if chosen is None:
        _check_offloading(command, version)
        return
    raise KvcalcError(
        f"{OPTION}: {chosen} decides whether vllm's layers with windows keep every token (SupportsHMA of "
        f"vllm/distributed/kv_transfer); give --engine-option {_MANAGER}=false for a connector that supports groups, "
        "as NixlConnector does from 0.29, or =true"
    )
