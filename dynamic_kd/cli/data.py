"""``dynamic-kd data``: checks of folders of images, depth maps and masks."""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from dynamic_kd._files import write_whole
from dynamic_kd.cli._arguments import PICTURES, add_mask_arguments, check_output
from dynamic_kd.cli._terminal import one_bar

if TYPE_CHECKING:
    from dynamic_kd.data import DataReport

_DESCRIPTION = """\
Check data sets before you train on them. The report covers the layout, counts
that differ from the known splits, unmatched and unreadable files, sizes and
formats, whether near is bright or dark in the depth files, the levels of masks
and what they mean, empty masks, a teacher's maps against the masks, duplicate
images.

DIR is a data set or holds several, one or two levels below:

  DIR/RGB  DIR/depth  DIR/GT              or Image, images, masks, ...
  DIR/NJUD/train/RGB  DIR/train/NJUD/RGB"""

_EPILOG = """\
The exit status is 0 if training accepts the data (there may be warnings), 1 if
it would refuse something, 2 if there are no data sets to check.

A list file names one sample on each line: a stem (0001), a file name or path,
or the paths of image, depth map and mask in columns. # starts a comment.

Examples:
  dynamic-kd data check datasets
  dynamic-kd data check datasets/NJU2K --list train.txt --contact njud.png
  dynamic-kd data check ECSSD --teacher pred_ISNet --json ecssd.json"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parent = commands.add_parser(
        "data",
        help="check data sets before training",
        description="Check data sets before you train on them.",
    )
    parser = parent.add_subparsers(title="commands", metavar="COMMAND", required=True).add_parser(
        "check",
        help="report what data sets hold, and what training would refuse",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("root", metavar="DIR", help="a data set, or a folder of several")
    parser.add_argument("--list", dest="list_file", metavar="FILE", help="check only the samples it names")
    parser.add_argument(
        "--teacher", metavar="NAME", help="a teacher's maps: a sub-folder of each data set, or a folder of maps"
    )
    parser.add_argument(
        "--near",
        choices=("auto", "bright", "dark"),
        default="auto",
        help="what is near in the depth files (default: decided for each data set)",
    )
    add_mask_arguments(parser)
    share = parser.add_mutually_exclusive_group()
    share.add_argument("--full", dest="quick", action="store_false", default=False, help="decode every file (default)")
    share.add_argument("--quick", action="store_true", help="decode fifty samples of each data set, evenly spread")
    parser.add_argument(
        "--contact", metavar="FILE", help="picture of a few samples of each data set (.png, .pdf, .svg)"
    )
    parser.add_argument("--json", metavar="FILE", help="the report as JSON")
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one for each core, at most 8)")


def run(arguments: argparse.Namespace) -> int:
    """Check the data, draw a picture if requested, and print the report."""
    from dynamic_kd.data import check_data, contact_sheet

    names = ("list_file", "teacher", "near", "salient", "void")
    source = {name: getattr(arguments, name) for name in names} | {"channel": arguments.channel or "auto"}
    check_output("--contact", arguments.contact, PICTURES)
    check_output("--json", arguments.json)
    if arguments.contact:
        from dynamic_kd._figures import write_figure

        write_figure(arguments.contact, contact_sheet(arguments.root, **source))
    with one_bar() as progress:
        report = check_data(
            arguments.root,
            **source,
            quick=arguments.quick,
            workers=arguments.workers,
            progress=partial(progress, "checking samples"),
        )
    if arguments.json:
        write_whole(arguments.json, (json.dumps(report.as_dict(), indent=1) + "\n").encode())
    _print(report)
    for path in filter(None, (arguments.contact, arguments.json)):
        print(f"wrote {path}")
    return 1 if report.problems else 0


def _print(report: DataReport) -> None:
    """Print a table for each data set, then all problems and warnings."""
    from dynamic_kd.cli._terminal import print_table, print_text, terminal

    for each in report.sets:
        print_table(each.table())
        print()
    console = terminal(soft_wrap=True)
    for problem in report.problems:
        console.print(f"Problem: {problem}", style="red")
    for warning in report.warnings:
        console.print(f"Warning: {warning}", style="yellow")
    print_text(report.verdict)
