"""The bound of decoding where tokens are drafted, against sums by hand and against the same model without a draft."""

from __future__ import annotations

from typing import Any

import pytest

from kvcalc import KvcalcError, estimate
from kvcalc.verbs.bounds.decode import DecodeBound

H100 = 3350 * 10**9
"""Bytes a second: NVIDIA's data sheet of the H100 SXM."""
OF_70B = 70_553_706_496 - 128_256 * 8192
OF_8B = 8_030_261_248 - 128_256 * 4096
"""Parameters that a step multiplies by: all of Llama-3.1 but the embedding."""


def _decode(model: str, **options: Any) -> DecodeBound:
    found = estimate(model, **options).decode
    assert found is not None
    return found


def test_a_draft_of_8b_for_70b_by_hand() -> None:
    asked: dict[str, Any] = {"tp": 4, "batch": 8, "context": 8192, "gpu": "h100", "draft": "llama-3.1-8b"}
    model = (OF_70B * 2 / 4 + 2 * 80 * 8 * 8192 * 2 * 128 * 2) / H100  # two of eight KV heads on each of four ranks
    draft = (OF_8B * 2 + 2 * 32 * 8 * 8192 * 8 * 128 * 2) / H100  # on one rank
    for length, kept in ((None, 5), (1, 1), (2.5, 2.5)):
        found = _decode("llama-3.1-70b", **asked, draft_tokens=4, acceptance_length=length)
        assert found.seconds_per_token == pytest.approx((model + 4 * draft) / kept, rel=1e-3)
        assert found.tokens_per_second == pytest.approx(8 * kept / (model + 4 * draft), rel=1e-3)
        assert found.drafted is not None
        assert (found.drafted.tokens, found.drafted.passes, found.drafted.is_most) == (4, 4, length is None)
        assert found.drafted.seconds == pytest.approx(4 * draft, rel=1e-3)


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("deepseek-v3", {"mtp": 1}, {"tp": 8, "gpu": "h200"}),
    ("deepseek-v3", {"mtp": 3}, {"tp": 8, "gpu": "h200", "ep": 8}),
    ("deepseek-v3", {"mtp": 2}, {"tp": 4, "pp": 3, "gpu": "h200", "engine": "exact"}),
    ("deepseek-v3", {"mtp": 2}, {"tp": 8, "gpu": "h200", "engine": "vllm"}),
    (
        "glm-4.5-air",
        {"mtp": 1},
        {"tp": 4, "engine": "sglang", "batch": 16, "engine_option": {"mem-fraction-static": "0.8"}},
    ),
    ("llama-3-70b", {"draft": "llama-3.1-8b", "draft_tokens": 3}, {"tp": 4, "engine": "vllm"}),
    ("llama-3-70b", {"draft": "llama-3.1-8b", "draft_tokens": 3, "draft_tp": 4}, {"tp": 4, "pp": 2}),
    ("qwen3-8b", {"draft": "qwen3-0.6b", "draft_tokens": 2}, {"dp": 2, "mix": "70%:2Ki+500,30%:16Ki+1Ki", "batch": 8}),
]


@pytest.mark.parametrize(("model", "drafts", "options"), CASES)
def test_a_step_is_the_models_own_and_the_drafting_before_it(
    model: str, drafts: dict[str, Any], options: dict[str, Any]
) -> None:
    """Of one stage whose reading takes longest; of several no more than that."""
    plain, found = _decode(model, **options), _decode(model, **options, **drafts)
    tokens = next(drafts[name] for name in ("mtp", "draft_tokens") if name in drafts)
    assert found.drafted is not None
    assert found.drafted.tokens_per_step == tokens + 1
    assert found.read_bytes == plain.read_bytes
    assert found.operations == pytest.approx((tokens + 1) * plain.operations)
    step = found.seconds_per_token * (tokens + 1)
    assert plain.limited_by == found.limited_by == "memory"
    assert step == pytest.approx(plain.seconds_per_token + found.drafted.seconds, rel=0.02)
    assert found.drafted.passes > 0
    read = found.drafted.passes * found.drafted.pass_bytes / float(found.gpu.bandwidth or 0)
    assert found.drafted.seconds == pytest.approx(read)
    alone = _decode(model, **options, **drafts, acceptance_length=1)
    assert alone.tokens_per_second < plain.tokens_per_second < found.tokens_per_second * 1.5
    assert alone.tokens_per_second == pytest.approx(found.tokens_per_second / (tokens + 1))


