"""Heads of keys and values: how many there are, and how wide, under the names that families give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.importers.imported_layer import AttentionBlock, block_of_heads
from kvcalc.importers.key_checks import refuse_differing
from kvcalc.importers.sourced import Sourced

if TYPE_CHECKING:
    from kvcalc.importers.config import Config

HEADS = ("num_attention_heads", "n_head", "n_heads")
HIDDEN = ("hidden_size", "n_embd", "n_embed", "d_model", "model_dim")


def usual_heads(config: Config, *width_names: str) -> AttentionBlock:
    """num_key_value_heads, of which there are as many as heads where the key is null or missing.

    Args:
        config: of the family.
        width_names: other names of head_dim.
    """
    refuse_differing(config, "num_key_value_heads", "n_head_kv")
    heads = config.count(*HEADS)
    kv_heads = config.optional_count("num_key_value_heads", "n_head_kv") or heads.because(
        "no num_key_value_heads: as many as query heads"
    )
    return block_of_heads(config, heads, kv_heads, head_dim_of(config, heads, "head_dim", *width_names))


def all_heads(config: Config) -> AttentionBlock:
    """Families whose class knows neither num_key_value_heads nor head_dim: as many as heads, hidden_size / heads wide.

    Raises:
        KvcalcError: a key that the class does not read has another value.
    """
    heads = config.count(*HEADS)
    width = hidden_per_head(config, heads)
    _refuse_other(config, "num_key_value_heads", heads)
    _refuse_other(config, "head_dim", width)
    return block_of_heads(config, heads, heads.because("every head has its own key and value"), width)


def _refuse_other(config: Config, name: str, implied: Sourced) -> None:
    """Refuse a key that the class does not read, where its value is not the one that the class takes."""
    stated = config.optional_count(name)
    if stated is not None and stated.value != implied.value:
        raise config.refusal(
            f"{name} is {stated.value}, and this family's class takes {implied.value} whatever it says"
        )


def head_dim_of(config: Config, heads: Sourced, *names: str) -> Sourced:
    """head_dim, else hidden_size / heads.

    Raises:
        KvcalcError: heads do not divide hidden_size.
    """
    return config.optional_count(*(names or ("head_dim",))) or hidden_per_head(config, heads)


def hidden_per_head(config: Config, heads: Sourced) -> Sourced:
    """hidden_size / heads, whatever head_dim says.

    Raises:
        KvcalcError: heads do not divide hidden_size.
    """
    hidden = config.count(*HIDDEN)
    if hidden.value % heads.value:
        raise config.refusal(f"it has no head_dim, and {hidden.value} / {heads.value} heads is no whole number")
    return Sourced(hidden.value // heads.value, f"no head_dim: {hidden.reason} / {heads.reason}")


def falcon_heads(config: Config) -> AttentionBlock:
    """multi_query decides, unless new_decoder_architecture does; num_kv_heads counts only in the latter.

    Raises:
        KvcalcError: keys that the class does not read have other values.
    """
    heads = config.count(*HEADS)
    width = hidden_per_head(config, heads)
    _refuse_other(config, "head_dim", width)
    config.ignore("multi_query", "num_kv_heads", "n_head_kv")
    unsaid = config.get("new_decoder_architecture") is None and config.get("n_head_kv") is not None
    if config.flag("new_decoder_architecture") or unsaid:  # the first files of Falcon-40B do not say so
        given = config.count("num_kv_heads", "n_head_kv")
        kv_heads = given.because(f"{given.reason}, as new_decoder_architecture is true")
    elif config.flag("multi_query"):
        kv_heads = Sourced(1, "multi_query is true and new_decoder_architecture false")
    else:
        kv_heads = heads.because("multi_query and new_decoder_architecture are false")
    _refuse_other(config, "num_key_value_heads", kv_heads)
    return block_of_heads(config, heads, kv_heads, width)


def chatglm_heads(config: Config) -> AttentionBlock:
    """multi_query_group_num heads where multi_query_attention is true."""
    heads = config.count(*HEADS)
    width = head_dim_of(config, heads, "kv_channels")
    config.ignore("multi_query_group_num")
    if config.flag("multi_query_attention"):
        groups = config.count("multi_query_group_num")
        return block_of_heads(
            config, heads, groups.because("multi_query_group_num, as multi_query_attention is true"), width
        )
    return block_of_heads(config, heads, heads.because("multi_query_attention is false"), width)


def bigcode_heads(config: Config) -> AttentionBlock:
    """One where multi_query is true."""
    heads = config.count(*HEADS)
    width = hidden_per_head(config, heads)
    kv_heads = (
        Sourced(1, "multi_query is true") if config.flag("multi_query") else heads.because("multi_query is false")
    )
    _refuse_other(config, "num_key_value_heads", kv_heads)
    _refuse_other(config, "head_dim", width)
    return block_of_heads(config, heads, kv_heads, width)


def nested_heads(config: Config) -> AttentionBlock:
    """MPT, DBRX: kv_n_heads inside attn_config; MPT may say multiquery_attention instead."""
    heads = config.count(*HEADS)
    width = hidden_per_head(config, heads)
    inner = config.part("attn_config", optional=True)
    kind = inner.get("attn_type")
    if kind is not None and kind.value == "multiquery_attention":
        kv_heads = Sourced(1, "attn_config: attn_type is multiquery_attention")
    else:
        kv_heads = inner.optional_count("kv_n_heads") or heads.because("no attn_config.kv_n_heads: as many as heads")
    _refuse_other(config, "num_key_value_heads", kv_heads)
    _refuse_other(config, "head_dim", width)
    return block_of_heads(config, heads, kv_heads, width)


def grouped_heads(config: Config) -> AttentionBlock:
    """Step3: num_attention_groups is the number of KV heads."""
    heads = config.count(*HEADS)
    return block_of_heads(config, heads, config.count("num_attention_groups"), head_dim_of(config, heads))
