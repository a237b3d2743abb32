"""Small models that are verified with a mistake, and the mistakes that several tests make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Kvcalc
from torch import Tensor

from kvcalc.reference.base import ReferenceAttention
from kvcalc.reference.mha_mqa_gqa import GroupedQueryAttention, MultiHeadAttention, MultiQueryAttention
from kvcalc.reference.mla import MultiHeadLatentAttention
from kvcalc.reference.mla_expanded import ExpandedLatentAttention

MLA_DIMS = "num_heads: 4, kv_lora_rank: 64, qk_rope_head_dim: 32, qk_nope_head_dim: 32, v_head_dim: 32, q_lora_rank: 48"
MODELS = {
    "mha": "{count: 3, attention: {kind: mha, num_heads: 4, head_dim: 32}}",
    "mqa": "{count: 3, attention: {kind: mqa, num_heads: 4, head_dim: 32}}",
    "gqa": "{count: 3, attention: {kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32}}",
    "gqa-window": "{count: 3, attention: {kind: gqa, num_heads: 8, num_kv_heads: 2, head_dim: 32}, window: 16}",
    "mla": f"{{count: 3, attention: {{kind: mla, {MLA_DIMS}}}}}",
    "mla_expanded": f"{{count: 3, attention: {{kind: mla_expanded, {MLA_DIMS}}}}}",
}
MODULES: dict[str, tuple[type[ReferenceAttention], tuple[str, ...]]] = {
    "mha": (MultiHeadAttention, ("k", "v")),
    "mqa": (MultiQueryAttention, ("k", "v")),
    "gqa": (GroupedQueryAttention, ("k", "v")),
    "gqa-window": (GroupedQueryAttention, ("k", "v")),
    "mla": (MultiHeadLatentAttention, ("c_kv", "k_rope")),
    "mla_expanded": (ExpandedLatentAttention, ("k", "v")),
}
DEVICES = ("meta", "cpu")

BYTES = {"bytes of layers", "cache bytes"}
RANK_BYTES = {"bytes of layers", "bytes of rank", "cache bytes"}
PROOF = {"sufficient", "needed"}

Mutation = Callable[[pytest.MonkeyPatch], None]
Verify = Callable[..., set[str]]


def failed_claims(kvcalc: Kvcalc, folder: Path, model: str, *words: str) -> set[str]:
    """Verify two sequences of 40 tokens and give the names of the claims that fail, as the exit code has it."""
    file = folder / f"{model}.yaml"
    file.write_text(f"name: small\nhidden_size: 24\ndtype: bf16\nlayers:\n  - {MODELS[model]}\n", encoding="utf-8")
    run = kvcalc("verify", str(file), "-b", "2", "-c", "40", "--json", *words)
    checks = json.loads(run.stdout)["checks"]
    failed = {check["name"] for check in checks if not check["ok"]}
    assert run.code == (1 if failed else 0), run.stderr
    assert ("not verified" in run.stderr) == bool(failed)
    assert json.loads(run.stdout)["verified"] is not bool(failed)
    return failed


def with_kept(
    patch: pytest.MonkeyPatch, model: str, change: Callable[[dict[str, Tensor], Tensor], dict[str, Tensor]]
) -> None:
    """Let the module of a mechanism keep something else; `change` gets what is right, and the tokens."""
    module, _ = MODULES[model]
    original = module.keep

    def keep(self: ReferenceAttention, x_BTD: Tensor, start: int) -> dict[str, Tensor]:
        return change(original(self, x_BTD, start), x_BTD)

    patch.setattr(module, "keep", keep)
