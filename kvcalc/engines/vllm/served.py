"""What vLLM does not serve: deployments, mechanisms, models. Each is refused with the place that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.engines.quant_methods import VLLM, refuse_checkpoint, refuse_split_blocks
from kvcalc.engines.vllm.loaded.lora import refuse_adapters_of_experts
from kvcalc.engines.vllm.token_sharing import refuse_shared_tokens
from kvcalc.errors import KvcalcError
from kvcalc.legality import legal_tps
from kvcalc.mechanisms import MLA, RWKV, Cross, Lightning, Mamba2
from kvcalc.model.span import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvcalc.engines.setup import Setup
    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model

CARDS = ("NVIDIA", "AMD")
EXPERT_PARALLEL: Version = (0, 8)
"""enable_expert_parallel and data_parallel_size of vllm/config.py: not in 0.7.3, there in 0.8.0."""
LATENTS: Version = (0, 7, 1)
SPARSE_CARDS = (9, 10)
SPARSE_WORKSTATION, SPARSE_ON_WORKSTATIONS = 12, (0, 29)
"""flashinfer_mla_sparse_sm120.py: not in 0.19, there in 0.29."""
LIGHTNING_GONE: Version = (0, 24)
UNUSED_WINDOW_LEFT: Version = (0, 27)
"""EngineArgs.create_engine_config takes the file's sliding window for all layers unless layer_types has several kinds
(is_interleaved) in 0.26; in 0.27.1 only where all slide."""
NO_LAYER_TYPES = (
    "llama phi phi-msft stablelm olmo olmo2 olmoe gemma internlm2 internlm3 granite granitemoe cohere seed_oss "
    "nemotron helium arcee apertus exaone glm glm4 glm4_moe ernie4_5 ernie4_5_moe deepseek baichuan"
)
"""Classes whose files list no layers: an Attention without a window of its own takes the file's in every version
(vllm/model_executor/layers/attention/attention.py)."""
ONE_WINDOW = "qwen2 qwen2_vl qwen2_vl_text qwen2_5_vl qwen2_5_vl_text qwen2_5_omni_text qwen2_moe qwen3 mimo"
"""Classes that give no layer a window of its own: Qwen2Model, which Qwen3's, MiMo's and those with towers rest on,
refuses one for some layers; Qwen2-MoE's would keep every token."""


VOCABULARY_PADDING = 64
"""vllm/model_executor/layers/vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE, in all versions."""
BLOCKS_REFINED: Version = (0, 30)
"""refine_fp8_moe_block_shape of vllm/model_executor/layers/fused_moe/oracle/fp8.py: not in 0.29, there in 0.30.
Before it every version read (0.19 to 0.29) refuses shares of experts that end within a block."""
NOT_IN_FP16 = {
    # model_type -> the first version read that refuses it in fp16
    "gemma2": (0, 9, 2),
    "gemma3": (0, 9, 2),
    "gemma3_text": (0, 12),
    "glm4": (0, 9, 2),
}
"""vllm/config/model.py, _FLOAT16_NOT_SUPPORTED_MODELS: not in 0.8.5."""


