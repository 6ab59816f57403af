"""``dynamic-kd inspect``: what the method saw of the training samples."""

from __future__ import annotations

import argparse
from typing import Any

from dynamic_kd.cli._arguments import PICTURES, check_output
from dynamic_kd.cli._terminal import one_bar

_DESCRIPTION = """\
Draw what the distillation saw of its training samples, for runs that are
finished or still running. Into each run folder, from its weights.csv:

  noise.csv    the teacher's IoU of each sample, and whether it is set aside
  noise.png    the samples the teacher trusts least (with --samples)
  scatter.png  the teacher's against the student's IoU, the paper's Figure 7
  weight.png   the teacher's weight over the epochs, and the share of noise

Of several runs, scatter.png is also drawn side by side, a panel for each, into
the folder that holds them. Another threshold than the recipe's is in the files'
names, as noise-0.3.csv, and the run's own files stay."""

_EPILOG = """\
Examples:
  dynamic-kd inspect runs/des
  dynamic-kd inspect runs/fixed-0.3 runs/fixed-0.5 runs/dynamic"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "inspect",
        help="draw which training samples the teacher knows, and their weights",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder of dynamic-kd train")
    parser.add_argument(
        "--samples", action="store_true", help="read the training set that the recipe names, and draw noise.png too"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="noise threshold in [0, 1] (default: the recipe's, or 0.5 without)"
    )
    parser.add_argument(
        "--last", type=int, default=10_000, metavar="N", help="samples in the scatter, the last ones (default: 10000)"
    )
    parser.add_argument("--scatter", metavar="FILE", help="scatter of several runs (default: scatter.png beside them)")


def run(arguments: argparse.Namespace) -> int:
    """Draw, print what was written."""
    from dynamic_kd.training._insight import inspect_runs

    check_output("--scatter", arguments.scatter, PICTURES)
    with one_bar() as progress:
        written = inspect_runs(
            arguments.runs,
            threshold=arguments.threshold,
            last=arguments.last,
            samples=arguments.samples,
            scatter=arguments.scatter,
            progress=progress,
        )
    for path in written:
        print(f"wrote {path}")
    return 0
