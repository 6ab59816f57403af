"""Formulas over statistics as one Triton kernel: each is written once, and all of them cost a single launch.

A formula runs once on symbols instead of arrays. Every operation on a symbol writes a line of a kernel that does the
same for one image. Numbers of shape (B,) become scalars there, rows of shape (B, N) vectors.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._recorded import FLAGS, SIZE, RecordedStatistics

Formula = Callable[[RecordedStatistics], tuple[Sequence[Any], Sequence[Any], Sequence[Any]]]


class Symbol:
    """A variable of the kernel, and how many numbers it holds (1: a scalar)."""

    def __init__(self, lines: list[str], expression: str, width: int = 1) -> None:
        self.lines = lines
        self.width = width
        self.name = f"v{len(lines)}"
        lines.append(f"{self.name} = {expression}")

    def apply(self, template: str, *others: Any, width: int | None = None) -> Symbol:
        """Write an expression over this symbol (``{0}``) and others; return its symbol."""
        width = width or max([self.width, *(other.width for other in others if isinstance(other, Symbol))])
        return Symbol(self.lines, template.format(self, *others), width)

    def __format__(self, _: str) -> str:
        return self.name

    def __getitem__(self, key: Any) -> Symbol:
        """Element of a row, the row without an end, or a number as a column (``[:, None]``), which broadcasts anyway.

        ``[..., :-1]`` and ``[..., 1:]`` keep the length and repeat the last element, so a difference of neighbours ends
        with a 0.
        """
        _, index = key
        if index is None or self.width == 1 or index == slice(None, -1):
            return self
        position = f"tl.arange(0, {self.width})"
        if index == slice(1, None):
            return self.apply(f"tl.gather({{0}}, tl.minimum({position} + 1, {self.width - 1}), 0)")
        return self.apply(f"tl.sum(tl.where({position} == {index % self.width}, {{0}}, 0.0))", width=1)

    def __pow__(self, power: int) -> Symbol:
        return self.apply(" * ".join(["{0}"] * power))


def _operator(template: str) -> Callable[[Symbol, Any], Symbol]:
    return lambda self, other: self.apply(template, other)


for _name, _sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    setattr(Symbol, f"__{_name}__", _operator(f"{{0}} {_sign} {{1}}"))
    setattr(Symbol, f"__r{_name}__", _operator(f"{{1}} {_sign} {{0}}"))
for _name, _sign in {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "and": "&",
    "or": "|",
}.items():
    setattr(Symbol, f"__{_name}__", _operator(f"({{0}}) {_sign} ({{1}})"))
Symbol.__neg__ = lambda self: self.apply("-{0}")  # type: ignore[attr-defined]


class SymbolNamespace:
    """The functions of the Array API that formulas use."""

    def where(self, condition: Symbol, x: Any, y: Any) -> Symbol:
        return condition.apply("tl.where({0}, {1}, {2})", x, y)

    def maximum(self, x: Symbol, y: Any) -> Symbol:
        return x.apply("tl.maximum({0}, {1})", y)

    def minimum(self, x: Symbol, y: Any) -> Symbol:
        return x.apply("tl.minimum({0}, {1})", y)

    def zeros_like(self, _: Symbol) -> float:
        return 0.0

    def ones_like(self, _: Symbol) -> float:
        return 1.0

    def sqrt(self, x: Symbol) -> Symbol:
        return x.apply("tl.sqrt({0})")

    def sum(self, x: Symbol, *, axis: int) -> Symbol:
        return x.apply("tl.sum({0})", width=1)

    def max(self, x: Symbol, *, axis: int) -> Symbol:
        return x.apply("tl.max({0})", width=1)

    def mean(self, x: Symbol, *, axis: int) -> Symbol:
        return x.apply(f"tl.sum({{0}}) / {x.width}", width=1)

    def stack(self, values: Sequence[Symbol], *, axis: int) -> Symbol:
        first, second = values
        return first.apply("tl.where(tl.arange(0, 2) == 0, {0}, {1})", second, width=2)


class SymbolRecords:
    """The records of the images: reading a column writes the line that loads it."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.read: set[int] = set()

    def __getitem__(self, key: Any) -> Symbol:
        """Load a number (``[:, i]``) or a row (``[:, i:j]``)."""
        _, part = key
        if isinstance(part, slice):
            self.read.add(part.start)
            width = part.stop - part.start
            return Symbol(self.lines, f"tl.load(record + {part.start} + tl.arange(0, {width}))", width)
        self.read.add(part)
        return Symbol(self.lines, f"tl.load(record + {part})")


