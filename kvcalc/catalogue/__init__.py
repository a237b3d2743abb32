"""Finding a model or an accelerator: by name among the files that ship with kvcalc, in a user's file, or on the Hub.

`models.py` and `gpus.py` find them. `shipped.py` reads the files that ship, `hub_ids.py` searches them for a name on
the Hub, `by_name.py` for what a name as people type it is meant for (`name_words.py` knows its words, `derived.py` what
it says of the weights, `suggestions.py` what to offer instead). `yaml_reader.py` reads any YAML and keeps the place of
each value; `validation.py` makes a model or a GPU of it.
"""

from kvcalc.catalogue.found_model import FoundModel
from kvcalc.catalogue.gpus import find_gpu, gpu_names, shipped_gpus
from kvcalc.catalogue.models import find_model, meant_model, model_names, named_model, shipped_models
from kvcalc.catalogue.shipped import CONFIGS

__all__ = [
    "CONFIGS",
    "FoundModel",
    "find_gpu",
    "find_model",
    "gpu_names",
    "meant_model",
    "model_names",
    "named_model",
    "shipped_gpus",
    "shipped_models",
]
