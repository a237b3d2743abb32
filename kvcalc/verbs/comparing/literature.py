"""What articles say of the mechanisms, in their own words, and where they contradict each other or the formula.

Nothing here is measured by kvcalc, which computes sizes and knows nothing of quality. `kvcalc compare` shows it beside
its figures.
"""

from __future__ import annotations

from dataclasses import dataclass

CHEN = 'Shaoyuan Chen, "Comparing Attention Mechanisms: MHA, MQA, GQA, and MLA", 2024-10-10'
CODE = (
    "an article with PyTorch code for the four mechanisms, citing Vaswani 2017 to DeepSeek-V2 (of quality: "
    "expressivity)"
)
EVOLUTION = '"Attention Mechanisms: From MHA to DeepSeek\'s MLA", 2026-01-28'
NOTES = "notes on the trade-offs of MHA, GQA and MQA"
DEEPSEEK = "DeepSeek-V2, https://arxiv.org/abs/2405.04434, table 1 (of quality: capability)"
SOURCES = (CHEN, CODE, EVOLUTION, NOTES, DEEPSEEK)


@dataclass(frozen=True, slots=True)
class Saying:
    """Words of a source.

    Attributes:
        mechanism: a kind of attention: mha, gqa, mqa or mla.
        topic: quality, memory or use.
        words: as they stand there.
        source: who says so.
    """

    mechanism: str
    topic: str
    words: str
    source: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Sayings that cannot all be right, or one that the formula refutes.

    Attributes:
        about: what they contradict each other about.
        said: by whom, in which words.
        figure: what the formula says; None where no formula tells.
    """

    about: str
    said: tuple[Saying, ...]
    figure: str | None


SAYINGS = (
    Saying("mha", "quality", "Best quality, full expressiveness", CHEN),
    Saying("mha", "quality", "Best (Benchmark)", EVOLUTION),
    Saying("mha", "quality", "Maximum flexibility", NOTES),
    Saying("mha", "quality", "Strong", DEEPSEEK),
    Saying("mha", "memory", "Highest memory usage for KVCache", CHEN),
    Saying("mha", "memory", "None (Full Storage)", EVOLUTION),
    Saying("mha", "use", "When quality is paramount and memory is not a constraint", CHEN),
    Saying("mha", "use", "General Transformer models", CODE),
    Saying("gqa", "quality", "Better", CHEN),
    Saying("gqa", "quality", "Medium", CODE),
    Saying("gqa", "quality", "High (Slight Loss)", EVOLUTION),
    Saying("gqa", "quality", "performance is usually close to MHA", NOTES),
    Saying("gqa", "quality", "Moderate", DEEPSEEK),
    Saying("gqa", "memory", "Balanced quality and memory usage", CHEN),
    Saying("gqa", "memory", "KV Cache usage is reduced by 87.5% compared to MHA", EVOLUTION),
    Saying("gqa", "use", "Production deployments needing both quality and efficiency", CHEN),
    Saying("gqa", "use", "the standard configuration for mainstream large language models", EVOLUTION),
    Saying("mqa", "quality", "Good", CHEN),
    Saying("mqa", "quality", "Low", CODE),
    Saying("mqa", "quality", "drops significantly", EVOLUTION),
    Saying("mqa", "quality", "Lower than GQA/MHA", NOTES),
    Saying("mqa", "quality", "Weak", DEEPSEEK),
    Saying("mqa", "memory", "Lowest", CHEN),
    Saying("mqa", "memory", "Huge memory savings", NOTES),
    Saying("mqa", "use", "Memory-constrained deployments", CHEN),
    Saying("mqa", "use", "Large decoder models (e.g., LLMs)", CODE),
    Saying("mqa", "use", "edge computing devices that are extremely sensitive to resources", EVOLUTION),
    Saying("mla", "quality", "Best", CHEN),
    Saying("mla", "quality", "Moderate", CODE),
    Saying("mla", "quality", "Very High (Better or Equal to MHA)", EVOLUTION),
    Saying("mla", "quality", "Stronger", DEEPSEEK),
    Saying("mla", "memory", "Extreme KVCache compression, high computational intensity", CHEN),
    Saying("mla", "memory", "Very Low", CODE),
    Saying("mla", "memory", "equal to GQA with only 2.25 groups", DEEPSEEK),
    Saying("mla", "use", "Long-context scenarios, as seen in DeepSeek-V2", CHEN),
    Saying("mla", "use", "Efficient KV caching for long-sequence processing", CODE),
)

CONTRADICTIONS = (
    Contradiction(
        "the smallest cache",
        (Saying("mqa", "memory", "Lowest", CHEN), Saying("mla", "memory", "Lowest", CHEN)),
        "mqa keeps 2 x 128 = 256 elements per token and layer, DeepSeek's mla 512 + 64 = 576, at "
        "head_dim 128: mqa less",
    ),
    Contradiction(
        "which of mqa and mla keeps less",
        (Saying("mqa", "memory", "Low", CODE), Saying("mla", "memory", "Very Low", CODE)),
        "it is the other way round: 256 elements against 576, or 512 without the rotary key, which that article leaves "
        "out",
    ),
    Contradiction(
        "how much of mha's cache mla keeps",
        (Saying("mla", "memory", "about 4.3% to 6.7% of MHA", EVOLUTION),),
        "it is 576 / 32,768 elements = 1.76 % for DeepSeek-V2 and V3, with 128 heads of 128",
    ),
    Contradiction(
        "32 layers, 32 heads of 64, 80,000 tokens",
        (
            Saying("mha", "memory", "640 GB", EVOLUTION),
            Saying("gqa", "memory", "80 GB", EVOLUTION),
            Saying("mqa", "memory", "20 GB (a reduction of 93.75%)", EVOLUTION),
        ),
        "it is, in 2 bytes an element, 20,971,520,000 bytes for mha, 2,621,440,000 bytes for 4 KV heads, "
        "655,360,000 bytes for mqa (1 - 1/32: a reduction of 96.875 %)",
    ),
    Contradiction(
        "the quality of mla",
        (
            Saying("mla", "quality", "Best", CHEN),
            Saying("mla", "quality", "Moderate", CODE),
            Saying("mla", "quality", "Very High (Better or Equal to MHA)", EVOLUTION),
            Saying("mla", "quality", "Stronger", DEEPSEEK),
        ),
        None,
    ),
    Contradiction(
        "the quality of mqa",
        (
            Saying("mqa", "quality", "Good", CHEN),
            Saying("mqa", "quality", "Low", CODE),
            Saying("mqa", "quality", "drops significantly", EVOLUTION),
            Saying("mqa", "quality", "Weak", DEEPSEEK),
        ),
        None,
    ),
)
