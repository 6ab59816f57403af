"""The fused loss on an NVIDIA GPU, forward and backward, against plain operations and torch.compile, by size and dtype.

Run ``python benchmarks/fused_loss.py``, then ``--plot`` to draw the results; ``--training`` times a student's steps
instead, ``--checks`` what looking at values costs, ``--resize`` students (and teachers) smaller than the target,
interpolated inside the kernels, against PyTorch's interpolation and the fused loss.

Inputs are N(0, 3); the gradient coming in is the number of pixels, as a loss scaler would have it, so that an error of
the gradient is one per pixel. A row counts only if the fused errors against float64 are at most the plain ones and 1e-6
of the value and 1e-7. Times are medians: ``*_us`` of a CUDA graph of repetitions, which hides launches, ``*_host_us``
of the wall clock around one call and the wait for it. What the host cannot do without is ``nothing``, a function
written in Python that computes nothing in both directions, and ``mse``, torch's own mean squared error. The floor is
the time in which as many bytes can be copied as both passes must read and write.
"""

import argparse
import csv
import statistics
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from _environment import environment, require_gpus, write_rows

from dynamic_kd.models import FPNStudent
from dynamic_kd.torch import DynamicKDLoss

RESULTS = Path(__file__).parent / "results"
IMPLEMENTATIONS = ("eager", "compile", "fused")
COPIED = 2**30


class Case(NamedTuple):
    """What is measured: a batch of squares, repeated in a graph; compiling takes longest, so not all are compiled."""

    images: int
    side: int
    dtype: str
    target: str
    repetitions: int
    compiled: bool

    @property
    def name(self):
        suffix = "" if self.target == self.dtype else f"-{self.target}"
        return f"{self.dtype}-{self.images}x{self.side}{suffix}"

    @property
    def pixels(self):
        return self.images * self.side**2


# The fused op keeps counters for 64 launches in graphs; with more, graphs would be slower than a user's single one.
CASES = (
    Case(4, 256, "float32", "float32", 20, compiled=True),
    Case(32, 256, "float32", "float32", 10, compiled=True),
    Case(64, 352, "float32", "float32", 2, compiled=True),
    Case(256, 512, "float32", "float32", 1, compiled=True),
    Case(64, 1024, "float32", "float32", 1, compiled=True),
    Case(4, 256, "bfloat16", "bfloat16", 10, compiled=True),
    Case(64, 1024, "bfloat16", "bfloat16", 1, compiled=True),
    Case(64, 1024, "bfloat16", "uint8", 1, compiled=False),
    Case(4, 256, "float16", "float16", 10, compiled=False),
    Case(64, 1024, "float16", "float16", 1, compiled=False),
)


class Small(NamedTuple):
    """A student smaller than the target, and the teacher's side."""

    images: int
    side: int
    student: int
    teacher: int
    dtype: str
    target: str
    repetitions: int

    @property
    def name(self):
        teacher = "" if self.teacher == self.side else f"-teacher{self.teacher}"
        return f"{self.dtype}-{self.images}x{self.side}-from{self.student}{teacher}-{self.target}"


SMALL = (
    *(
        Small(images, 1024, student, 1024, dtype, target, repetitions)
        for images, repetitions in ((8, 8), (64, 1))
        for student in (256, 128)
        for dtype in ("float32", "bfloat16")
        for target in ("float32", "uint8")
    ),
    Small(8, 1024, 256, 256, "float32", "uint8", 8),
    Small(64, 1024, 256, 256, "float32", "uint8", 1),
    Small(64, 1024, 256, 128, "float32", "uint8", 1),
    Small(8, 1024, 300, 1024, "float32", "float32", 8),
    Small(8, 1024, 240, 1024, "float32", "float32", 8),
    Small(8, 1024, 32, 1024, "float32", "float32", 8),
    Small(32, 352, 88, 352, "float32", "float32", 8),
    Small(4, 256, 64, 256, "float32", "float32", 20),
    Small(1, 4096, 1024, 4096, "float32", "uint8", 8),
)


@triton.jit
def copy_kernel(source, result, count, BLOCK: tl.constexpr):  # noqa: N803 (Triton's constants are in capitals)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(result + at, tl.load(source + at, at < count), at < count)


