"""How many weights the layers that predict further tokens have, in which format, and how ranks share them."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.formats.weights import find_weight_format, is_plain
from kvcalc.mechanisms import GQA, MHA, MLA, MQA, Compressed
from kvcalc.model.model import WeightPart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kvcalc.mechanisms import Mechanism
    from kvcalc.model.layers import Layer
    from kvcalc.model.model import Model, Split


class Family(NamedTuple):
    """How a family's layer differs from the model's last that keeps every token.

    Attributes:
        windowed: whether it is like the last with a window.
        dense: whether it has the dense feed-forward block of a model of experts.
        divided: whether ranks share the matrix that joins; else each has it whole.
        own_heads: whether each layer has an output head of its own.
        plain_outputs: whether attention's output stays in the model's dtype where the checkpoint is quantised.
        told: whether its matrices follow from the model's dims.
        source: of that.
    """

    windowed: bool = False
    dense: bool = False
    divided: bool = False
    own_heads: bool = False
    plain_outputs: bool = False
    told: bool = True
    source: str = "vLLM 0.33.0, vllm/model_executor/models/deepseek_mtp.py, glm4_moe_mtp.py, mimo_mtp.py: eh_proj"

    @property
    def like_last(self) -> bool:
        """Whether it is like the model's last layer in all but what it joins."""
        return self.told and not (self.windowed or self.dense or self.own_heads)


_QWEN = Family(divided=True, source="vLLM 0.33.0, vllm/model_executor/models/qwen3_next_mtp.py, qwen3_5_mtp.py: fc")
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

LEFT_PLAIN = frozenset({"nvfp4"})
"""Formats of checkpoints that leave these layers in the model's dtype, whatever else is quantised: NVIDIA's
hf_quant_config excludes mtp*, and the recipes of llm-compressor ignore them. Of Qwen3.6-27B in nvfp4 vLLM 0.20 loads
0.79 GiB more with them, of Qwen3.6-35B-A3B 1.57 (99sono/DockerBuildFiles)."""

RESIDUAL_STREAMS = 4
"""Of both DeepSeek-V4 (hc_mult of their config.json): the matrices that mix them stay in fp32."""

MOST_BESIDE = 20
"""Norms, gates, biases and an indexer are less than one in so many of a layer's parameters."""


def family_of(model: Model) -> Family:
    """How the layers of this model differ."""
    return FAMILIES.get(model.model_type or "", Family())


