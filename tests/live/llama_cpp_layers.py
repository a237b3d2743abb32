"""Over cards that are not there, which layers each has by llama.cpp and by kvcalc: shares drawn by chance.

`python llama_cpp_layers.py` ends with 'all alike', or with the first that differs.
"""

from __future__ import annotations

import random
import sys
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from llama_cpp_shapes import dense  # found there
from llama_cpp_sizes import LlamaCpp  # likewise

from kvcalc.engines.llama_cpp.layers import shared_out
from kvcalc.errors import KvcalcError

CARDS = 4
TIMES = 60


def main() -> str:
    chance, lib = random.Random(16), LlamaCpp(cards=CARDS)  # noqa: S311  # no secret
    for _ in range(TIMES):
        layers = chance.randint(8, 90)
        shape = dense("llama", 1024, 2048, 8, 8, 128, layers=layers)
        on_cards, shares = chance.randint(6, layers + 1), tuple(chance.randint(1, 80) for _ in range(CARDS))
        model = lib.model(shape.arch, shape.vocab, shape.metadata, tuple(map(float, shares)), n_gpu_layers=on_cards)
        devices = lib.layers_of(model)
        lib.free(model)
        printed = tuple(devices.count(f"CUDA{card}") for card in range(CARDS))
        first = layers + 1 - on_cards
        try:
            counted = shared_out(layers, first, [Fraction(share) for share in shares])
        except KvcalcError:
            if min(printed):
                return f"{layers}, {on_cards}, {shares}: {printed}, and kvcalc refuses"
            continue
        if (counted[0] - first, *counted[1:]) != printed:
            return f"{layers}, {on_cards}, {shares}: {printed} printed, {counted} counted"
    return "all alike"


if __name__ == "__main__":
    sys.stdout.write(f"{main()}\n")
