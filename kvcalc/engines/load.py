"""What a replica is asked to hold: sequences of one length, or of several."""

from __future__ import annotations

from kvcalc.named_tuple import NamedTuple


class Alike(NamedTuple):
    """Sequences of one length.

    Attributes:
        sequences: how many.
        context: tokens of each.
    """

    sequences: int
    context: int


class Load(NamedTuple):
    """What a replica is asked to hold.

    Attributes:
        sequences: held at the same time.
        context: tokens of each; 0 asks for what a sequence costs before its first token. Where they differ, tokens of
            the longest that must be served, whether one of those held is as long or not.
        shared_prefix: first tokens of the context that all of them share; no more than the shortest has.
        mixed: the sequences by their lengths, where they differ: together they are `sequences`.
        prefixes: how many such prefixes there are, each shared by some of the sequences.
    """

    sequences: int
    context: int
    shared_prefix: int = 0
    mixed: tuple[Alike, ...] = ()
    prefixes: int = 1

    @property
    def alike(self) -> tuple[Alike, ...]:
        """The sequences by their lengths."""
        return self.mixed or (Alike(self.sequences, self.context),)

    @property
    def tokens(self) -> int:
        """Of all sequences, each with its own copy of what it shares."""
        return sum(sequences * context for sequences, context in self.alike)

    @property
    def prefixes_kept(self) -> int:
        """Prefixes that are there: of each, at least one sequence is held."""
        return min(self.prefixes, self.sequences)

    def and_one_more(self) -> Load:
        """With another of the longest."""
        mixed = (*self.mixed, Alike(1, self.context)) if self.mixed else ()
        return self._replace(sequences=self.sequences + 1, mixed=mixed)