class _Matrix(NamedTuple):
    """Alike matrices of a layer."""

    rows: int
    columns: int
    number: int = 1

    @property
    def parameters(self) -> int:
        return self.rows * self.columns * self.number

    def scales(self, block: int) -> int:
        """One for each block x block, also where a matrix ends within it."""
        return -(-self.rows // block) * -(-self.columns // block) * self.number


class _Block(NamedTuple):
    """The matrices of one of the layers.

    Attributes:
        divided: that tensor-parallel ranks divide.
        whole: that each rank holds whole: what makes latents, and an indexer's.
        left: those of them that quantised checkpoints leave in the model's dtype.
    """

    experts: tuple[_Matrix, ...]
    divided: tuple[_Matrix, ...]
    whole: tuple[_Matrix, ...]
    left: tuple[_Matrix, ...]


class _Stored(NamedTuple):
    """The formats of a checkpoint's matrices.

    Attributes:
        block: rows and columns that share a scale in fp32, where scales are parts of their own.
    """

    experts: str
    layers: str
    block: int | None


def mtp_weights(model: Model, kept: Layer, layers: int) -> Iterator[WeightPart]:
    """The weights of so many of the layers; none where the file does not tell how many, or in which format."""
    if isinstance(kept.attention, Compressed):
        yield from _without_entries(model, kept.attention, layers)
        return
    total, family, plain = model.mtp_parameters, family_of(model), model.dtype or "bf16"
    stored, hidden = _stored(model, plain), model.hidden_size
    if total is None or stored is None or hidden is None:
        return
    if not family.told:
        if stored.layers == plain:
            yield WeightPart(part="layers that predict further tokens", parameters=total, format=plain)
        return
    block = _block(model, kept, hidden)
    if block is None:
        return
    heads = layers * (model.vocab_size or 0) * hidden if family.own_heads else 0
    total = total * layers // (model.mtp_layers or layers)
    joining = layers * 2 * hidden * hidden
    rest = total - joining - heads - layers * sum(each.parameters for some in block for each in some)
    if not 0 <= rest * MOST_BESIDE <= total:
        return
    yield from _quantised("routed experts", block.experts, layers, stored.experts, stored, "ep", plain)
    yield from _quantised("attention and feed-forward", block.divided, layers, stored.layers, stored, "tp", plain)
    yield from _quantised("latent down-projections", block.whole, layers, stored.layers, stored, "stage", plain)
    if block.left:
        outputs = layers * sum(each.parameters for each in block.left)
        yield WeightPart(part="attention outputs", parameters=outputs, format=plain)
    joined_by: Split = "tp" if family.divided else "stage"
    yield WeightPart(part="joining of embedding and hidden state", parameters=joining, format=plain, split=joined_by)
    if heads:
        yield WeightPart(part="output heads of their own", parameters=heads, format=plain)
    if rest:
        yield WeightPart(part="routers, norms and the like", parameters=rest, format=plain, split="stage")


def _without_entries(model: Model, attention: Compressed, layers: int) -> Iterator[WeightPart]:
    """As the model's other layers, without compressors and indexers, and two matrices that join, stored as latents."""
    hidden, queries = model.hidden_size or 0, attention.q_lora_rank or 0
    shared = [part for part in model.weights if part.place == "layers" and part.split in {"ep", "tp"}]
    whole = next((part for part in model.weights if part.split == "stage" and part.weight_block_size), None)
    if not hidden or whole is None or whole.weight_block_size is None:
        return
    for part in shared:
        yield replace(part, parameters=part.parameters * layers // model.num_layers)
    latents = _Matrix(queries, hidden), _Matrix(attention.head_dim, hidden), _Matrix(hidden, hidden, 2)
    parameters = layers * sum(each.parameters for each in latents)
    scales = layers * sum(each.scales(whole.weight_block_size) for each in latents)
    yield replace(whole, part="latent down-projections and joining", parameters=parameters)
    form = next((part.format for part in model.weights if part.scales and part.split == "stage"), whole.format)
    yield WeightPart(part="scales of them", parameters=scales, format=form, split="stage", scales=True)
    norms = 5 * hidden + queries + attention.head_dim
    plain = layers * ((model.num_experts or 0) * hidden + norms)
    yield WeightPart(part="routers and norms", parameters=plain, format=model.dtype or "bf16", split="stage")
    streams = RESIDUAL_STREAMS
    mixed = (2 + streams) * streams
    mixing = 2 * (mixed * (streams * hidden + 1) + 3) + streams * (streams * hidden + 1) + 1
    yield WeightPart(part="residual streams", parameters=layers * mixing, format="fp32", split="stage")


def _quantised(
    name: str, matrices: tuple[_Matrix, ...], layers: int, form: str, stored: _Stored, split: Split, plain: str
) -> Iterator[WeightPart]:
    """Matrices, and their scales where those are a part of their own."""
    if not matrices:
        return
    block = stored.block if form != plain else None
    yield WeightPart(
        part=name,
        parameters=layers * sum(each.parameters for each in matrices),
        format=form,
        split=split,
        weight_block_size=block,
        projections=split == "tp",
    )
    if block is not None:
        scales = layers * sum(each.scales(block) for each in matrices)
        yield WeightPart(part=f"scales of {name}", parameters=scales, format="fp32", split=split, scales=True)


def _stored(model: Model, plain: str) -> _Stored | None:
    """As the model's other layers are; None where those of a quantised checkpoint may be stored otherwise."""
    if not model.weights:
        form = model.weight_dtype or plain
        return _Stored(plain, plain, None) if is_plain(find_weight_format(form, "weight_dtype")) else None
    of_layers = [part for part in model.weights if part.place == "layers" and not part.scales and part.split != "all"]
    experts = next((part.format for part in of_layers if part.split == "ep"), plain)
    formats = {part.format for part in of_layers if part.split != "stage"} - {plain}
    scales = any(part.scales and part.format == "fp32" for part in model.weights)
    blocks = {part.weight_block_size for part in of_layers if part.format != plain}
    if not formats or not formats.isdisjoint(LEFT_PLAIN):
        return _Stored(plain, plain, None)
    if formats == {"fp8"} and scales and len(blocks) == 1:  # scales in blocks, of these layers too, as in FP8 releases
        return _Stored(experts, "fp8", blocks.pop())
    return None


def _block(model: Model, kept: Layer, hidden: int) -> _Block | None:
    family, width = family_of(model), model.moe_intermediate_size or 0
    with_experts = model.is_mixture_of_experts and not family.dense
    experts = _feed_forward(hidden, width, model.num_experts or 0) if with_experts else ()
    feeding = (model.num_shared_experts or 0) * width if with_experts else model.intermediate_size or 0
    found = _attention(kept.attention, hidden, gated=family is _QWEN)
    if found is None:
        return None
    inputs, output, whole = found
    dense = _feed_forward(hidden, feeding, 1) if feeding else ()
    if family.plain_outputs:
        return _Block(experts, (*inputs, *dense), whole, (output,))
    return _Block(experts, (*inputs, output, *dense), whole, ())


def _feed_forward(hidden: int, width: int, count: int) -> tuple[_Matrix, ...]:
    """With a gate."""
    return _Matrix(width, hidden, 2 * count), _Matrix(hidden, width, count)


def _attention(
    attention: Mechanism, hidden: int, *, gated: bool
) -> tuple[tuple[_Matrix, ...], _Matrix, tuple[_Matrix, ...]] | None:
    """What ranks divide, the output, and what each holds whole; None of another mechanism."""
    match attention:
        case MLA():
            heads, rank = attention.num_heads, attention.q_lora_rank
            queries = heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
            up = heads * (attention.qk_nope_head_dim + attention.v_head_dim)
            latent = _Matrix(queries, rank or hidden), _Matrix(up, attention.kv_lora_rank)
            narrow = attention.index_n_heads  # an indexer's weights of heads, which stay in the model's dtype
            whole = (_Matrix(p.rows, p.columns) for p in attention.projections(hidden) if p.rows != narrow)
            return latent, _Matrix(hidden, heads * attention.v_head_dim), tuple(whole)
        case GQA() | MHA() | MQA():
            of = attention.heads
            keys, wide = of.num_kv_heads or of.num_heads, of.v_head_dim or of.head_dim
            asked = of.num_heads * of.head_dim * (2 if gated else 1)
            inputs = _Matrix(asked, hidden), _Matrix(keys * of.head_dim, hidden), _Matrix(keys * wide, hidden)
            return inputs, _Matrix(hidden, of.num_heads * wide), ()
        case _:
            return None
