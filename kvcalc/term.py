"""Numbers that explain themselves: a byte count and its formula are one object, so they cannot disagree.

A term is a `Product` of named integers, a `Share` of another term, or a `Sum` of terms.
"""

from __future__ import annotations

from kvcalc.named_tuple import NamedTuple

GIVEN = "given by the user"
"""The source of a figure that the user gave."""


class Factor(NamedTuple):
    """One named integer of a product.

    Attributes:
        name: an identifier, the word that formulas use ('layers', 'head_dim').
        value: the number.
        noun: what it counts, in the singular ('layer', 'block of 32'), for people; or nothing.
        derived: how it follows from fields of the model where it is none of them, in words and in numbers:
            ('conv_kernel - 1', '4 - 1'); or nothing.
    """

    name: str
    value: int
    noun: str = ""
    derived: tuple[str, str] | None = None

    def __str__(self) -> str:
        thing, *rest = self.noun.split(" ", 1)
        plural = "s" if thing and self.value != 1 else ""
        return " ".join([f"{self.value:,}", *([thing + plural] if thing else []), *rest])


class Product(NamedTuple):
    """A leaf: factors that multiply to its bytes.

    Attributes:
        path: its place in the tree, for example 'gqa 64/8 x 128: k+v'.
        factors: at least one.
        source: where the figure or the formula comes from, if it is not the model's own file.
    """

    path: str
    factors: tuple[Factor, ...]
    source: str = ""

    @property
    def bytes(self) -> int:
        product = 1
        for factor in self.factors:
            product *= factor.value
        return product

    @property
    def formula(self) -> str:
        """The names multiplied: 'k_and_v x layers x ...'."""
        return " x ".join(factor.name for factor in self.factors)

    @property
    def numbers(self) -> str:
        """The formula with its numbers: '2 x 80 layers x ...'."""
        return " x ".join(str(factor) for factor in self.factors)

    def times(self, factor: Factor) -> Product:
        return self._replace(factors=(*self.factors, factor))


class Share(NamedTuple):
    """A part of a term that is divided evenly, rounded up to a whole byte.

    Attributes:
        whole: what is divided.
        among: into how many.
        part: how many of those this is.
        unit: what the whole counts.
    """

    path: str
    whole: Term
    among: Factor
    part: Factor | None = None
    unit: str = "bytes"

    @property
    def bytes(self) -> int:
        part = 1 if self.part is None else self.part.value
        return -(-self.whole.bytes * part // self.among.value)

    @property
    def formula(self) -> str:
        part = "" if self.part is None else f" x {self.part.name}"
        return f"ceil({self.whole.path}{part} / {self.among.name})"

    @property
    def numbers(self) -> str:
        part = "" if self.part is None else f" x {self.part}"
        return f"{self.whole.bytes:,} {self.unit}{part} / {self.among}"


class Sum(NamedTuple):
    """Terms added up. An empty sum is zero bytes."""

    path: str
    parts: tuple[Term, ...]

    @property
    def bytes(self) -> int:
        total = 0
        for part in self.parts:
            total += part.bytes
        return total

    @property
    def formula(self) -> str:
        return " + ".join(part.path for part in self.parts) or "nothing"

    @property
    def numbers(self) -> str:
        return " + ".join(f"{part.bytes:,}" for part in self.parts) or "0"


Term = Product | Share | Sum


def leaves(term: Term) -> tuple[Product, ...]:
    """The products under a term that divides nothing, in order: their bytes add up to the term's."""
    match term:
        case Product():
            return (term,)
        case Sum(parts=parts):
            return tuple(leaf for part in parts for leaf in leaves(part))
        case Share(path=path):
            raise TypeError(f"{path} is a share of its leaves, not their sum")
