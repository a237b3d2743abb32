"""A model from a few numbers, without a file."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from kvcalc.errors import KvcalcError
from kvcalc.mechanisms import GQA, MHA, MLA, MQA
from kvcalc.model import LayerGroup, Model

DEFAULT_MLA_HEAD_DIM = 128
"""DeepSeek-V2's qk_nope_head_dim and v_head_dim (arXiv 2405.04434, section 3.1.2). Neither enters the cache."""


@dataclass(frozen=True, slots=True)
class AdHoc:
    """The numbers that `--layers`, `--heads` and the rest give."""

    layers: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None
    window: int | None = None
    parameters: int | None = None
    dtype: str | None = None

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]

    def model(self) -> Model:
        """The model these numbers describe: mla with a latent rank, else mha, mqa or gqa by the KV heads.

        Raises:
            KvcalcError: a number is missing, contradicts another or is out of range.
        """
        try:
            attention = self._mla() if self.kv_lora_rank is not None else self._heads()
            group = LayerGroup(
                count=self._need("layers", self.layers), attention=attention, window=self.window
            )
            return Model(name="ad-hoc", parameters=self.parameters, dtype=self.dtype, layers=(group,))
        except ValidationError as refused:
            error = refused.errors(include_url=False)[0]
            option = _OPTION.get(str(error["loc"][-1]), str(error["loc"][-1])) if error["loc"] else "heads"
            reason = error.get("ctx", {}).get("error", error["msg"])
            raise KvcalcError(f"--{option.replace('_', '-')}: {str(reason).removeprefix('Input ')}") from refused

    def _heads(self) -> MHA | MQA | GQA:
        heads = self._need("heads", self.heads)
        dim, v_dim = self._need("head_dim", self.head_dim), self.v_head_dim
        if self.qk_rope_head_dim is not None:
            raise KvcalcError("--qk-rope-head-dim: goes with --kv-lora-rank (an mla model)")
        match self.kv_heads:
            case None:
                return MHA(num_heads=heads, head_dim=dim, v_head_dim=v_dim)
            case 1:
                return MQA(num_heads=heads, head_dim=dim, v_head_dim=v_dim)
            case kv_heads if kv_heads == heads:
                return MHA(num_heads=heads, head_dim=dim, v_head_dim=v_dim)
            case kv_heads:
                return GQA(num_heads=heads, num_kv_heads=kv_heads, head_dim=dim, v_head_dim=v_dim)

    def _mla(self) -> MLA:
        for name, value in (("kv-heads", self.kv_heads), ("head-dim", self.head_dim)):
            if value is not None:
                raise KvcalcError(f"--{name}: does not go with --kv-lora-rank: an mla model caches no heads")
        return MLA(
            num_heads=self._need("heads", self.heads),
            kv_lora_rank=self._need("kv_lora_rank", self.kv_lora_rank),
            qk_rope_head_dim=self._need("qk_rope_head_dim", self.qk_rope_head_dim),
            qk_nope_head_dim=DEFAULT_MLA_HEAD_DIM,
            v_head_dim=DEFAULT_MLA_HEAD_DIM if self.v_head_dim is None else self.v_head_dim,
        )

    def _need(self, name: str, value: int | None) -> int:
        if value is None:
            raise KvcalcError(
                f"--{name.replace('_', '-')}: missing; a model without a file needs --layers, --heads and --head-dim "
                "(with --kv-heads where they are fewer), or --layers, --heads, --kv-lora-rank and --qk-rope-head-dim"
            )
        return value


_OPTION = {"count": "layers", "num_heads": "heads", "num_kv_heads": "kv_heads"}
