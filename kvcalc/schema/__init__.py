"""The JSON Schema of what commands print, made from the types of their results."""

from kvcalc.schema.outputs import commands, output_schema

__all__ = ["commands", "output_schema"]