def refuse_unserved(setup: Setup, version: Version, *, hybrid_manager: bool = True) -> None:
    """Refuses what this version does not serve.

    Args:
        setup: the model, its deployment, the card.
        version: of vLLM.
        hybrid_manager: whether layers with windows or chunks may drop tokens.

    Raises:
        KvcalcError: the model or its deployment.
    """
    vendor = setup.gpu.vendor
    if vendor is not None and vendor not in CARDS:
        raise KvcalcError(f"--gpu: {setup.gpu.name}: kvcalc follows vllm on cards of {' and '.join(CARDS)} only")
    kinds = [layer.attention for layer in setup.model.layout.kinds]
    if any(isinstance(each, MLA) for each in kinds) and version < LATENTS:
        raise KvcalcError(
            "--engine: vllm before 0.7.1 expands latents to padded heads (vllm/model_executor/models/deepseek_v2.py); "
            "kvcalc does not follow that"
        )
    _refuse_states(kinds, version)
    _check_windows(setup.model, version)
    if any(isinstance(each, MLA) and each.index_head_dim for each in kinds):
        _check_sparse(setup, version)
    crossing = any(isinstance(each, Cross) for each in kinds)
    if crossing and any(len(each) == 1 and isinstance(each[0].attention, Cross) for each in setup.model.layout.layers):
        raise KvcalcError(
            "--engine: vllm serves Llama-3.2-Vision and its like up to 0.10.2 and with its engine V0 "
            "(vllm/model_executor/models/registry.py, _PREVIOUSLY_SUPPORTED_MODELS); kvcalc does not follow that"
        )
    tp = setup.deployment.tp
    _check_shares(setup, tp)
    refuse_checkpoint(setup, version, VLLM)
    _check_dtype(setup, version)
    for each in kinds:
        if isinstance(each, Mamba2) and each.num_groups != 1 and each.num_groups % tp:
            raise KvcalcError(
                f"--tp: {tp} does not divide the {each.num_groups} groups of Mamba-2, which vllm copies only where "
                "there is one (vllm/model_executor/layers/mamba/mamba_mixer2.py)"
            )
    if setup.model.is_mixture_of_experts:
        _check_experts(setup, version)
        if setup.lora is not None:
            refuse_adapters_of_experts(setup.lora, setup.model, setup.deployment)
    if setup.deployment.dcp > 1:
        refuse_shared_tokens(setup, version, hybrid_manager=hybrid_manager)


