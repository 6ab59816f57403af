"""``dynamic-kd export``: a trained network as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_DESCRIPTION = """\
Turn a file of weights into an ONNX file, for ONNX Runtime and other runtimes.
First, ONNX Runtime and torch compute the same random images of several shapes.
The largest difference is printed. If it exceeds the tolerance, nothing is
written.

The input "images" is (batch, channels, height, width), float32: red, green,
blue and depth (near is bright) in [0, 1], normalized by the mean and deviation
in the file's metadata, which also hold the recipe of the weights. The output,
"saliency" or "logits", is (batch, 1, height, width)."""

_EPILOG = """\
Examples:
  dynamic-kd export runs/demo-seed0/weights/teacher.safetensors
  dynamic-kd export student.safetensors --out student.onnx --size 256"""


def add_parser(commands: Any) -> None:
    """Add the subcommand to the command's parser."""
    parser = commands.add_parser(
        "export",
        help="turn a file of weights into an ONNX file, compared with torch",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=run)
    parser.add_argument("weights", metavar="WEIGHTS", help="file of weights (.safetensors) of train or demo")
    parser.add_argument("--out", metavar="FILE.onnx", help="file to write (default: beside the weights)")
    parser.add_argument(
        "--output",
        choices=("saliency", "logits"),
        default="saliency",
        help="maps in [0, 1] (default), or the values before the sigmoid",
    )
    parser.add_argument("--size", type=int, metavar="N", help="fix height and width (default: any)")
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="version of ONNX's operators (default: 18)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        metavar="X",
        help="largest difference from torch, as a share of the largest output or of 1 (default: 1e-4)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, compare, and print the comparison."""
    from dynamic_kd.models import export_onnx, load_model, model_metadata

    weights = Path(arguments.weights)
    out = Path(arguments.out or weights.with_suffix(".onnx"))
    if out.resolve() == weights.resolve():
        raise ValueError(f"--out {arguments.out or out}: this is the file of weights; name another file")
    report = export_onnx(
        load_model(weights),
        out,
        output=arguments.output,
        size=arguments.size,
        opset=arguments.opset,
        tolerance=arguments.tolerance,
        metadata=model_metadata(weights),
    )
    shapes = ", ".join("x".join(map(str, shape)) for shape in report.shapes)
    print(f"ONNX Runtime differs from torch by at most {report.difference:.1e} on images of {shapes}.")
    print(f"wrote {report.path}")
    return 0
