"""Integers that remember where they come from: linear forms over unknown sizes, and the equations between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Number = int | Fraction

ATTRIBUTE = "attribute "
"""What the name of an unknown begins with that is an integer a module keeps."""

COUNTED = 8
"""Such an integer is taken for a number of paths or levels below this, and may be a width from here on."""


def _plain(value: Number) -> Number:
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 else value


class Form:
    """``constant + Σ coefficient · variable``, immutable. A variable is the index of an unknown size in `Ties`."""

    __slots__ = ("constant", "terms")

    def __init__(self, constant: Number, terms: Mapping[int, Number] | None = None) -> None:
        self.constant = constant
        self.terms = dict(terms) if terms else {}

    def __add__(self, other: Form | Number) -> Form:
        if not isinstance(other, Form):
            return Form(_plain(self.constant + other), self.terms)
        terms = dict(self.terms)
        for variable, factor in other.terms.items():
            total = _plain(terms.get(variable, 0) + factor)
            if total:
                terms[variable] = total
            else:
                terms.pop(variable, None)
        return Form(_plain(self.constant + other.constant), terms)

    def __mul__(self, factor: Number) -> Form:
        if factor == 0:
            return Form(0)
        return Form(_plain(self.constant * factor), {v: _plain(c * factor) for v, c in self.terms.items()})

    def __sub__(self, other: Form | Number) -> Form:
        return self + (other * -1)

    def __truediv__(self, divisor: Number) -> Form:
        return self * Fraction(1, 1) * (1 / Fraction(divisor))

    @property
    def only(self) -> int | None:
        """The variable, where the form is nothing but one variable."""
        if self.constant == 0 and len(self.terms) == 1:
            ((variable, factor),) = self.terms.items()
            return variable if factor == 1 else None
        return None

    def at(self, values: Mapping[int, int] | list[int]) -> Number:
        """Its value where the unknowns have these values."""
        return _plain(self.constant + sum((c * values[v] for v, c in self.terms.items()), start=0))


class Size(int):
    """An int that carries the form it is the value of; what Python computes from it carries one too.

    Passes for an int wherever torch wants one.
    """

    form: Form
    ties: Ties

    def __new__(cls, value: int, form: Form, ties: Ties) -> Size:
        size = super().__new__(cls, value)
        size.form, size.ties = form, ties
        return size

    def __add__(self, other: object) -> Any:
        return _linear(self, other, int.__add__, lambda a, b: a + b)

    def __radd__(self, other: object) -> Any:
        return self + other

    def __sub__(self, other: object) -> Any:
        return _linear(self, other, int.__sub__, lambda a, b: a - b)

    def __rsub__(self, other: object) -> Any:
        return (self * -1) + other

    def __neg__(self) -> Any:
        return self * -1

    def __mul__(self, other: object) -> Any:
        if not isinstance(other, int):
            return int(self) * other if isinstance(other, float) else NotImplemented
        value = int(self) * int(other)
        factor = self.ties.form(other)
        if not factor.terms:
            return Size(value, self.form * int(other), self.ties)
        if not self.form.terms:
            return Size(value, factor * int(self), self.ties)
        product = self.ties.unknown(value, "a product")
        self.ties.multiply([self.form, factor], [product])
        return Size(value, product, self.ties)

    def __rmul__(self, other: object) -> Any:
        return self * other

    def __floordiv__(self, other: object) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        value, rest = divmod(int(self), int(other))
        divisor = self.ties.form(other)
        if rest:
            return value
        if not divisor.terms:
            return Size(value, self.form / int(other), self.ties)
        quotient = self.ties.unknown(value, "a quotient")
        self.ties.multiply([self.form], [divisor, quotient])
        return Size(value, quotient, self.ties)

    def __rfloordiv__(self, other: object) -> Any:
        return Size(int(other), Form(int(other)), self.ties) // self if isinstance(other, int) else NotImplemented

    def __deepcopy__(self, memo: object) -> int:
        return int(self)

    def __reduce__(self) -> Any:
        return int, (int(self),)


def _linear(
    size: Size, other: object, on_ints: Callable[[int, int], int], on_forms: Callable[[Form, Form], Form]
) -> Any:
    if not isinstance(other, int):
        return NotImplemented
    form = on_forms(size.form, size.ties.form(other))
    return Size(on_ints(int(size), int(other)), form, size.ties)


@dataclass(frozen=True)
class Product:
    """An equation that waits: the product of ``left`` equals the product of ``right``."""

    left: tuple[Form, ...]
    right: tuple[Form, ...]


class Ties:
    """Unknown sizes, their values in the original network, and everything that has been found equal.

    The original network satisfies every equation, so a contradiction cannot arise; what is found over and over is
    reduced to nothing. ``rank`` says which unknown an equation is solved for: a lower one first.
    """

    def __init__(self) -> None:
        self.base: list[int] = []
        self.names: list[str] = []
        self.reasons: dict[int, str] = {}
        self._rank: list[int] = []
        self._solved: dict[int, Form] = {}
        self._origin: dict[int, Form] = {}
        self._products: list[Product] = []
        self._widths: set[int] = set()
        self._used: set[int] = set()

    def unknown(self, value: int, name: str, rank: int = 0) -> Form:
        """A new unknown, whose value in the original is ``value``."""
        self.base.append(int(value))
        self.names.append(name)
        self._rank.append(rank)
        return Form(0, {len(self.base) - 1: 1})

    def size(self, value: int, name: str, rank: int = 0) -> Size:
        """An integer of a module as a new unknown."""
        return Size(value, self.unknown(value, name, rank), self)

    def form(self, value: int) -> Form:
        """The form of an integer, a constant where it is not tagged."""
        return value.form if isinstance(value, Size) else Form(int(value))

    def promote(self, form: Form, rank: int) -> None:
        """Have the unknown solved for no earlier than those of this rank."""
        if form.only is not None:
            self._rank[form.only] = max(self._rank[form.only], rank)

    def reduce(self, form: Form) -> Form:
        """``form`` in terms of unknowns that nothing determines."""
        if not any(variable in self._solved for variable in form.terms):
            return form
        result = Form(form.constant)
        for variable, factor in form.terms.items():
            result += self._root(variable) * factor
        return result

    def _root(self, variable: int) -> Form:
        if variable not in self._solved:
            return Form(0, {variable: 1})
        reduced = self.reduce(self._solved[variable])
        self._solved[variable] = reduced
        return reduced

    def equate(self, left: Form, right: Form, reason: str = "") -> None:
        """Write down that two forms are equal; ``reason`` says why, should it fix one of them."""
        self._used.update(left.terms, right.terms)
        if left is right:
            return
        difference = self.reduce(left - right)
        if not difference.terms:
            return
        if difference.constant and len(difference.terms) > 1 and _one_sign(difference):
            for variable in list(difference.terms):  # a sum of widths that is fixed: none may grow at another's cost
                self.equate(Form(0, {variable: 1}), Form(self.base[variable]), reason)
            return
        plain = len(difference.terms) < 3 and not difference.constant
        pivot = min(difference.terms, key=lambda v: (not plain and self.counts(v), self._rank[v], -self.base[v], -v))
        factor = difference.terms[pivot]
        rest = Form(difference.constant, {v: c for v, c in difference.terms.items() if v != pivot})
        self._solved[pivot] = self._origin[pivot] = rest / -Fraction(factor)
        if not rest.terms and reason:
            self.reasons.setdefault(pivot, reason)

    def counts(self, variable: int) -> bool:
        """Whether it is a number of paths or levels that a module keeps, rather than a width."""
        small = self.base[variable] < COUNTED and variable not in self._widths
        return small and self.names[variable].startswith(ATTRIBUTE)

    def know_width(self, form: Form) -> None:
        """The unknowns in ``form`` are widths, however small they are."""
        self._widths.update(form.terms)

    def unused(self, form: Form) -> bool:
        """Whether it is an unknown that nothing has been found equal to: an integer that is kept and not used."""
        return form.only is not None and form.only not in self._used

    def pin(self, form: Form, reason: str) -> None:
        """Every unknown in ``form`` keeps the value it has in the original network."""
        for variable in list(self.reduce(form).terms):
            self.equate(Form(0, {variable: 1}), Form(self.base[variable]), reason)

    def multiply(self, left: Iterable[Form], right: Iterable[Form]) -> None:
        """Write down that two products of forms are equal."""
        left, right = list(left), list(right)
        self._used.update(variable for form in (*left, *right) for variable in form.terms)
        self._products.append(Product(tuple(left), tuple(right)))

    def settle(self) -> None:
        """Turn the waiting products into linear equations.

        A factor that is tied to nothing else, such as a number of heads or groups, is taken as fixed.
        """
        while self._settle_linear() or self._fix_one_factor():
            pass

    def _settle_linear(self) -> bool:
        waiting, moved = [], False
        for product in self._products:
            sides = [self._side(product.left), self._side(product.right)]
            unknown = [forms for _, forms in sides]
            if max(len(forms) for forms in unknown) > 1:
                waiting.append(product)
                continue
            left, right = [forms[0] * k if forms else Form(k) for k, forms in sides]
            self.equate(left, right, "its factors are fixed")
            moved = True
        self._products = waiting
        return moved

    def _side(self, forms: tuple[Form, ...]) -> tuple[Number, list[Form]]:
        constant: Number = 1
        unknown = []
        for form in forms:
            reduced = self.reduce(form)
            if reduced.terms:
                unknown.append(reduced)
            else:
                constant *= reduced.constant
        return constant, unknown

    def _fix_one_factor(self) -> bool:
        for product in self._products:
            factors = [self.reduce(form) for form in (*product.left, *product.right)]
            loose = [f for f in factors if f.terms and all(self._rank[v] == 0 for v in f.terms)]
            named = [f for f in loose if f.only is not None and self.names[f.only].startswith(ATTRIBUTE)]
            candidates = named or loose or [f for f in factors if f.terms]
            self.pin(min(candidates, key=lambda f: f.at(self.base)), "a factor of a reshape")
            return True
        return False

    def reason(self, form: Form) -> str | None:
        """Why ``form`` is fixed, where it was written down."""
        waiting, seen = list(form.terms), set()
        while waiting:
            variable = waiting.pop()
            if variable in self.reasons:
                return self.reasons[variable]
            seen.add(variable)
            if variable in self._origin:
                waiting += [v for v in self._origin[variable].terms if v not in seen]
        return None

    def value(self, form: Form, values: Mapping[int, int]) -> Number:
        """``form`` once the free unknowns in ``values`` have new values and all others keep theirs."""
        reduced = self.reduce(form)
        return _plain(
            reduced.constant + sum((c * values.get(v, self.base[v]) for v, c in reduced.terms.items()), start=0)
        )


def _one_sign(form: Form) -> bool:
    """Whether all of its unknowns count in one direction, so that one grows only where another shrinks."""
    signs = {factor > 0 for factor in form.terms.values()}
    return len(signs) == 1 and signs != {form.constant > 0}


def common_multiple(numbers: Iterable[Number]) -> int:
    """The least common multiple of the denominators."""
    return math.lcm(1, *(Fraction(n).denominator for n in numbers))
