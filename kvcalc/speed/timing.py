"""Taking time: warm-up, enough samples, their spread, and a refusal where it says that the median means nothing."""

from __future__ import annotations

from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple

from kvcalc.errors import CannotRunError
from kvcalc.speed.rates import Timed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEAST_SAMPLES = 20
WARM_UP = 3
MOST_SPREAD = 0.3
"""Where half of the samples differ by more than this share of the median, it says little."""
ROUNDS = 4
"""How often all samples are taken anew before that is refused."""


class Stopwatch(NamedTuple):
    """How time is taken.

    Attributes:
        clock: seconds, as `time.perf_counter`.
        wait: until the device has done all that was asked for.
        samples: of each thing.
    """

    clock: Callable[[], float]
    wait: Callable[[], None]
    samples: int = LEAST_SAMPLES

    def once(self, run: Callable[[int], object], turn: int = 0) -> float:
        """Seconds of one run."""
        self.wait()
        start = self.clock()
        run(turn)
        self.wait()
        return self.clock() - start

    def timed(self, what: str, run: Callable[[int], object], before: Callable[[], object] | None = None) -> Timed:
        """The samples of a run, which is told its turn, so that it takes other data than the one before.

        Args:
            what: for the message.
            run: what is timed.
            before: what is done before each sample, and not timed.

        Raises:
            CannotRunError: the samples spread too far, in every round.
        """
        for turn in range(WARM_UP):
            run(turn)
        found: list[Timed] = []
        for round_ in range(1, ROUNDS + 1):
            samples = []
            for turn in range(self.samples):
                if before is not None:
                    before()
                samples.append(self.once(run, turn))
            found.append(summed_up(samples, round_))
            if found[-1].spread <= MOST_SPREAD:
                return found[-1]
        spreads = ", ".join(f"{each.spread:.0%}" for each in found)
        raise CannotRunError(
            f"{what}: times spread too far to mean anything ({spreads} of the median in {ROUNDS} rounds, where "
            f"{MOST_SPREAD:.0%} is the most): let nothing else run on this machine, and measure again"
        )


def summed_up(samples: Sequence[float], rounds: int = 1) -> Timed:
    """Median and quartiles of some samples."""
    low, median, high = quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else (samples[0],) * 3
    return Timed(median, low, high, (high - low) / median if median else 0.0, rounds, tuple(samples))
