"""What is said of a name that is none of the catalogue's: why it is not there, or what may be meant."""

from __future__ import annotations

from kvcalc.access import is_closed
from kvcalc.catalogue import shipped
from kvcalc.catalogue.address import is_address
from kvcalc.catalogue.name_index import known_names
from kvcalc.catalogue.name_words import spelled
from kvcalc.catalogue.not_a_model import not_a_model
from kvcalc.catalogue.not_here import why_not_here
from kvcalc.catalogue.suggestions import nearest_names, step
from kvcalc.catalogue.typed_name import typed_name


def no_such_model(text: str) -> tuple[str, ...]:
    """The lines of the message; the last is a command that helps, unless the first says why there is no cache."""
    typed = typed_name(text)
    shown = (typed.repository if is_address(text) else text)[:100]
    reason = why_not_here(typed)
    if reason is not None:
        return (f"model: '{shown}' {reason}",)
    other = None if typed.organisation else not_a_model(text)
    if other is not None:
        return other
    several = [name.strip() for name in text.split(",")]
    if len(several) > 1 and {spelled(name) for name in several} <= {known.spelled for known in known_names()}:
        said = "are several models; compare them, or sweep, which takes commas"
        return (f"model: '{shown}' {said}", *step(f"compare {' '.join(several)}"))
    missing = f"model: no file, name or hub id '{shown}'"
    nearest = nearest_names(typed.name.rpartition("/")[2])
    if nearest is not None:
        first, *more = nearest.lines
        return (f"{missing}; {first}", *more, *step(f"estimate {nearest.paths[0].stem}"))
    known = f"{len(shipped.names_in(shipped.MODELS))} names are in the catalogue"
    if is_closed():
        return (f"{missing}; {known}; the text of a config.json works too",)
    path = "a path to a YAML file or a config.json works too"
    elsewhere = f"'hf:{shown}' asks the Hub" if typed.organisation else path
    return (f"{missing}; {known}; {elsewhere}", *step("models list"))
