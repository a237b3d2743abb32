"""The synthetic traces that ship, drawn from a seed: `python tests/traces/synthetic_traces.py --write` writes them.

- `chat`, as Azure's traces are written: 600 requests in twelve minutes, twice as many a second from the fourth to the
  sixth minute. Gaps are exponential, prompts and outputs log-normal (medians 800 and 180 tokens).
- `agents`, as Mooncake's are: 40 sessions of up to 12 turns. A turn's prompt is the one before, its output and some
  more tokens, after 1,536 tokens that all sessions share. Blocks of 512 tokens have equal names where prefixes are
  equal.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "configs" / "traces"
BLOCK = 512
SHARED = 3 * BLOCK
BEGIN = datetime(2026, 1, 5, 9, tzinfo=UTC)
MINUTES, BUSY = 12, range(4, 7)


def chat(seed: int = 1) -> Iterator[str]:
    """Lines of a CSV."""
    draw = random.Random(seed)  # noqa: S311  # no secret
    yield "TIMESTAMP,ContextTokens,GeneratedTokens"
    seconds = 0.0
    for _ in range(600):
        busy = int(seconds // 60) in BUSY
        seconds += -math.log(1 - draw.random()) / (1.4 if busy else 0.7)
        prompt, output = _tokens(draw, 800, 1.0, 12_000), _tokens(draw, 180, 0.8, 1500)
        moment = BEGIN + timedelta(seconds=seconds)
        yield f"{moment:%Y-%m-%d %H:%M:%S.%f}0,{prompt},{output}"


def agents(seed: int = 2) -> Iterator[str]:
    """Lines of JSON."""
    draw = random.Random(seed)  # noqa: S311  # no secret
    turns, names = list[tuple[int, int, int, list[int]]](), iter(range(10**6))
    common = [next(names) for _ in range(SHARED // BLOCK)]
    for _ in range(40):
        milliseconds, own, prompt = draw.randrange(600_000), list[int](), SHARED
        for _ in range(draw.randint(1, 12)):
            prompt += _tokens(draw, 400, 0.9, 6000)
            output = _tokens(draw, 250, 0.7, 2000)
            whole = prompt // BLOCK - len(common)
            own += [next(names) for _ in range(whole - len(own))]
            last = [next(names)] if prompt % BLOCK else []  # what is not whole is in no longer prompt
            turns.append((milliseconds, prompt, output, [*common, *own, *last]))
            prompt += output
            milliseconds += round(1000 * (output / 40 + draw.expovariate(1 / 15)))
    for at, prompt, output, blocks in sorted(turns):
        yield json.dumps({"timestamp": at, "input_length": prompt, "output_length": output, "hash_ids": blocks})


def _tokens(draw: random.Random, median: int, spread: float, most: int) -> int:
    return min(most, max(1, round(median * math.exp(draw.gauss(0, spread)))))


FILES = {"chat.csv": chat, "agents.jsonl": agents}

if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    for name, lines in FILES.items():
        (FOLDER / name).write_text("\n".join(lines()) + "\n", encoding="utf-8")
