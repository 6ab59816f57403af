"""The students' inference at 256x256: on an NVIDIA GPU by precision and way of running, or with --cpu on the processor.

Run ``python benchmarks/inference.py``, and with ``--cpu`` for the processor, where ONNX Runtime runs beside torch. The
weights are random and the images already in place. A row counts only if its saliency lies within a tolerance of the
same network's in float64: 1e-4 in float32, 0.01 where convolutions multiply in TF32 (torch's default on GPUs), 0.04 in
bfloat16 (weights and images alike). Times are medians of one batch: ``ms`` by the device's clock, ``host_ms`` by the
wall clock with the wait for the result. Ways: "eager"; "graph", the same kernels replayed as one CUDA graph;
"compile", torch.compile, which for one image is in the mode "reduce-overhead", with CUDA graphs of its own.
Rows of other devices in the CSV are kept.
"""

import argparse
import copy
import csv
import statistics
import tempfile
import time
import traceback
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from _environment import environment, require_gpus, write_rows

from dynamic_kd.models import FPNStudent, export_onnx, profile

RESULTS = Path(__file__).parent / "results" / "inference.csv"
BACKBONES = ("vgg16", "vgg19", "tiny")
TOLERANCES = {"float32": 1e-4, "tf32": 0.01, "bfloat16": 0.04}
SIDE = 256


class Case(NamedTuple):
    backbone: str
    batch: int
    precision: str
    way: str
    layout: str

    def inputs(self, device):
        """The network and its images, as the case has them."""
        dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        layout = torch.channels_last if self.layout == "channels_last" else torch.contiguous_format
        model = copy.deepcopy(student(self.backbone)).to(device, dtype, memory_format=layout)
        return model, images(self.batch, device).to(dtype, memory_format=layout)


@cache
def student(backbone):
    """Drawing the weights takes longer than most measurements; users copy them."""
    torch.manual_seed(0)
    return FPNStudent(backbone).eval()


def images(batch, device):
    return torch.randn(batch, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).to(device)


def exact_saliency(backbone, device):
    """Of the first image, in float64."""
    return torch.sigmoid(copy.deepcopy(student(backbone)).double().to(device)(images(1, device).double()))


def allow_tf32(allowed):
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")


def graphed(model, inputs):
    """Return a function that replays the network as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            model(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = model(inputs)

    def replay():
        graph.replay()
        return logits

    return replay


def onnx_session(model, inputs):
    """Return a function that runs ONNX Runtime with as many threads as torch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        export_onnx(model, path, output="logits")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"images": inputs.numpy()}
    return lambda: torch.from_numpy(session.run(None, feed)[0])


def runner(case, device):
    """Return a function without arguments that computes the case's logits."""
    allow_tf32(case.precision == "tf32")
    model, inputs = case.inputs(device)
    if case.way == "graph":
        return graphed(model, inputs)
    if case.way == "onnxruntime":
        return onnx_session(model, inputs)
    if case.way == "compile":
        torch.compiler.reset()
        mode = "reduce-overhead" if case.batch == 1 else None
        model = torch.compile(model, fullgraph=True, dynamic=False, mode=mode)
    return lambda: model(inputs)


def device_milliseconds(run, repeats):
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def host_milliseconds(run, repeats, wait):
    times = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def row_of(case, device, exact, repeats):
    """Check and measure one case."""
    run = runner(case, device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(3 if device.type == "cuda" else 1):
        logits = run()
    error = (torch.sigmoid(logits[:1].double()) - exact).abs().max().item()
    assert error <= TOLERANCES[case.precision], f"saliency differs from that in float64 by {error:.1e}"
    host = host_milliseconds(run, repeats, wait)
    milliseconds = device_milliseconds(run, repeats) if device.type == "cuda" else host
    row = case._asdict() | {"ms": round(milliseconds, 3), "host_ms": round(host, 3)}
    return row | {"images_per_s": round(1e3 * case.batch / host, 1), "saliency_error": f"{error:.1e}"}


def gpu_cases():
    """What is compiled comes last, the most asked for first."""
    for backbone, batch in product(BACKBONES, (1, 32)):
        for precision, layout in (("float32", "contiguous"), ("tf32", "channels_last"), ("bfloat16", "channels_last")):
            yield Case(backbone, batch, precision, "eager", layout)
            if batch == 1:
                yield Case(backbone, batch, precision, "graph", layout)
    for backbone, precision, batch in product(BACKBONES, ("bfloat16", "tf32"), (1, 32)):
        yield Case(backbone, batch, precision, "compile", "channels_last")


def cpu_cases():
    for backbone in BACKBONES:
        yield Case(backbone, 1, "float32", "eager", "contiguous")
        yield Case(backbone, 1, "float32", "eager", "channels_last")
        yield Case(backbone, 1, "float32", "onnxruntime", "contiguous")


def write(rows, path):
    """Replace the rows of this device, keep those of the others."""
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["device"] != rows[0]["device"]]
    write_rows(path, [*kept, *rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="the processor, with torch and ONNX Runtime")
    parser.add_argument("--repeats", type=int, help="of each case (default: 30; 5 on the processor)")
    parser.add_argument("--compile-seconds", type=float, default=45, help="compile nothing more after this time")
    parser.add_argument("--output", type=Path, default=RESULTS, help="CSV to write")
    options = parser.parse_args()
    if not options.cpu:
        require_gpus(parser)
    device = torch.device("cpu" if options.cpu else "cuda")
    torch.backends.cudnn.benchmark = True
    repeats = options.repeats or (5 if options.cpu else 30)
    packages = ("torch", "numpy", "onnxruntime") if options.cpu else ("torch", "triton", "numpy")
    machine = {
        "device": profile(FPNStudent("tiny").to(device), 64, seconds=0).device,
        "side": SIDE,
        "repeats": repeats,
    } | environment(*packages)
    start, rows, exact = time.perf_counter(), [], {}
    with torch.no_grad():
        for case in cpu_cases() if options.cpu else gpu_cases():
            if case.way == "compile" and time.perf_counter() - start > options.compile_seconds:
                print(f"{case}: left out, no time to compile", flush=True)
                continue
            if case.backbone not in exact:
                exact[case.backbone] = exact_saliency(case.backbone, device)
            try:
                row = row_of(case, device, exact[case.backbone], repeats)
            except Exception:
                print(f"{case} failed\n{traceback.format_exc()}", flush=True)
                continue
            rows.append(row | machine)
            print(
                *(f"{name}={value}" for name, value in row.items()), f"{time.perf_counter() - start:.0f} s", flush=True
            )
            write(rows, options.output)


if __name__ == "__main__":
    main()
