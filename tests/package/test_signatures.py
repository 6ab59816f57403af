"""What is imported takes the parameters that the declared API, which is read from the source, says; and arrays."""

import ast
import inspect
from pathlib import Path

import pytest

from dynamic_kd import losses, metrics

DECLARED = (Path(__file__).parent / "public_api.txt").read_text(encoding="utf-8").splitlines()
MADE_BY_DATACLASS = ("MetricReport.__init__", "Records.__init__", "DynamicKDTerms.")


def calls(package):
    """Lines of a package's functions, and of its classes' methods."""
    start = DECLARED.index(f"[{package.__name__}]") + 1
    end = next((i for i in range(start, len(DECLARED)) if DECLARED[i].startswith("[")), len(DECLARED))
    lines = DECLARED[start:end]
    return [line for line in lines if "(" in line and not line.startswith(("class ", *MADE_BY_DATACLASS))]


def found(package, path):
    """A function by its name in the package, and its parameters (name, kind, default); of methods without self."""
    owner, function = None, package
    for name in path.split("."):
        owner, function = function, getattr(function, name)
    parameters = list(inspect.signature(function).parameters.values())
    own = inspect.isclass(owner) and inspect.isfunction(inspect.getattr_static(owner, function.__name__))
    return function, [(each.name, each.kind, each.default) for each in parameters[own:]]


def declared(line, names):
    """Parameters of a line, whose defaults may be constants among the names."""
    arguments = ast.parse(f"def _{line[line.index('(') :]}: ...").body[0].args
    empty, kinds = inspect.Parameter.empty, inspect.Parameter
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    listed = [
        *zip(arguments.args, [kinds.POSITIONAL_OR_KEYWORD] * len(defaults), defaults, strict=True),
        *zip(
            arguments.kwonlyargs, [kinds.KEYWORD_ONLY] * len(arguments.kwonlyargs), arguments.kw_defaults, strict=True
        ),
        *([(arguments.kwarg, kinds.VAR_KEYWORD, None)] if arguments.kwarg else []),
    ]
    return [
        (each.arg, kind, empty if default is None else eval(ast.unparse(default), names))
        for each, kind, default in listed
    ]


@pytest.mark.parametrize("package", [losses, metrics], ids=lambda package: package.__name__)
def test_calls_are_as_declared(package):
    lines = calls(package)
    assert len(lines) > 5
    for line in lines:
        function, parameters = found(package, line[: line.index("(")])
        assert parameters == declared(line, vars(inspect.getmodule(function))), line


@pytest.mark.parametrize("package", [losses, metrics], ids=lambda package: package.__name__)
def test_losses_have_gradients_and_only_metrics_that_need_the_cpu_copy(package):
    """Metrics count thresholds. Objects, skeletons, contours and filters are found by SciPy and OpenCV."""
    copied = ("context_measure", "size_invariant", "multi_scale_iou", "human_correction_effort")
    listed = {line[: line.index("(")] for line in calls(package)} | {"DynamicKDLoss"} & vars(package).keys()
    functions = {name: getattr(package, name) for name in listed if hasattr(package, name)}
    for name in sorted(functions.keys() - {"plot_curves", "table"}):
        loss, host = package is losses, any(part in name for part in copied)
        gpu = "copied" if host else "operations" if loss and name != "DynamicKDLoss" else "kernels"
        support = functions[name].__array_support__
        assert vars(support) == {"gradient": loss, "traced": not host, "gpu": gpu}, name
