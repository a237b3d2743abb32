"""How layers that predict further tokens differ from a model's other layers, by its family."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvcalc.model.model import Model


class Family(NamedTuple):
    """How a family's layer differs from the model's last that keeps every token.

    Attributes:
        windowed: whether it is like the last with a window.
        dense: whether it has the dense feed-forward block of a model of experts.
        divided: whether ranks share the matrix that joins; else each has it whole.
        gated: whether attention's queries come with a gate as wide.
        own_heads: whether each layer has an output head of its own.
        plain_outputs: whether attention's output stays in the model's dtype where the checkpoint is quantised.
        told: whether its matrices follow from the model's dims.
        source: of that.
    """

    windowed: bool = False
    dense: bool = False
    divided: bool = False
    gated: bool = False
    own_heads: bool = False
    plain_outputs: bool = False
    told: bool = True
    source: str = "vLLM 0.33.0, vllm/model_executor/models/deepseek_mtp.py, glm4_moe_mtp.py, mimo_mtp.py: eh_proj"

    @property
    def like_last(self) -> bool:
        """Whether it is like the model's last layer in all but what it joins."""
        return self.told and not (self.windowed or self.dense or self.own_heads)


_QWEN = Family(
    divided=True, gated=True, source="vLLM 0.33.0, vllm/model_executor/models/qwen3_next_mtp.py, qwen3_5_mtp.py: fc"
)
_MIMO = Family(
    windowed=True,
    dense=True,
    plain_outputs=True,
    source="vLLM 0.33.0, vllm/model_executor/models/mimo_v2_mtp.py",
)
_STEP = Family(
    windowed=True,
    dense=True,
    own_heads=True,
    source="vLLM 0.33.0, vllm/model_executor/models/step3p5_mtp.py; the published checkpoint's tensors",
)
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), _QWEN),
        **dict.fromkeys(
            ("qwen4_exp", "qwen4_exp_text"),
            _QWEN._replace(source="vLLM 0.33.0, vllm/models/qwen4_exp/nvidia/mtp.py: fc_embedding, fc_hidden"),
        ),
        **dict.fromkeys(("mimo_v2_flash", "mimo_v2"), _MIMO),
        **dict.fromkeys(("step3p5", "step3p7"), _STEP),
        "exaone_moe": Family(
            windowed=True,
            dense=True,
            divided=True,
            source="vLLM 0.33.0, vllm/model_executor/models/exaone_moe_mtp.py: fc; exaone_moe.py: is_mtp",
        ),
        "deepseek_v4": Family(source="vLLM 0.33.0, vllm/models/deepseek_v4/nvidia/mtp.py: e_proj, h_proj"),
        "nemotron_h": Family(
            divided=True, told=False, source="vLLM 0.33.0, vllm/model_executor/models/nemotron_h_mtp.py: attention, "
            "then experts in a latent space"
        ),
    }
)  # fmt: skip
"""By model_type."""


def family_of(model: Model) -> Family:
    """How the layers of this model differ."""
    return FAMILIES.get(model.model_type or "", Family())
