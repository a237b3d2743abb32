"""How published checkpoints of some classes are quantised otherwise than linear layers in one format.

A recipe is of a class, or of one model, and a format. Others who publish such checkpoints may leave more or less, so
the note on it says whose it is. Where no recipe is known, all matrices of the layers are in the format.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.mechanisms import GQA, MHA, MLA, MQA, GatedDeltaNet, Mamba2
from kvcalc.mechanisms.mla import latent_projections
from kvcalc.model.apart import projections
from kvcalc.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.model import Model

ATTENTION = "attention"
PLAIN = "plain"
"""The model's own dtype."""
AS_STORED = "as stored"
"""What the model's own checkpoint has them in."""


class Recipe(NamedTuple):
    """What is not in the format, or is beside the layers.

    Attributes:
        checkpoint: whose it is, as the note on it says.
        source: the published file or example.
        attention: format of attention's matrices; None: as asked.
        outputs: whether attention's output projections are in the format that is asked for all the same.
        states: format of the matrices of layers with states; None: as asked.
        feeding: whether `states` is of those layers alone that attention follows.
        head: whether the output head is in the format too.
        gated: whether attention's queries come with a gate as wide.
        beside_experts: format of all matrices of layers but the routed experts; None: the others decide.
    """

    checkpoint: str
    source: str
    attention: str | None = None
    outputs: bool = False
    states: str | None = None
    feeding: bool = False
    head: bool = False
    gated: bool = False
    beside_experts: str | None = None

    @property
    def latents(self) -> str | None:
        """The format of down-projections to latents, and of an indexer; None: as asked."""
        return self.beside_experts or (PLAIN if self.attention == PLAIN else None)


_FILES = "https://github.com/ai-dynamo/aiconfigurator/tree/095f58a/aic-core/src/aiconfigurator_core/model_configs"
_TOTALS = "the Hub's total (llmfit 1.1.17, PyPI), which counts what is stored: two parameters of fp4 as one"


def _of(checkpoint: str, *others: str) -> tuple[str, str]:
    """A checkpoint whose modules that stay are listed in a published file, and others that its recipe is of too."""
    files = ", ".join(f"{each.replace('/', '--')}_hf_quant_config.json" for each in (checkpoint, *others))
    return checkpoint, f"{_FILES}: {files}"


_QWEN_BY_NVIDIA = Recipe(
    *_of("nvidia/Qwen3.6-27B-NVFP4", "nvidia/Qwen3.6-35B-A3B-NVFP4"),
    attention="fp8",
    states="fp8",
    head=True,
    gated=True,
)
_QWEN_BY_LLM_COMPRESSOR = Recipe(
    "the example of llm-compressor",
    "https://github.com/vllm-project/llm-compressor, examples of Qwen3-Next and Qwen3.5: ignore re:.*linear_attn.*",
    states=PLAIN,
    gated=True,
)
_QWENS = ("qwen3_5", "qwen3_5_moe", "qwen3_next")