def microseconds_of(function, repeats):
    """Median on the device."""
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end))
    return statistics.median(times)


def bytes_per_second(repeats):
    """Copying from memory to memory, the faster of torch's way and a plain Triton kernel."""
    source = torch.zeros(COPIED // 4, device="cuda")
    result = torch.empty_like(source)
    blocks = (triton.cdiv(source.numel(), 2048),)
    ways = (lambda: result.copy_(source), lambda: copy_kernel[blocks](source, result, source.numel(), BLOCK=2048))
    for way in ways:
        way()
    return 2 * COPIED / (1e-6 * min(microseconds_of(way, repeats) for way in ways))


def floor_bytes(student, teacher, target):
    """What forward and backward must read, and the gradient that must be written."""
    return sum(2 * each.numel() * each.element_size() for each in (student, teacher, target)) + student.nbytes


def inputs_of(case, device="cuda"):
    generator = torch.Generator(device=device).manual_seed(0)
    shape, dtype = (case.images, 1, case.side, case.side), getattr(torch, case.dtype)
    student, teacher = (
        (3 * torch.randn(shape, generator=generator, device=device)).to(dtype).requires_grad_(number == 0)
        for number in range(2)
    )
    target = (torch.rand(shape, generator=generator, device=device) > 0.6).to(getattr(torch, case.target))
    return student, teacher, target


def value_and_gradient(loss, student, teacher, target):
    """Value, and gradient by the logits for an incoming gradient of the number of pixels."""
    value = loss(student, teacher, target)
    return value, torch.autograd.grad(value, student, torch.full_like(value, student.numel()))[0]


def errors(inputs):
    """Largest errors of value and gradient against float64, by implementation; the fused ones are checked."""
    student, teacher, target = inputs
    wide = student.detach().double().requires_grad_(), teacher.double(), target
    exact = [each.detach() for each in value_and_gradient(DynamicKDLoss(impl="eager"), *wide)]
    found = {}
    for impl in ("eager", "fused"):
        results = value_and_gradient(DynamicKDLoss(impl=impl), *inputs)
        found[impl] = [(result.detach().double() - truth).abs_() for result, truth in zip(results, exact, strict=True)]
    for name, plain, fused, truth in zip(("value", "gradient"), *found.values(), exact, strict=True):
        excess = (fused - 1e-6 * truth.abs() - 1e-7 - plain.max()).max().item()
        assert excess <= 0, f"{name}: error {fused.max():.2e}, of plain operations {plain.max():.2e}"
    return {impl: [each.max().item() for each in pair] for impl, pair in found.items()}


class Nothing(torch.autograd.Function):
    """What every function written in Python costs the host."""

    @staticmethod
    def forward(ctx, student, teacher, target):
        ctx.save_for_backward(student, teacher, target)
        return student.new_empty(())

    @staticmethod
    def backward(ctx, incoming):
        return torch.empty_like(ctx.saved_tensors[0]), None, None


def floors_of_the_host(inputs, repeats):
    """Columns of what the host cannot do without."""
    student, teacher, target = inputs
    incoming = torch.ones((), dtype=student.dtype, device=student.device)
    losses = {
        "nothing": lambda: Nothing.apply(student, teacher, target),
        "mse": lambda: torch.nn.functional.mse_loss(student, teacher),
    }
    columns = {}
    for name, loss in losses.items():

        def step(loss=loss):
            torch.autograd.grad(loss(), student, incoming)

        for _ in range(3):
            step()
        columns[f"{name}_host_us"] = round(host_microseconds(step, repeats), 1)
    return columns


def step_of(impl, inputs):
    """Return a function without arguments: forward and backward."""
    loss = DynamicKDLoss(impl="eager" if impl == "compile" else impl)
    if impl == "compile":
        torch.compiler.reset()
        loss = torch.compile(loss, fullgraph=True, dynamic=False)
    incoming = torch.full((), inputs[0].numel(), dtype=torch.float32, device=inputs[0].device)
    return lambda: torch.autograd.grad(loss(*inputs), inputs[0], incoming)


def graph_microseconds(step, repetitions, repeats):
    """Of one of the repetitions in a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repetitions):
            step()
    for _ in range(3):
        graph.replay()
    return microseconds_of(graph.replay, repeats) / repetitions


def host_microseconds(step, repeats):
    """By the wall clock, of one call and the wait for it."""
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(1e6 * (time.perf_counter() - start))
    return statistics.median(times)


def extra_bytes(step, gradient):
    """At most held beyond what there was, without the gradient."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() - before - gradient


def kernels(step):
    """Number of kernels, copies and fills that one step has the device do."""
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        torch.cuda.synchronize()
    on_device = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return sum(not getattr(event, "is_user_annotation", False) for event in on_device)


def measured(impl, case, inputs, repeats):
    """Columns of one implementation; empty ones where it failed."""
    columns = dict.fromkeys((f"{impl}_{name}" for name in ("us", "host_us", "extra_memory_bytes", "kernels")), "")
    try:
        step = step_of(impl, inputs)
        for _ in range(3):
            step()
        columns[f"{impl}_host_us"] = round(host_microseconds(step, repeats * case.repetitions), 1)
        columns[f"{impl}_extra_memory_bytes"] = extra_bytes(step, inputs[0].nbytes)
        columns[f"{impl}_us"] = round(graph_microseconds(step, case.repetitions, repeats), 2)
        columns[f"{impl}_kernels"] = kernels(step)
    except Exception:
        print(f"{case.name}: {impl} failed\n{traceback.format_exc()}", flush=True)
    return columns


def row_of(case, implementations, bandwidth, repeats):
    inputs = inputs_of(case)
    wrong = errors(inputs)
    torch.cuda.empty_cache()
    floor = 1e6 * floor_bytes(*inputs) / bandwidth
    row = {"case": case.name, "images": case.images, "side": case.side, "dtype": case.dtype, "target": case.target}
    row |= {"copy_gb_per_s": round(bandwidth / 1e9), "floor_us": round(floor, 2)}
    for impl in IMPLEMENTATIONS:
        names = (f"{impl}_{name}" for name in ("us", "host_us", "extra_memory_bytes", "kernels"))
        wanted = impl in implementations
        row |= measured(impl, case, inputs, repeats) if wanted else dict.fromkeys(names, "")
    row |= floors_of_the_host(inputs, repeats * case.repetitions)
    fused = row["fused_us"]
    row["fused_share_of_floor"] = round(floor / fused, 3) if fused else ""
    for impl in ("compile", "eager"):
        row[f"{impl}_over_fused"] = round(row[f"{impl}_us"] / fused, 2) if fused and row[f"{impl}_us"] else ""
        host, fused_host = row[f"{impl}_host_us"], row["fused_host_us"]
        row[f"{impl}_over_fused_host"] = round(host / fused_host, 2) if host and fused_host else ""
    for impl, pair in wrong.items():
        for name, error in zip(("value", "gradient"), pair, strict=True):
            row[f"{impl}_{name}_error"] = f"{error:.1e}"
    return row


def small_inputs(case):
    generator = torch.Generator(device="cuda").manual_seed(0)

    def normal(side):
        return 3 * torch.randn(case.images, 1, side, side, generator=generator, device="cuda")

    student, teacher = (normal(side).to(getattr(torch, case.dtype)) for side in (case.student, case.teacher))
    target = (normal(case.side) > 1).to(getattr(torch, case.target))
    return student.requires_grad_(), teacher, target


def interpolated(maps, target):
    size = target.shape[-2:]
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=False)


