"""The model of a scenario: named, or described by numbers; completed by what is given beside its file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvcalc.catalogue import find_model
from kvcalc.catalogue.found_model import FoundModel
from kvcalc.errors import KvcalcError
from kvcalc.formats.by_name import find_format
from kvcalc.formats.element import COMPUTE_FORMATS
from kvcalc.model.ad_hoc import DEFAULT_MLA_HEAD_DIM, AdHoc
from kvcalc.model.model import Model
from kvcalc.named_tuple import NamedTuple
from kvcalc.note import Note, note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    AnyModel = Model | FoundModel | str | Path


class DescribedModel(NamedTuple):
    """A model.

    Attributes:
        origin: where it came from, for messages.
        notes: what was assumed of it.
        engine: that its file is for; None where it is for any.
    """

    model: Model
    origin: str
    notes: tuple[Note, ...] = ()
    engine: str | None = None


def described_model(model: AnyModel | None, given: Mapping[str, Any]) -> DescribedModel:
    """The model that is named, or the one that the numbers of the options describe.

    Args:
        model: a model, one that was found, a name or a path; None leaves it to the numbers.
        given: every option of a scenario, read.

    Raises:
        KvcalcError: there is none, its file has mistakes, or options contradict it.
    """
    found = _found(model, AdHoc(*(given[name] for name in AdHoc._fields)), given["assume"] or {})
    for option in ("weight_dtype", "parameters"):
        if given["weights"] is not None and given[option] is not None:
            name = option.replace("_", "-")
            raise KvcalcError(f"--weights: gives the size, so --{name} has nothing to say; give one of them")
    return found._replace(model=_completed(found.model, given["dtype"], given["parameters"]))


def _found(model: AnyModel | None, numbers: AdHoc, assumed: Mapping[str, Any]) -> DescribedModel:
    if model is None:
        if not numbers.given:
            raise KvcalcError("MODEL: missing; name a model (kvcalc models list) or describe one with --layers ...")
        if assumed:
            raise KvcalcError("--assume: decides what an imported file does not say, and MODEL is not given")
        return DescribedModel(numbers.model(), "the command line", _default_dims(numbers))
    if numbers.given:
        name = model.name if isinstance(model, Model) else model.origin if isinstance(model, FoundModel) else str(model)
        raise KvcalcError(f"{numbers.given[0]}: describes a model without a file, and '{name[:100]}' names one")
    if isinstance(model, Model):
        return DescribedModel(model, "the model")
    found = model if isinstance(model, FoundModel) else find_model(str(model), assumed)
    return DescribedModel(found.model, found.origin, found.notes, found.engine)


def _default_dims(numbers: AdHoc) -> tuple[Note, ...]:
    """What is used for dims that are not given."""
    if numbers.kv_lora_rank is None:
        return ()
    taken = f"{DEFAULT_MLA_HEAD_DIM} is used for what is not given"
    return (note("default-mla-dims", f"qk_nope_head_dim and v_head_dim do not enter the cache: {taken}"),)


def _completed(model: Model, dtype: str | None, parameters: int | None) -> Model:
    """The model with what was given beside its file."""
    if parameters is not None:
        if model.weights:
            raise KvcalcError(
                f"--parameters: {model.name} lists its weights part by part; --weights SIZE replaces them"
            )
        if parameters <= model.parameters_beside_text:
            raise KvcalcError(
                f"--parameters: {parameters:,} are no more than the model's towers and tables have, which "
                f"are among them: {model.parameters_beside_text:,}"
            )
        model = replace(model, parameters=parameters)
    if dtype is None:
        return model
    found = find_format(dtype, "--dtype").name
    if found not in COMPUTE_FORMATS:
        raise KvcalcError(
            f"--dtype: models compute in {', '.join(COMPUTE_FORMATS)}; --cache-dtype {found} is the format of the "
            f"cache, --weight-dtype {found} of the weights"
        )
    return replace(model, dtype=found)
