"""``dynamic-kd inspect``: noise report and figures of the training samples."""

from __future__ import annotations

import argparse
from typing import Any

from dynamic_kd.cli._arguments import PICTURES, check_output
from dynamic_kd.cli._terminal import one_bar

_DESCRIPTION = """\
Write the noise report and the figures of runs, finished or still running. From
its weights.csv, each run folder gets:

  noise.csv    the teacher's IoU of each sample, and whether it is flagged
  noise.png    the samples with the teacher's lowest IoU (with --samples)
  scatter.png  the student's against the teacher's IoU, the paper's Figure 7
  weight.png   the teacher's weight over the epochs, and the share of noise

With several runs, the folder that contains them gets a scatter.png with a panel
for each. A --threshold other than the recipe's becomes part of the files'
names, as noise-0.3.csv, and the run's own files stay."""

_EPILOG = """\
Examples:
  dynamic-kd inspect runs/des
  dynamic-kd inspect runs/fixed-0.3 runs/fixed-0.5 runs/dynamic"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "inspect",
        help="draw the teacher's IoU and weight on the training samples",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder of dynamic-kd train")
    parser.add_argument(
        "--samples", action="store_true", help="read the training set that the recipe names, to draw noise.png too"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="noise threshold in [0, 1] (default: the recipe's, or 0.5 without)"
    )
    parser.add_argument(
        "--last", type=int, default=10_000, metavar="N", help="number of last samples in the scatter (default: 10000)"
    )
    parser.add_argument("--scatter", metavar="FILE", help="scatter of several runs (default: scatter.png beside them)")


def run(arguments: argparse.Namespace) -> int:
    """Write the files, and print their names."""
    from dynamic_kd.training import inspect_runs

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
