"""Names of models that the catalogue lacks for a reason: encoders keep no cache, and some are not published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvcalc.catalogue.typed_name import TypedName

_START, _END = r"(?:^|[-_./ ])", r"(?![a-z])"

_ENCODERS = re.compile(
    _START
    + r"""(?:all[-_](?:minilm|mpnet|roberta|distilroberta)|paraphrase[-_](?:multilingual|minilm|mpnet)
      | (?:multi|ms[-_]marco|multi[-_]qa)[-_](?:minilm|mpnet)
      | (?:distil|modern|neo|bio|fin|sci|legal|xlm[-_]|nomic[-_])?(?:bert|roberta) | camembert
      | deberta(?:[-_]v[23])? | electra | albert
      | bge[-_](?:m3|small|base|large|micro|reranker[-_](?:base|large|v2[-_]m3))
      | (?:multilingual[-_])?e5[-_](?:small|base|large)
      | gte[-_](?:small|base|large|multilingual)
      | embeddinggemma | nomic[-_]embed | mxbai[-_]embed | snowflake[-_]arctic[-_]embed | granite[-_]embedding
      | jina[-_](?:embeddings?[-_]v[23]|bert|colbert) | (?:mod(?:ern)?)?colbert | splade
      | (?:open)?clip[-_]vit | siglip2? | dinov[23] | wav2vec2 | hubert | vit[-_](?:base|large|huge))"""
    + _END,
    re.VERBOSE,
)
"""Families whose models are all encoders, by how their names begin. Embedding models that are decoders are not among
them: e5-mistral, gte-qwen2, bge-multilingual-gemma2, qwen3-embedding."""

_CLOSED = re.compile(
    r"^(?:(?:open)?chatgpt|gpt[-_ ]?(?:3\.5|4|5)(?!\d|all)|o[134](?:[-_]|$)|claude|gemini|palm[-_ ]?2"
    r"|grok[-_ ]?[34](?!\d)|nova[-_ ](?:pro|lite|micro|premier))"
)
"""Models that are served and not published, by how their names begin."""

_THEIR_MAKERS = frozenset({"", "openai", "anthropic", "google", "x-ai", "xai", "~openai", "~anthropic", "~google"})
"""Who serves them, as gateways write it before a slash: openai/gpt-4o. Others' repositories may have such a name."""


def why_not_here(typed: TypedName) -> str | None:
    """Why no file can say what a model keeps, to go on after its name; None where none of these reasons is known.

    Args:
        typed: the name. One with another organisation than its maker's is a repository, so it is published.
    """
    lowered = typed.name.lower()
    if _ENCODERS.search(lowered) is not None:
        return "is an encoder by its name, which keeps no cache: nothing grows with the context"
    if typed.organisation.lower() in _THEIR_MAKERS and _CLOSED.match(lowered) is not None:
        return "is served by its maker alone: neither its weights nor its sizes are published"
    return None
