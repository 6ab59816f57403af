"""Checks of settings. Each message names the setting, what was expected and what was passed."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Real
from typing import Any

import numpy as np


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    exclusive_low: bool = False,
    exclusive_high: bool = False,
) -> None:
    """Raise unless ``value`` is a finite real number in the interval from ``low`` to ``high``."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number:
        number = float(value)
        above = low < number if exclusive_low else low <= number
        below = number < high if exclusive_high else number <= high
        if above and below and math.isfinite(number):
            return
    left = "(" if exclusive_low or math.isinf(low) else "["
    right = ")" if exclusive_high or math.isinf(high) else "]"
    message = f"{name}: expected a number in {left}{low:g}, {high:g}{right}, got {value!r}"
    raise ValueError(message) if is_number else TypeError(f"{message} ({type(value).__name__})")


def check_whole(
    name: str, value: Any, *, low: int | None = None, high: int | None = None, optional: bool = False
) -> None:
    """Raise unless ``value`` is an ``int`` from ``low`` to ``high``, or None if it is ``optional``."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: expected a whole number, got {value!r} ({type(value).__name__})")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}: expected a whole number {bounds}, got {value!r}")


def check_choice(name: str, value: Any, options: Collection[str]) -> None:
    """Raise unless ``value`` is one of the named ``options``."""
    if value not in options:
        listed = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name}: expected one of {listed}, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Raise unless ``value`` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r} ({type(value).__name__})")


def digits(value: float, low: float, high: float) -> str:
    """Return a number with six digits, or with all of them if six would hide that it lies outside [low, high]."""
    short = f"{value:g}"
    return short if (low <= value <= high) == (low <= float(short) <= high) else repr(float(value))
