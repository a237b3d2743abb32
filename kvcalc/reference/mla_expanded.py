"""Multi-head latent attention whose cache is expanded. Letters of shapes are in base.py.

Source: DeepSeek-V3's own inference code keeps such a cache when attn_impl is "naive"
(https://github.com/deepseek-ai/DeepSeek-V3/blob/main/inference/model.py, class MLA).
"""

from __future__ import annotations

from torch import Tensor

from kvcalc.reference.base import Rows
from kvcalc.reference.functional import positions
from kvcalc.reference.mla import MultiHeadLatentAttention, with_rope
from kvcalc.reference.stored_as import KEYS_AND_VALUES


class ExpandedLatentAttention(MultiHeadLatentAttention):
    """The same layer, but every head's key and value are kept instead of the latent that they are expanded from."""

    stored_as = {"k": KEYS_AND_VALUES, "v": KEYS_AND_VALUES}  # noqa: RUF012  # declared as a class variable in the base
    layouts = {}  # noqa: RUF012  # likewise

    def keep(self, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        """k (B, T, H, N + P) and v (B, T, H, V)."""
        c_kv_BTR, k_rope_BTP = self.latent(x_BTD, positions(x_BTD, start))
        k_nope_BTHN, v_BTHV = self.expand(c_kv_BTR)
        return {"k": with_rope(k_nope_BTHN, k_rope_BTP), "v": v_BTHV}

    def attend(self, x_BTD: Tensor, start: int, rows: Rows) -> Tensor:
        return self.attend_heads(x_BTD, start, rows.tensors["k"], rows.tensors["v"], rows.positions_S)