def _check_shares(setup: Setup, tp: int) -> None:
    """Words, padded to whole 64s, and the columns of a dense layer are divided evenly.

    vllm/distributed/utils.py, divide, which asserts it, as the layers of vllm/model_executor/layers call it.
    """
    model = setup.model
    words = -(-(model.vocab_size or 0) // VOCABULARY_PADDING) * VOCABULARY_PADDING
    columns = 0 if model.is_mixture_of_experts else model.intermediate_size or 0
    if not (words % tp or columns % tp):
        return
    what = f"{words:,} words of the padded vocabulary" if words % tp else f"{columns:,} columns of a layer"
    source = "vocab_parallel_embedding.py" if words % tp else "linear.py"
    most = max(each for each in legal_tps(model, tp) if not (words % each or columns % each))
    raise KvcalcError(
        f"--tp: {tp} does not divide the {what}, which vllm refuses (vllm/model_executor/layers/{source}, divide); "
        f"--tp {most}"
    )


def _check_dtype(setup: Setup, version: Version) -> None:
    since = NOT_IN_FP16.get(setup.model.model_type or "")
    if since is not None and version >= since and setup.cache_format.computing.name == "fp16":
        raise KvcalcError(
            f"--dtype: vllm refuses {setup.model.model_type} in fp16 for its instability (vllm/config/model.py, "
            "_FLOAT16_NOT_SUPPORTED_MODELS); --dtype bf16"
        )


def _check_windows(model: Model, version: Version) -> None:
    """Refuses windows that vLLM gives to other layers than the model has them on."""
    if model.unused_window is not None and (model.model_type or "") in NO_LAYER_TYPES.split():
        raise KvcalcError(
            f"--engine: vllm gives all layers of {model.name} the sliding window of {model.unused_window:,} tokens "
            "that its config.json switches off by use_sliding_window, which the class does not read "
            "(vllm/engine/arg_utils.py); sliding_window: null in the file"
        )
    if model.unused_window is not None and version < UNUSED_WINDOW_LEFT:
        raise KvcalcError(
            f"--engine: vllm before 0.27 gives all layers of {model.name} the sliding window of "
            f"{model.unused_window:,} tokens that its config.json has for none of them (vllm/engine/arg_utils.py, "
            "is_interleaved); "
            "--engine vllm@0.27.1, or sliding_window: null in the file"
        )
    windowed = {isinstance(layer.span, Window) for layer in model.layout.kinds}
    if (model.model_type or "") in ONE_WINDOW.split() and len(windowed) > 1:
        raise KvcalcError(
            f"--engine: vllm's class of {model.name} has a sliding window on all layers or on none "
            "(vllm/model_executor/models/qwen2.py); leave --engine out"
        )


def _check_sparse(setup: Setup, version: Version) -> None:
    """Latents with an indexer have backends on few cards: supports_compute_capability of theirs."""
    capability = setup.gpu.compute_capability
    if setup.gpu.vendor == "AMD":
        raise KvcalcError(
            f"--gpu: kvcalc does not follow vllm's blocks of latents with an indexer on {setup.gpu.name}, which other "
            "kernels keep on AMD's cards (vllm/v1/attention/backends/mla/rocm_aiter_mla_sparse.py); --gpu h200 or b200"
        )
    if capability is None or (major := capability[0]) in SPARSE_CARDS:
        return
    if major == SPARSE_WORKSTATION and version >= SPARSE_ON_WORKSTATIONS:
        return
    since = f" before {'.'.join(map(str, SPARSE_ON_WORKSTATIONS))}" if major == SPARSE_WORKSTATION else ""
    raise KvcalcError(
        f"--gpu: vllm{since} has no backend for latents with an indexer on {setup.gpu.name}, of compute capability "
        f"{capability[0]}.{capability[1]} (vllm/v1/attention/backends/mla/flashmla_sparse.py and "
        "flashinfer_mla_sparse.py, supports_compute_capability); --gpu h200 or b200"
    )


def _check_experts(setup: Setup, version: Version) -> None:
    """vllm/model_executor/layers/fused_moe/config.py, FusedMoEParallelConfig.make and FusedMoEConfig.__post_init__.

    Of 0.8 and later the same, in fused_moe/layer.py at first; 0.7.3 has tensor parallelism alone.
    """
    if version < EXPERT_PARALLEL and (setup.deployment.ep > 1 or setup.deployment.dp_attention):
        option = "--ep" if setup.deployment.ep > 1 else "--dp-attention"
        raise KvcalcError(f"{option}: vllm before 0.8 shares experts over tp alone (vllm/config.py, ParallelConfig)")
    deployment, width = setup.deployment, setup.model.moe_intermediate_size
    ranks = deployment.tp * (deployment.dp if deployment.dp_attention else 1)
    where = "tp x dp" if deployment.dp_attention else "tp"
    source = "vllm/model_executor/layers/fused_moe/config.py"
    if deployment.ep not in {1, ranks}:
        raise KvcalcError(
            f"--ep: vllm gives whole experts to all {ranks} ranks of {where} or to none of them ({source}); give --ep "
            f"{ranks} or leave it out"
        )
    if deployment.ep == 1 and width and width % ranks:
        raise KvcalcError(
            f"--{'dp' if deployment.dp_attention else 'tp'}: {ranks} ranks of {where} do not divide an expert's "
            f"{width:,} columns ({source}); --ep {ranks} gives whole experts to each"
        )
    if version < BLOCKS_REFINED:
        refuse_split_blocks(setup, "vllm before 0.30", "vllm/model_executor/layers/quantization/fp8.py")


def _refuse_states(kinds: Sequence[Mechanism], version: Version) -> None:
    if any(isinstance(each, Lightning) for each in kinds) and version >= LIGHTNING_GONE:
        raise KvcalcError(
            "--engine: vllm serves MiniMax-Text-01 and its like up to 0.23 (vllm/model_executor/models/registry.py, "
            "_PREVIOUSLY_SUPPORTED_MODELS)"
        )
    if any(isinstance(each, RWKV) for each in kinds):
        raise KvcalcError(
            "--engine: vllm has no class of RWKV (vllm/model_executor/models/registry.py); leave --engine out"
        )