def small_row(case, bandwidth, repeats):
    """Errors against float64, and times of both ways of one case; a case that is wrong raises."""
    inputs = small_inputs(case)
    inside, outside = DynamicKDLoss(resize="bilinear", impl="fused"), DynamicKDLoss(impl="fused")
    ways = {
        "fused": inside,
        "today": lambda s, t, g: outside(interpolated(s, g), interpolated(t, g), g),
        "exact": lambda s, t, g: DynamicKDLoss(impl="eager")(interpolated(s, g), interpolated(t, g), g),
    }
    few = [each.detach()[:2] for each in inputs]  # no graph of the leaf may live when another stream is captured
    wide = few[0].double().requires_grad_(), few[1].double(), few[2]
    exact = [each.detach() for each in value_and_gradient(ways["exact"], *wide)]
    row = case._asdict() | {"case": case.name, "floor_us": round(1e6 * floor_bytes(*inputs) / bandwidth, 1)}
    for way in ("fused", "today"):
        leaf = few[0].detach().requires_grad_()
        value, slope = (each.detach().double() for each in value_and_gradient(ways[way], leaf, *few[1:]))
        row[f"{way}_value_error"] = f"{abs(value / exact[0] - 1).item():.1e}"
        row[f"{way}_gradient_error"] = f"{((slope - exact[1]).norm() / exact[1].norm()).item():.1e}"
    coarse = case.dtype == "bfloat16"  # in which the gradient is written
    assert float(row["fused_value_error"]) < 1e-6, row
    assert float(row["fused_gradient_error"]) < (3e-3 if coarse else 1e-6), row
    incoming = torch.ones((), device="cuda")
    for way in ("fused", "today"):

        def step(way=way):
            torch.autograd.grad(ways[way](*inputs), inputs[0], incoming)

        for _ in range(3):
            step()
        row[f"{way}_us"] = round(graph_microseconds(step, case.repetitions, repeats), 1)
        row[f"{way}_extra_memory_bytes"] = extra_bytes(step, inputs[0].nbytes)
    row["today_over_fused"] = round(row["today_us"] / row["fused_us"], 2)
    return row