def test_layers_of_the_model_make_a_token_each_pass() -> None:
    """DeepSeek-V3 has one such layer, which drafts every token; its pass reads it and no table of embeddings.

    On one of eight ranks 8 of 256 experts of 3 x 7168 x 2048 in fp8 and an eighth of the other projections; the
    projections to latents, the matrix of 2 x 7168 x 7168 in bf16 and 8,192 latents of 576 whole.
    """
    one, three = (_decode("deepseek-v3", mtp=number, tp=8, gpu="h200") for number in (1, 3))
    assert one.drafted is not None
    assert three.drafted is not None
    assert (one.drafted.passes, three.drafted.passes) == (1, 3)
    divided = 8 * 3 * 7168 * 2048 + 3 * 7168 * 2048 + 1536 * 128 * 192 + 512 * 128 * 256 + 128 * 128 * 7168
    whole = 7168 * (1536 + 576) + 2 * 2 * 7168 * 7168 + 2 * 576 * 8192
    assert three.drafted.pass_bytes == one.drafted.pass_bytes == pytest.approx(divided / 8 + whole, rel=0.02)


def test_checking_many_tokens_is_limited_by_computing() -> None:
    few, many = (_decode("qwen3-8b", draft="qwen3-0.6b", draft_tokens=n, batch=64, context=256) for n in (1, 15))
    assert (few.limited_by, many.limited_by) == ("memory", "compute")


def test_a_prompt_is_read_by_the_model_at_least() -> None:
    plain, drafted = (estimate("qwen3-8b", engine="vllm", draft=each).prefill for each in (None, "qwen3-0.6b"))
    assert plain is not None
    assert drafted is not None
    assert drafted.seconds == plain.seconds


def test_what_is_not_said_or_cannot_be() -> None:
    unsaid = estimate("qwen3-8b", draft="qwen3-0.6b")
    assert unsaid.decode is None
    assert any("--draft-tokens N" in each.text for each in unsaid.notes if each.code == "no-decode-bound")
    stated = estimate("qwen3-8b", draft="qwen3-0.6b", draft_tokens=2, draft_weights="1GiB")
    assert stated.decode is not None
    assert stated.decode.drafted is not None
    assert stated.decode.drafted.seconds == 0
    told = {each.code for each in estimate("qwen3-8b", draft="qwen3-0.6b", draft_tokens=2, acceptance_length=2).notes}
    assert "all-drafted-kept" not in told
    refused: list[tuple[dict[str, Any], str]] = [
        ({"acceptance_length": 2}, "--acceptance-length: goes with --draft MODEL or --mtp N"),
        ({"draft_tokens": 2}, "--draft-tokens: goes with --draft MODEL"),
        ({"draft": "qwen3-0.6b", "draft_tokens": 2, "acceptance_length": 3.5}, "from 1 to 3: 2 drafted and one"),
        ({"draft": "qwen3-0.6b", "draft_tokens": 2, "acceptance_length": 0.5}, "0.5 tokens a step cannot be"),
        (
            {
                "draft": "qwen3-0.6b",
                "draft_tokens": 2,
                "engine": "vllm",
                "engine_option": {"num-speculative-tokens": 3},
            },
            "--draft-tokens: 2 tokens a step, and --engine-option num-speculative-tokens says 3",
        ),
    ]
    for options, why in refused:
        with pytest.raises(KvcalcError, match=why.replace("(", r"\(")):
            estimate("qwen3-8b", **options)
