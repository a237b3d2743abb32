"""A rank's parameters against the shapes of vLLM's layers, written out tensor by tensor.

vLLM 0.33.0: QKVParallelLinear gives each rank a KV head where tp is larger than num_kv_heads
(model_executor/layers/linear.py); ReplicatedLinear and GateLinear are whole on every rank: kv_a_proj_with_mqa, q_a_proj
and the indexer's wq_b (models/deepseek_v2.py), gate of experts, g_a_proj, and f_a within in_proj_qkvgfab
(layers/mamba/gdn/kimi_gdn_linear_attn.py); Mamba-2 with one group gives it to every rank
(layers/mamba/mamba_mixer2.py). Norms and small vectors are taken as divided, as kvcalc says of them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import pytest

import kvcalc
from kvcalc.mechanisms import MLA


class Tensor(NamedTuple):
    """A matrix, or a vector of one column.

    Attributes:
        ways: over how many ranks it divides at most; None: over all.
    """

    rows: int
    columns: int = 1
    ways: int | None = None

    def on_rank(self, tp: int) -> Fraction:
        return Fraction(self.rows * self.columns, tp if self.ways is None else min(tp, self.ways))


Shapes = list[tuple[int, list[Tensor]]]
"""How many layers have which tensors."""

KIMI_LINEAR: Shapes = [
    (
        20,
        [
            Tensor(3 * 4096, 2304),  # q, k and v
            Tensor(32, 2304),  # beta
            Tensor(128, 2304, ways=1),  # f_a
            Tensor(128, 2304, ways=1),  # g_a
            Tensor(2 * 4096, 128),  # f_b and g_b
            Tensor(3 * 4096, 4),  # convolutions
            Tensor(4096),  # dt_bias
            Tensor(32),  # A_log
            Tensor(128),  # o_norm
            Tensor(2304, 4096),
        ],
    ),
    (
        7,
        [
            Tensor(32 * 192, 2304),
            Tensor(512 + 64, 2304, ways=1),  # kv_a_proj_with_mqa
            Tensor(512),
            Tensor(32 * 256, 512),
            Tensor(2304, 32 * 128),
        ],
    ),
    (26, [Tensor(256, 2304, ways=1), Tensor(257 * 3 * 1024, 2304)]),  # gate; experts and a shared one
    (1, [Tensor(3 * 9216, 2304)]),
    (27, [Tensor(2 * 2304)]),
    (1, [Tensor(2304), Tensor(2 * 163_840, 2304)]),
]

GEMMA_2B: Shapes = [
    (
        18,
        [
            Tensor(8 * 256, 2048),
            Tensor(2 * 256, 2048, ways=1),  # one KV head
            Tensor(2048, 8 * 256),
            Tensor(3 * 16_384, 2048),
            Tensor(2 * 2048),
        ],
    ),
    (1, [Tensor(2048), Tensor(256_000, 2048)]),
]

GRANITE_4_TINY: Shapes = [
    (
        36,
        [
            Tensor(2 * 3072 + 48, 1536),  # gate, x and dt of in_proj
            Tensor(2 * 128, 1536, ways=1),  # B and C of its one group
            Tensor(3072, 4),
            Tensor(2 * 128, 4, ways=1),
            Tensor(3072 + 2 * 128),  # the convolution's bias
            Tensor(3 * 48),  # A, D and dt_bias
            Tensor(3072),
            Tensor(1536, 3072),
        ],
    ),
    (4, [Tensor(12 * 128, 1536), Tensor(2 * 4 * 128, 1536, ways=4), Tensor(1536, 12 * 128)]),
    (40, [Tensor(64, 1536, ways=1), Tensor(64 * 3 * 512, 1536), Tensor(3 * 1024, 1536), Tensor(2 * 1536)]),
    (1, [Tensor(1536), Tensor(100_352, 1536)]),
]

INDEXED = [
    Tensor(2048, 6144, ways=1),  # q_a
    Tensor(64 * 256, 2048),
    Tensor(512 + 64, 6144, ways=1),
    Tensor(64 * (192 + 256), 512),
    Tensor(6144, 64 * 256),
    Tensor(32 * 128, 2048, ways=1),  # the indexer's queries, keys and weights of heads
    Tensor(128, 6144, ways=1),
    Tensor(32, 6144, ways=1),
]
"""Of GLM-5's attention, without norms."""


def on_rank(shapes: Shapes, tp: int) -> Fraction:
    return sum((layers * tensor.on_rank(tp) for layers, tensors in shapes for tensor in tensors), Fraction())


@pytest.mark.parametrize(
    ("name", "shapes", "tps"),
    [
        ("kimi-linear-48b-a3b", KIMI_LINEAR, (1, 2, 4, 8)),
        ("gemma-2b", GEMMA_2B, (1, 2, 4, 8)),
        ("granite-4.0-h-tiny", GRANITE_4_TINY, (1, 2, 4, 12)),
    ],
)
def test_a_rank_holds_what_vllms_layers_give_it(name: str, shapes: Shapes, tps: tuple[int, ...]) -> None:
    model = kvcalc.load_model(name)
    assert on_rank(shapes, 1) == model.parameters
    for tp in tps:
        found = kvcalc.estimate(model, context=1, tp=tp).memory.per_rank.weights_bytes
        assert found is not None
        expected = 2 * on_rank(shapes, tp)
        assert expected <= found < expected + 8


def test_what_ranks_copy_of_glm_5s_attention() -> None:
    """25.5 million parameters a layer."""
    attention = MLA(
        num_heads=64,
        kv_lora_rank=512,
        qk_rope_head_dim=64,
        qk_nope_head_dim=192,
        v_head_dim=256,
        q_lora_rank=2048,
        index_head_dim=128,
        index_n_heads=32,
    )
    told = sum(each.rows * each.columns for each in attention.projections(6144) if each.heads is None)

    assert told == sum(tensor.rows * tensor.columns for tensor in INDEXED if tensor.ways == 1) == 25_493_504
