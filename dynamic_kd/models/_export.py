"""Networks as ONNX files, each compared with torch before it is written."""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from dynamic_kd._checks import check_choice, check_number, check_whole
from dynamic_kd._extras import require
from dynamic_kd._files import write_whole
from dynamic_kd.models._files import RESERVED, checked, described
from dynamic_kd.models._network_input import DEVIATION, MEAN

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from dynamic_kd.models._fpn import FPNStudent, RFBTeacher

OUTPUTS = {"saliency": "saliency in [0, 1]", "logits": "logits; their sigmoid is saliency"}
_VERBOSE_LOGGERS = ("torch.onnx._internal.exporter._registration", "onnxscript.version_converter")
_CHANNELS = ("red", "green", "blue", "depth")


class ExportReport(NamedTuple):
    """Result of `export_onnx`: the file, and its comparison with torch.

    Attributes
    ----------
    path : Path
        The ONNX file.
    shapes : list of tuple of int
        Shapes of the random inputs of the comparison.
    difference : float
        The largest difference of the outputs, as a share of the largest output or of 1, whichever is larger.
    """

    path: Path
    shapes: list[tuple[int, ...]]
    difference: float


def export_onnx(
    model: FPNStudent | RFBTeacher,
    path: str | os.PathLike[str],
    *,
    output: str = "saliency",
    size: int | None = None,
    opset: int = 18,
    tolerance: float = 1e-4,
    metadata: dict[str, Any] | None = None,
) -> ExportReport:
    """Write a network as an ONNX file, after comparing ONNX Runtime with torch.

    The input of the file is ``images``, shape (batch, channels, height, width), float32, normalized as its metadata
    state. The output is ``saliency`` or ``logits``, shape (batch, 1, height, width). Both runtimes compute the same
    random images of several shapes. If they differ, nothing is written.

    Parameters
    ----------
    model : FPNStudent or RFBTeacher
        On any device; it is not changed. Half precision is exported as float32.
    path : path
        The file, whose name ends in ``.onnx``. An existing file is replaced.
    output : {"saliency", "logits"}
        Saliency in [0, 1], or logits.
    size : int, optional
        Fixed height and width in pixels, which some runtimes require. By default they are free from 16 pixels on (32
        for ``"tiny"``). The batch size is always free.
    opset : int
        Version of ONNX's operators, from 18 to the newest that the onnx package supports. Versions from 21 on have an
        operator for group normalization.
    tolerance : float
        The largest difference allowed, as a share of the largest output or of 1, whichever is larger.
    metadata : dict, optional
        Further values to keep in the file, such as `model_metadata` of the weights.

    Returns
    -------
    ExportReport
        The path, the shapes compared and the largest difference.

    Raises
    ------
    TypeError, ValueError
        If the model is of another class, a setting is out of range, or ONNX Runtime differs by more than the tolerance.
    ModuleNotFoundError
        If onnx, onnxscript or onnxruntime is not installed.
    """
    require("onnx", "onnxscript", "onnxruntime", extra="export")
    settings, least = checked(model).settings, model.backbone.reduction
    check_choice("output", output, OUTPUTS)
    _check_place(Path(path))
    check_whole("opset", opset, low=18, high=_newest_opset())
    check_number("tolerance", tolerance, low=0)
    if size is not None:
        check_whole("size", size, low=least)
    network: nn.Module = copy.deepcopy(model).cpu().float().eval()
    if output == "saliency":
        network = nn.Sequential(network, nn.Sigmoid()).eval()
    proto = _converted(network, settings["in_channels"], size, least, output, opset)
    words = {name: value for name, value in (metadata or {}).items() if name not in RESERVED}
    words |= {"input": _input(settings["in_channels"], size, least), "output": OUTPUTS[output]}
    for name, text in described(model, words).items():
        proto.metadata_props.add(key=name, value=text)
    content = proto.SerializeToString()
    sizes = [(256, 256), (least, least), (least + 1, 2 * least - 1)] if size is None else [(size, size)] * 3
    shapes: list[tuple[int, ...]] = [
        (batch, settings["in_channels"], *each) for batch, each in zip((1, 3, 2), sizes, strict=True)
    ]
    difference = _difference(network, content, shapes)
    if not difference <= tolerance:
        raise ValueError(
            f"ONNX Runtime differs from torch by {difference:.1e}, more than the tolerance {tolerance:g}; nothing was "
            "written; try another opset"
        )
    write_whole(path, content)
    return ExportReport(Path(path), shapes, difference)


def _check_place(path: Path) -> None:
    """Raise before the export if the path cannot be an ONNX file, such as one of weights."""
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"{path}: expected a name ending in .onnx, got {path.suffix or 'no suffix'}")
    if path.is_dir():
        raise ValueError(f"{path}: expected a file to write, got a folder; name another")


def _newest_opset() -> int:
    import onnx

    return int(onnx.defs.onnx_opset_version())


def _converted(network: nn.Module, channels: int, size: int | None, least: int, output: str, opset: int) -> Any:
    """Return the ONNX model; without a size, height and width are free."""
    from torch.export import Dim

    free: dict[int, Any] = {0: Dim("batch")}
    if size is None:
        free |= {2: Dim("height", min=least), 3: Dim("width", min=least)}
        size = 4 * least  # the exporter would treat a map of one pixel as constant
    with _silence():
        program = torch.onnx.export(
            network,
            (torch.zeros(2, channels, size, size),),
            input_names=["images"],
            output_names=[output],
            dynamic_shapes=(free,),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # None only if a path is passed
    proto = program.model_proto
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output, proto.graph):
        del part.metadata_props[:]  # stack traces with paths of this machine
    return proto


def _input(channels: int, size: int | None, least: int) -> dict[str, Any]:
    """Return the metadata that describe the input."""
    return {
        "channels": _CHANNELS[:channels],
        "values": "each channel in [0, 1], near depth bright, then (value - mean) / deviation",
        "mean": MEAN[:channels],
        "deviation": DEVIATION[:channels],
        "size": f"any from {least}x{least} on" if size is None else f"{size}x{size}",
    }


def _difference(network: nn.Module, content: bytes, shapes: list[tuple[int, ...]]) -> float:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no narrower base
        raise ValueError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the network ({error}); nothing was written; try a "
            "lower opset"
        ) from error
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for shape in shapes:
        images = torch.randn(shape, generator=generator)
        with torch.inference_mode():
            expected = network(images)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        apart = (found - expected).abs().max() / expected.abs().max().clamp(min=1)
        if not apart.item() <= largest:  # also true for NaN
            largest = apart.item()
    return largest


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress warnings of torch's exporter about itself and about packages that are not needed."""
    loggers = [logging.getLogger(name) for name in _VERBOSE_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):  # onnxscript before 0.7 prints its rewrites
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