class FormulaKernel:
    """A formula's kernel: it sums curves and counts exactly over the images, and stores the numbers of each.

    Attributes
    ----------
    kernel
        ``kernel(records, words, totals, numbers, pixels, SKIP)`` adds to the curves' words (see `exact_words`), shape
        (2, curves), and to the counts' totals, int64; with SKIP not for images without foreground. It stores the
        numbers, shape (B, numbers), float64.
    curves, totals, numbers
        Total lengths of the curves and of the counts, and how many numbers an image has.
    read
        Columns of the records that it reads; of several in a row the first.
    """

    def __init__(self, formula: Formula) -> None:
        lines: list[str] = []
        records = SymbolRecords(lines)
        pixels = Symbol(lines, "pixels")
        statistics = RecordedStatistics(SymbolNamespace(), records, pixels=pixels, backend="symbols")  # type: ignore[arg-type]
        curves, totals, numbers = formula(statistics)
        numbers = (*numbers, statistics.foreground, records[:, FLAGS], statistics.constant)
        self.read = frozenset(records.read)
        self.curves, self.totals = (sum(value.width for value in values) for values in (curves, totals))
        self.numbers = len(numbers)
        lines.append(f"weight = tl.where({statistics.foreground} > 0, 1.0, 0.0 if SKIP else 1.0)")
        for curve, at in zip(curves, _places("words", curves), strict=True):
            lines.append(f"add_exactly({at}, {self.curves}, {curve}, weight)")
        for total, at in zip(totals, _places("totals", totals), strict=True):
            lines.append(f'tl.atomic_add({at}, ({total} * weight).to(tl.int64), sem="relaxed")')
        lines += [f"tl.store(numbers + {index}, {number})" for index, number in enumerate(numbers)]
        self.kernel = _compiled(lines, self.numbers)


def _places(start: str, values: Sequence[Symbol]) -> list[str]:
    """Return the addresses of values that are stored one after another from ``start`` on."""
    ends = [0, *accumulate(value.width for value in values)]
    return [
        f"{start} + {end}" + (f" + tl.arange(0, {value.width})" if value.width > 1 else "")
        for end, value in zip(ends, values, strict=False)
    ]


@cache
def formula_kernel(formula: Formula) -> FormulaKernel:
    """Return the kernel of a formula, compiled once."""
    return FormulaKernel(formula)


UNIT = tl.constexpr(2.0**30)


@triton.jit
def add_exactly(words, rows, values, weight):
    """Add values in [0, 4), weighted by 0 or 1, as integers: high words in units of 2^-30, low words of 2^-60."""
    scaled = values * UNIT
    high = tl.floor(scaled)
    low = tl.floor((scaled - high) * UNIT + 0.5)
    tl.atomic_add(words, (high * weight).to(tl.int64), sem="relaxed")
    tl.atomic_add(words + rows, (low * weight).to(tl.int64), sem="relaxed")


def _compiled(lines: Sequence[str], numbers: int) -> Any:
    """Return the lines as a kernel. Triton and tracebacks find its source in the line cache."""
    source = "\n    ".join(
        [
            "def formulas(records, words, totals, numbers, pixels, SKIP: tl.constexpr):",
            "image = tl.program_id(0).to(tl.int64)",
            f"record = records + image * {SIZE}",
            f"numbers += image * {numbers}",
            *lines,
        ]
    )
    name = f"<dynamic_kd formulas {hash(source):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope = {"tl": tl, "add_exactly": add_exactly, "__name__": __name__}
    exec(compile(source, name, "exec"), scope)
    return triton.jit(scope["formulas"])
