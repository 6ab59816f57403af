"""``dynamic-kd evaluate``: scores of a folder of maps."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dynamic_kd._extras import require
from dynamic_kd._files import printable, write_whole
from dynamic_kd.cli._arguments import PICTURES, check_output
from dynamic_kd.cli._scoring import add_scoring_arguments, given_settings
from dynamic_kd.cli._terminal import one_bar, print_table
from dynamic_kd.metrics import MetricReport, plot_curves, table

_DESCRIPTION = """\
Score saliency maps against their masks with the numbers papers print: MAE,
F-measure (max, mean, adaptive), weighted F-measure, S-measure and E-measure
(max, mean, adaptive).

Files are paired by stem, whatever their suffix: maps/0001.png with
masks/0001.bmp. Each map is min-max normalised. A mask has two levels, 0 and a
salient one, or 0 and 255 with grey edges; --salient, --void and --channel tell
what others mean. max and mean are those of the data set's mean curve."""

_EPILOG = """\
Examples:
  dynamic-kd evaluate --pred maps/ours --target DES/GT
  dynamic-kd evaluate --pred maps/ours --target DES/GT --curves curves.png \\
    --json ours.json
  dynamic-kd evaluate --pred maps/ours --target DES/GT --metrics S,IoU,AUC"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="score a folder of saliency maps against a folder of masks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--pred", required=True, metavar="DIR", help="folder of saliency maps")
    parser.add_argument("--target", "--gt", required=True, metavar="DIR", help="folder of masks")
    parser.add_argument("--name", metavar="NAME", help="name of the table's row (default: the folder of maps)")
    add_scoring_arguments(parser, "what is scored, and how")

    files = parser.add_argument_group("files to write")
    files.add_argument("--json", metavar="FILE", help="scores, counts, settings, curves and per-image rows")
    files.add_argument("--csv", metavar="FILE", help="the table with every digit")
    files.add_argument("--markdown", metavar="FILE", help="the table for a README")
    files.add_argument("--latex", metavar="FILE", help="the table for a paper (booktabs)")
    files.add_argument("--per-image", metavar="FILE", help="scores of each image as CSV")
    files.add_argument("--curves", metavar="FILE", help="precision-recall, F and E curves (.png, .pdf, .svg)")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table, write the files."""
    from dynamic_kd.evaluation import evaluate_folders, report_table

    _check_files(arguments)
    name = printable(arguments.name or Path(arguments.pred).resolve().name)
    with one_bar() as progress:
        report = evaluate_folders(
            arguments.pred,
            arguments.target,
            workers=arguments.workers,
            progress=partial(progress, "scoring"),
            **given_settings(arguments),
        )
    _write(arguments, name, report)  # before printing, so that a closed terminal loses no result
    print_table(report_table(name, report))
    for path in filter(None, (getattr(arguments, option) for option in _FILES)):
        print(f"wrote {path}")
    return 0


_WRITERS: dict[str, Callable[[str, MetricReport], str]] = {
    "json": lambda name, report: report.to_json(),
    "csv": lambda name, report: table({name: report}, "csv"),
    "markdown": lambda name, report: table({name: report}, "markdown"),
    "latex": lambda name, report: table({name: report}, "latex"),
    "per_image": lambda name, report: report.per_image_csv(),
}
_FILES = (*_WRITERS, "curves")


def _check_files(arguments: argparse.Namespace) -> None:
    """Raise before the work if its results cannot be written."""
    flags: dict[Path, str] = {}
    for option in _FILES:
        path = getattr(arguments, option)
        flag = f"--{option.replace('_', '-')}"
        if path is None:
            continue
        other = flags.setdefault(Path(path).resolve(), flag)
        if other != flag:
            raise ValueError(f"{flag} {path}: {other} names the same file; name another")
        check_output(flag, path, PICTURES if option == "curves" else ())
    if arguments.curves:
        require("matplotlib", extra="eval")
        if arguments.metrics is not None and not {"F", "E"} & set(arguments.metrics):
            raise ValueError("--curves: --metrics has neither F nor E, whose curves are drawn; add one")


def _write(arguments: argparse.Namespace, name: str, report: MetricReport) -> None:
    for option, text in _WRITERS.items():
        path = getattr(arguments, option)
        if path is not None:
            write_whole(path, text(name, report).encode())
    if arguments.curves:
        from dynamic_kd._figures import write_figure

        write_figure(arguments.curves, plot_curves({name: report}))