def small_sizes(options):
    """Measure students smaller than the target."""
    rows, bandwidth = [], bytes_per_second(max(options.repeats, 10))
    for case in SMALL:
        try:
            rows.append(small_row(case, bandwidth, options.repeats))
        except Exception:
            print(f"{case.name} failed\n{traceback.format_exc()}", flush=True)
            continue
        finally:
            torch.cuda.empty_cache()
        print(*(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
        write(rows, options.output or RESULTS / "fused_resize.csv")


def training_rows(images, autocast, repeats):
    """A student's whole step and its loss alone, eager and fused."""
    torch.backends.cudnn.benchmark = True
    generator = torch.Generator(device="cuda").manual_seed(0)
    pictures = torch.rand(images, 4, 256, 256, generator=generator, device="cuda")
    teacher = 3 * torch.randn(images, 1, 256, 256, generator=generator, device="cuda")
    target = (teacher + torch.randn(teacher.shape, generator=generator, device="cuda") > 0).float()
    for impl in ("eager", "fused"):
        torch.manual_seed(0)
        model, loss = FPNStudent("vgg16").cuda(), DynamicKDLoss(impl=impl)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

        def logits(model=model):
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
                return model(pictures)

        def step(logits=logits, loss=loss, optimizer=optimizer):
            optimizer.zero_grad(set_to_none=True)
            loss(logits(), teacher, target).backward()
            optimizer.step()

        student = logits().detach().requires_grad_()
        alone = step_of(impl, (student, teacher, target))
        for function in (step, alone):
            for _ in range(3):
                function()
        whole = host_microseconds(step, repeats)
        queued = microseconds_of(lambda alone=alone: [alone() for _ in range(20)], repeats) / 20
        yield {
            "batch": images,
            "precision": "bfloat16 autocast" if autocast else "float32",
            "loss": impl,
            "logits": str(student.dtype).removeprefix("torch."),
            "step_us": round(whole),
            "loss_us": round(queued, 1),
            "loss_share": round(queued / whole, 4),
        }


def checks_row(case, repeats):
    """What looking at values costs: a loss's first call, which waits for the device, and its later ones."""
    inputs = inputs_of(case)
    losses = {check: DynamicKDLoss(check=check) for check in ("auto", "off")}
    times = {f"{when}_{check}": [] for check in losses for when in ("first", "later")}
    for round_ in range(3 + repeats):  # the first rounds warm up
        for check, loss in losses.items():
            for when, used in (("first", DynamicKDLoss(check=check)), ("later", loss)):
                once = host_microseconds(lambda used=used: torch.autograd.grad(used(*inputs), inputs[0]), 1)
                if round_ >= 3:
                    times[f"{when}_{check}"].append(once)
    row = {"case": case.name} | {f"{name}_us": round(statistics.median(each), 1) for name, each in times.items()}
    return row | {"later_share": round(row["later_auto_us"] / row["later_off_us"] - 1, 4)}


def write(rows, path):
    machine = {"gpu": torch.cuda.get_device_name(), **environment("torch", "triton", "numpy")}
    write_rows(path, [row | machine for row in rows])


def plot(path):
    """Draw what share of the copy bandwidth each implementation reaches, from the CSV, beside it."""
    from matplotlib.figure import Figure

    rows = list(csv.DictReader(path.open()))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    styles = {"float32": "o-", "bfloat16": "s--", "float16": "^:"}
    colors = {"eager": "tab:gray", "compile": "tab:orange", "fused": "tab:blue"}
    for impl in IMPLEMENTATIONS:
        for dtype, style in styles.items():
            points = sorted(
                (int(row["images"]) * int(row["side"]) ** 2, float(row["floor_us"]) / float(row[f"{impl}_us"]))
                for row in rows
                if row["dtype"] == row["target"] == dtype and row[f"{impl}_us"]
            )
            if points:
                name = "torch.compile" if impl == "compile" else impl
                axes.plot(*zip(*points, strict=True), style, color=colors[impl], label=f"{name}, {dtype}")
    axes.set(xscale="log", xlabel="pixels of a batch", ylabel="share of copy bandwidth", ylim=(0, None))
    axes.set_title(f"Loss forward and backward, {rows[0]['gpu']}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path.with_suffix(".png"), dpi=150)


def sizes(options):
    """Measure the cases, one row after the other."""
    start, rows = time.perf_counter(), []
    bandwidth = bytes_per_second(max(options.repeats, 10))
    for case in CASES:
        if options.cases and case.name not in options.cases:
            continue
        in_time = time.perf_counter() - start < options.compile_seconds
        compiles = case.compiled and options.compile and in_time
        try:
            row = row_of(case, IMPLEMENTATIONS if compiles else ("eager", "fused"), bandwidth, options.repeats)
        except Exception:
            print(f"{case.name} failed\n{traceback.format_exc()}", flush=True)
            continue
        finally:
            torch.cuda.empty_cache()
        rows.append(row)
        print(*(f"{name}={value}" for name, value in row.items()), f"{time.perf_counter() - start:.0f} s", flush=True)
        write(rows, options.output or RESULTS / "fused_loss.csv")


def training(options):
    rows = []
    for images in (4, 32):
        for autocast in (False, True):
            try:
                rows.extend(training_rows(images, autocast, options.repeats))
            except Exception:
                print(f"batch {images}, autocast {autocast} failed\n{traceback.format_exc()}", flush=True)
                continue
            for row in rows[-2:]:
                print(*(f"{name}={value}" for name, value in row.items()), flush=True)
            write(rows, options.output or RESULTS / "fused_training.csv")


def checks(options):
    rows = [checks_row(case, 200) for case in CASES[:3]]
    for row in rows:
        print(*(f"{name}={value}" for name, value in row.items()), flush=True)
    write(rows, options.output or RESULTS / "loss_checks.csv")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, help="CSV to write, or to plot")
    names = [case.name for case in CASES]
    parser.add_argument("--cases", nargs="+", choices=names, metavar="CASE", help=f"some of {', '.join(names)}")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave out torch.compile")
    parser.add_argument(
        "--compile-seconds", type=float, default=150, help="cases after this many seconds go without torch.compile"
    )
    parser.add_argument("--training", action="store_true", help="time a student's training steps instead")
    parser.add_argument("--checks", action="store_true", help="time what looking at values costs instead")
    parser.add_argument("--resize", action="store_true", help="time students smaller than the target instead")
    parser.add_argument("--plot", action="store_true", help="draw the CSV that is there, and measure nothing")
    options = parser.parse_args()
    if options.plot:
        plot(options.output or RESULTS / "fused_loss.csv")
    else:
        require_gpus(parser)
        ways = (("training", training), ("checks", checks), ("resize", small_sizes))
        next((way for name, way in ways if getattr(options, name)), sizes)(options)


if __name__ == "__main__":
    main()
