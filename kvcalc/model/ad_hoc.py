"""A model from a few numbers, without a file."""

from __future__ import annotations

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Attention
from kvcalc.model.layers import LayerGroup
from kvcalc.model.model import Model
from kvcalc.named_tuple import NamedTuple

MAX_DIM = 10**6
"""Heads and elements of a head, as in files."""

DEFAULT_MLA_HEAD_DIM = 128
"""DeepSeek-V2's qk_nope_head_dim and v_head_dim (arXiv 2405.04434, section 3.1.2). Neither enters the cache."""


class AdHoc(NamedTuple):
    """The numbers that `--layers`, `--heads` and the rest give; each is at least 1."""

    layers: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None
    window: int | None = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.replace('_', '-')}" for name in self._fields if getattr(self, name) is not None]

    def model(self) -> Model:
        """The model these numbers describe: mla with a latent rank, else mha, mqa or gqa by the KV heads.

        Raises:
            KvcalcError: a number is missing or contradicts another.
        """
        layers = self._need("layers")
        attention = self._mla() if self.kv_lora_rank is not None else self._heads()
        return Model(name="ad-hoc", layers=(LayerGroup(count=layers, attention=attention, window=self.window),))

    def _heads(self) -> Attention:
        heads, head_dim, v_head_dim = self._need("heads"), self._need("head_dim"), self.v_head_dim
        if self.qk_rope_head_dim is not None:
            raise KvcalcError("--qk-rope-head-dim: goes with --kv-lora-rank, for an mla model")
        if self.kv_heads in (None, heads):
            return MHA(num_heads=heads, head_dim=head_dim, v_head_dim=v_head_dim)
        if self.kv_heads == 1:
            return MQA(num_heads=heads, head_dim=head_dim, v_head_dim=v_head_dim)
        kv_heads = self._need("kv_heads")
        try:
            return GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=head_dim, v_head_dim=v_head_dim)
        except ValueError as error:
            raise KvcalcError(f"--kv-heads: {error}") from error

    def _mla(self) -> Attention:
        for name, value in (("kv-heads", self.kv_heads), ("head-dim", self.head_dim)):
            if value is not None:
                raise KvcalcError(f"--{name}: does not go with --kv-lora-rank: an mla model caches no heads")
        return MLA(
            num_heads=self._need("heads"),
            kv_lora_rank=self._need("kv_lora_rank"),
            qk_rope_head_dim=self._need("qk_rope_head_dim"),
            qk_nope_head_dim=DEFAULT_MLA_HEAD_DIM,
            v_head_dim=self.v_head_dim or DEFAULT_MLA_HEAD_DIM,
        )

    def _need(self, name: str) -> int:
        value: int | None = getattr(self, name)
        if value is None:
            raise KvcalcError(
                f"--{name.replace('_', '-')}: missing; a model without a file needs --layers, --heads and --head-dim "
                "(with --kv-heads where they are fewer), or --layers, --heads, --kv-lora-rank and --qk-rope-head-dim"
            )
        return value