RECIPES: Mapping[tuple[str, str], Recipe] = MappingProxyType(
    {
        ("qwen3_5", "nvfp4"): _QWEN_BY_NVIDIA,
        ("qwen3.6-35b-a3b", "nvfp4"): _QWEN_BY_NVIDIA,
        ("qwen3_5_moe", "nvfp4"): Recipe(
            *_of("nvidia/Qwen3.5-122B-A10B-NVFP4", "nvidia/Qwen3.5-397B-A17B-NVFP4"), beside_experts=PLAIN
        ),
        ("qwen3_next", "nvfp4"): _QWEN_BY_LLM_COMPRESSOR,
        **{(each, "w4a16"): _QWEN_BY_LLM_COMPRESSOR for each in _QWENS},
        ("qwen3_5_moe", "w4a16_g32"): Recipe(
            "a checkpoint that vLLM logged",
            "stored file 51840052075, Qwen3.5-122B-A10B on vLLM 0.16.1rc1, which names a kernel for experts and none "
            "for linear layers (compressed_tensors_wNa16.py names one where there are any) [one log]",
            beside_experts=PLAIN,
        ),
        ("gemma4", "nvfp4"): Recipe(*_of("nvidia/Gemma-4-31B-IT-NVFP4"), attention=PLAIN),
        ("gemma-4-26b-a4b", "nvfp4"): Recipe(*_of("nvidia/Gemma-4-26B-A4B-NVFP4"), beside_experts=PLAIN),
        # nvidia/DeepSeek-R1-NVFP4-v2, by its total, has attention's outputs in nvfp4 too: 10 GB less.
        ("deepseek_v3", "nvfp4"): Recipe(
            "nvidia/DeepSeek-R1-NVFP4",
            "https://github.com/ai-dynamo/aiconfigurator/tree/6d449daa/src/aiconfigurator/model_configs: "
            f"nvidia--DeepSeek-V3-0324-NVFP4_hf_quant_config.json; and of both {_TOTALS}",
            attention=PLAIN,
        ),
        ("deepseek-v3.1", "nvfp4"): Recipe(*_of("nvidia/DeepSeek-V3.1-NVFP4"), attention=PLAIN, outputs=True),
        ("deepseek_v32", "nvfp4"): Recipe(*_of("nvidia/DeepSeek-V3.2-NVFP4"), attention=PLAIN, outputs=True),
        ("deepseek_v4", "nvfp4"): Recipe(
            *_of("nvidia/DeepSeek-V4-Flash-NVFP4", "nvidia/DeepSeek-V4-Pro-NVFP4"), beside_experts=AS_STORED
        ),
        ("glm4_moe", "nvfp4"): Recipe("nvidia/GLM-4.7-NVFP4", _TOTALS, attention=PLAIN),
        # nvidia/GLM-5-NVFP4, the first, has shared experts and dense layers in nvfp4 too: 5 GB less.
        ("glm_moe_dsa", "nvfp4"): Recipe(*_of("nvidia/GLM-5.1-NVFP4", "nvidia/GLM-5.2-NVFP4"), beside_experts=PLAIN),
        ("minimax_m2", "nvfp4"): Recipe(
            *_of("nvidia/MiniMax-M2.5-NVFP4", "nvidia/MiniMax-M2.7-NVFP4"), beside_experts=PLAIN
        ),
        ("minimax_m2", "mxfp4"): Recipe(
            "amd/MiniMax-M2.7-MXFP4", f"and amd/MiniMax-M2.1-MXFP4: {_TOTALS}", beside_experts=PLAIN
        ),
        ("minimax_m3", "nvfp4"): Recipe(*_of("nvidia/MiniMax-M3-NVFP4"), beside_experts="mxfp8"),
        ("qwen3_5_moe", "mxfp4"): Recipe(
            "amd/Qwen3.5-397B-A17B-MXFP4", f"and amd/Qwen3.5-35B-A3B-MXFP4: {_TOTALS}", beside_experts=PLAIN
        ),
        # nvidia/Kimi-K2.5-NVFP4 has shared experts and the dense layer in nvfp4 too: 4 GB less.
        ("kimi_k2", "nvfp4"): Recipe(
            *_of("nvidia/Kimi-K2.6-NVFP4", "nvidia/Kimi-K2.7-Code-NVFP4"), beside_experts=PLAIN
        ),
        ("nemotron_h", "nvfp4"): Recipe(
            "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4",
            f"Nemotron 3 Nano Technical Report, section 4, and {_FILES}: its hf_quant_config.json: attention, and the "
            "Mamba layers that feed it",
            attention=PLAIN,
            states=PLAIN,
            feeding=True,
        ),
    }
)
"""By a model's name, or else its model_type, and the format that is asked for."""


class Left(NamedTuple):
    """Parameters that a recipe has in a format of their own."""

    name: str
    parameters: int
    stored: str


def recipe_of(model: Model, asked: str) -> Recipe | None:
    """The recipe of a model's checkpoints in that format; None: none is known."""
    return RECIPES.get((model.name, asked)) or RECIPES.get((model.model_type or "", asked))


def left_by(recipe: Recipe, model: Model) -> Iterator[Left]:
    """What of the layers' matrices is in another format than the one that is asked for."""
    if model.hidden_size is None:
        return
    layers = model.layout.layers
    attention = states = 0
    for caches, following in zip(layers, (*layers[1:], ()), strict=True):
        for layer in caches:
            keys_only = model.attention_k_eq_v and layer.span is None
            matrices = projections(layer.attention, model.hidden_size, keys_only=keys_only) or 0
            if _is_attention(layer.attention):
                attention += matrices + (recipe.gated and _gate(layer.attention, model.hidden_size))
            elif isinstance(layer.attention, MLA):
                attention += _of_heads(layer.attention, matrices, model.hidden_size, outputs=not recipe.outputs)
            elif isinstance(layer.attention, GatedDeltaNet | Mamba2):
                feeds = any(_is_attention(each.attention) for each in following)
                states += matrices if feeds or not recipe.feeding else 0
    if recipe.attention is not None and attention:
        yield Left(ATTENTION, attention, recipe.attention)
    if recipe.states is not None and states:
        name = "states that feed attention" if recipe.feeding else "states"
        yield Left(name, states, recipe.states)


def _is_attention(mechanism: Mechanism) -> bool:
    return isinstance(mechanism, MHA | MQA | GQA)


def _of_heads(mechanism: MLA, matrices: int, hidden: int, *, outputs: bool) -> int:
    """The matrices of latent attention that ranks divide: without those that make the latents."""
    latents = latent_projections(hidden, mechanism.kv_lora_rank + mechanism.qk_rope_head_dim, mechanism.q_lora_rank)
    left = 0 if outputs else mechanism.num_heads * mechanism.v_head_dim * hidden
    return matrices - sum(each.rows * each.columns for each in latents) - left


def _gate(mechanism: Mechanism, hidden: int) -> int:
    heads = mechanism.heads
    return 0 if heads is None else hidden * heads.num_heads * heads.head_dim
