"""What ``evaluate`` and ``compare`` have in common: which maps are scored, and how."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any

from dynamic_kd.cli._arguments import add_mask_arguments, known_names
from dynamic_kd.metrics import SCORES

_METRICS = tuple(dict.fromkeys(score.metric for score in SCORES.values()))
_SETTINGS = (
    *("metrics", "allow_missing", "strict_size", "strict", "normalize", "empty_target"),
    *("salient", "void", "channel"),
)


def add_scoring_arguments(parser: argparse.ArgumentParser, title: str) -> Any:
    """Add the arguments that both commands share; return their group."""
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="threads (default: one for each core)"
    )
    group = parser.add_argument_group(title)
    group.add_argument(
        "--metrics",
        type=partial(known_names, kind="metrics", known=_METRICS),
        metavar="A,B",
        help=f"metrics to compute (default: MAE,F,wF,S,E), of {', '.join(_METRICS)}",
    )
    add_flag(group, "--allow-missing", "skip and count what is missing, instead of an error")
    add_flag(group, "--strict-size", "refuse maps whose size differs from their mask's")
    add_flag(group, "--strict", "E-measure with > at the thresholds, as in the MATLAB code")
    add_flag(
        group, "--no-normalize", "score maps as they are, without min-max normalization", name="normalize", value=False
    )
    group.add_argument(
        "--empty-target",
        choices=("count", "skip", "refuse"),
        help="what to do with empty masks (default: count)",
    )
    add_mask_arguments(group)
    return group


def add_flag(group: Any, option: str, text: str, *, name: str | None = None, value: bool = True) -> None:
    """Add a flag that is None unless it is given, so that defaults and settings of a file stand."""
    name = name or option.removeprefix("--").replace("-", "_")
    group.add_argument(option, dest=name, action="store_const", const=value, help=text)


def given_settings(arguments: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Return the shared settings, and more of them, that the command line gives."""
    given = {name: getattr(arguments, name) for name in (*_SETTINGS, *more)}
    return {name: value for name, value in given.items() if value is not None}
