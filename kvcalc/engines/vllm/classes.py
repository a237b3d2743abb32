"""Which versions of vLLM have a class for a model, by the model_type of its config.json, and what a class cannot do.

Read from vllm/model_executor/models/registry.py of every version in VERSIONS: the class that the checkpoints of a type
name in `architectures`. Types that stand in no table here have had a class since 0.6, or what their classes are called
is not known; they are not refused. vLLM's Transformers backend may serve a type without a class, or before it has one;
kvcalc does not follow it there.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.engines.versions import version_number
from kvcalc.engines.vllm.defaults import VERSIONS
from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.engines.vllm.defaults import Version
    from kvcalc.model.model import Model

_SINCE: Mapping[Version, str] = MappingProxyType(
    {
        (0, 6, 4): "falcon_mamba idefics3",
        (0, 6, 5): "cohere2 glm olmo2",
        (0, 6, 6): "deepseek_v3 kimi_k2",
        (0, 7, 3): "bamba deepseek_vl_v2 internlm3 mamba2 qwen2_5_vl whisper",
        (0, 8): "gemma3 gemma3_text granitemoeshared grok-1 phi4mm zamba2",
        (0, 8, 4): "glm4 llama4 minimax_text_01 mistral3 qwen3_moe smolvlm",
        (0, 8, 5): "kimi_vl plamo2",
        (0, 9): "falcon_h1 granitemoehybrid mimo qwen2_5_omni",
        (0, 9, 1): "nemotron_h",
        (0, 9, 2): "dots1 ernie4_5 ernie4_5_moe gemma3n glm4v hunyuan_v1_moe minimax_m1",
        (0, 10): "arcee bailing_moe exaone4 glm4_moe hunyuan_v1_dense minimax phi4flash voxtral",
        (0, 10, 2): (
            "apertus gemma3n_text glm4v_moe gpt_oss internvl lfm2 llama4_text motif qwen3_next seed_oss smollm3 step3"
        ),
        (0, 11): "cwm deepseek_v32 longcat_flash olmo3 qwen3_vl qwen3_vl_moe",
        (0, 11, 1): "afmoe flex_olmo kimi_linear lfm2_moe minimax_m2 ouro",
        (0, 12): "plamo3 telechat",
        (0, 13): "jais2",
        (0, 14): "exaone_moe iquestcoder lfm2_vl mimo_v2_flash",
        (0, 15): "glm4_moe_lite kimi_k25",
        (0, 16): "glm_moe_dsa qwen3_asr step3p5",
        (0, 17): "axk1 qwen3_5 qwen3_5_moe",
        (0, 18): "hyperclovax olmo_hybrid sarvam_mla sarvam_moe",
        (0, 19): "gemma4 gemma4_text",
        (0, 20): "deepseek_v4 exaone4_5 hy_v3 telechat3",
        (0, 21): "cohere2_moe laguna",
        (0, 23): "gemma4_unified mellum step3p7",
        (0, 24): "hrm_text minimax_m3",
        (0, 26): "inkling_text longcat_flash_ngram",
        (0, 27, 1): "kimi_k3 qwen3_5_moe_text qwen3_5_text vaultgemma",
        (0, 28): "muse_glimmer",
        (0, 29): "granite_swa granitemoe_swa hy_v4 qwen4_exp_text",
        (0, 30): "nanbeige",
        (0, 33): "kolibri1",
    }
)
"""The first version read whose registry has the class. Not here: dots_ocr, whose own code brought a class to 0.9.1, and
what is refused by its cache (DeepSeek-V4.1, GLM-5.3-Flash)."""

_UP_TO: Mapping[Version, Mapping[str, str]] = MappingProxyType(
    {
        (0, 9): {"phi3small": "Phi3SmallForCausalLM"},
        (0, 10): {"phi4flash": "Phi4FlashForCausalLM"},
        (0, 11, 0): {"motif": "MotifForCausalLM"},
        (0, 22): {"jais": "JAISLMHeadModel"},
        (0, 23): {
            "bamba": "BambaForCausalLM",
            "internlm": "InternLMForCausalLM",
            "minimax": "MiniMaxForCausalLM",
            "minimax_m1": "MiniMaxM1ForCausalLM",
            "minimax_text_01": "MiniMaxText01ForCausalLM",
            "qwen": "QWenLMHeadModel",
            "xverse": "XverseForCausalLM",
        },
        (0, 24): {
            "aquila": "AquilaForCausalLM",
            "baichuan": "BaichuanForCausalLM",
            "grok-1": "Grok1ModelForCausalLM",
        },
        (0, 25): {"telechat": "TeleChatForCausalLM"},
        (0, 26): {"ouro": "OuroForCausalLM", "plamo2": "Plamo2ForCausalLM"},
        (0, 28): {"arctic": "ArcticForCausalLM", "mpt": "MPTForCausalLM"},
    }
)
"""The last version that has the class, where the Transformers backend does not take the model: asked of 0.33, it
refuses Bamba, MiniMax and MPT; code of a checkpoint's own it cannot run. As registries are, and not as later ones tell
of them: Baichuan is in 0.24.0 and Motif in 0.11.0, where _PREVIOUSLY_SUPPORTED_MODELS says 0.23.0 and 0.10.2."""

_NEVER = (
    "axk2 baichuan_m1 blenderbot blenderbot-small codegen delta_net diffllama fsmt gated_deltanet gpt_neo "
    "gpt_neox_japanese Klear led lille-130m longt5 m2m_100 marian mt5 mvp nllb-moe openelm pegasus pegasus_x phixtral "
    "plbart pop2piano prophetnet switch_transformers t5 udop umt5 xglm youtu youtu_llm zamba"
)
"""No version read has a class, and the Transformers backend of 0.33 refuses them (asked of it: codegen, diffllama,
gpt_neo, gpt_neox_japanese, xglm, zamba; encoders beside decoders and code of a checkpoint's own it does not take), or
keeps latents as keys and values of every head (youtu, axk2)."""

_FOLLOWED: Mapping[Version, str] = MappingProxyType(
    {
        (0, 7, 3): "deepseek_v3 deepseek_vl_v2 kimi_k2",
        (0, 10): "bamba falcon_h1 falcon_mamba granitemoehybrid mamba2 minimax_text_01 nemotron_h whisper zamba2",
        (0, 20): "mimo_v2_flash",
        (0, 25, 1): "minimax_m3",
        (0, 27, 1): "dots1",
    }
)
"""The first version that kvcalc follows the class in, where it came before: latents and states were kept otherwise, or
all layers given a window that the file has for none."""

_ON_ONE_STAGE = (
    "aria cohere_asr dory gemma3n gemma3n_text hrm_text idefics3 iquestloopcoder "
    "mamba2 minimax minimax_m1 minimax_text_01 NemotronH_Nano_VL_V2 nemotron_h_omni ouro paddleocr_vl phi4mm smolvlm "
    "whisper zamba2"
)
"""Classes without SupportsPP, in every version from 0.19 to 0.33 that has them."""
_STAGES_UP_TO: Mapping[str, Version] = MappingProxyType(
    dict.fromkeys(("diffusion_gemma", "diffusion_gemma_text"), (0, 26))
)
"""The last version whose class has SupportsPP (models/diffusion_gemma.py: there in 0.24 and 0.26, not in 0.27.1)."""
STAGES_TOLD: Version = (0, 19)

_FIRST = {kind: since for since, kinds in _SINCE.items() for kind in kinds.split()}
_STEPS = {kind: since for since, kinds in _FOLLOWED.items() for kind in kinds.split()}
_LAST = {kind: (last, name) for last, names in _UP_TO.items() for kind, name in names.items()}
_READ = [number for each in VERSIONS if (number := version_number(each))]
REGISTRY = "vllm/model_executor/models/registry.py"


_BUILDS_AHEAD = 2
"""Minor versions that one which was not read may be ahead of its number: a build from the main branch named 0.17.2rc1
served Gemma-4, which 0.18 lacks (a start-up log)."""


def refuse_without_class(model: Model, asked: str) -> None:
    """Refuses a model that this version has no class for.

    Args:
        model: with the model_type of its file; without one nothing is known.
        asked: the version as it was asked for, which may lie between two that were read.

    Raises:
        KvcalcError: it has none yet, no longer, or never had one.
    """
    kind, number = model.model_type or "", version_number(asked) or (0, 0, 0, 0)
    if kind in _NEVER.split():
        raise KvcalcError(
            f"--engine: vllm has no class for {model.name} (model_type {kind}; {REGISTRY}); leave --engine out"
        )
    first, (last, name) = _FIRST.get(kind), _LAST.get(kind, (None, ""))
    if first is not None and _lacks(number, first):
        raise KvcalcError(
            f"--engine: vllm {asked} has no class for {model.name} (model_type {kind}), which came with "
            f"{_number(first)} ({REGISTRY}); --engine vllm@{_number(_STEPS.get(kind, first))}"
        )
    if last is not None and _lost(number, last):
        raise KvcalcError(
            f"--engine: vllm {asked} has no class for {model.name}: it had {name} up to {_number(last)} ({REGISTRY}); "
            f"--engine vllm@{_number(last)}"
        )


def refuse_stages(model: Model, version: Version, pp: int) -> None:
    """Refuses pipeline stages of a class that has none.

    Raises:
        KvcalcError: it has none.
    """
    kind = model.model_type or ""
    never, last = kind in _ON_ONE_STAGE.split(), _STAGES_UP_TO.get(kind)
    if pp > 1 and version >= STAGES_TOLD and (never or (last is not None and version[: len(last)] > last)):
        since = "" if last is None else f" after {_number(last)}"
        raise KvcalcError(
            f"--pp: vllm's class of {model.name} has no pipeline stages{since} (vllm/config/model.py, "
            "verify_with_parallel_config: SupportsPP); leave --pp out"
        )


def _lacks(number: tuple[int, ...], first: Version) -> bool:
    """Whether a version has no class yet: one that was read, or one that is too far before the first with it."""
    ahead = 0 if number in _READ else _BUILDS_AHEAD
    return (number[0], number[1] + ahead, *number[2:]) < first


def _lost(number: tuple[int, ...], last: Version) -> bool:
    """Whether a version has the class no longer; what leads to the minor version after the last may have it still."""
    if number[2:] == (0, -1):
        number = (number[0], number[1] - 1, *number[2:])
    return number[: len(last)] > last


def _number(version: Version) -> str:
    return ".".join(map(str, version))
