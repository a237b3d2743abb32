"""Traces of requests: when each arrived, and how many tokens it brought and got. As data; nothing is computed here."""

from kvcalc.traces.read import read_trace
from kvcalc.traces.trace import Hashes, Trace

__all__ = ["Hashes", "Trace", "read_trace"]
