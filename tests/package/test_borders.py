"""Packages talk through public names, and CONTRIBUTING draws the layers that import-linter checks."""

import ast
import tomllib
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
PACKAGE = CLONE / "dynamic_kd"
pytestmark = pytest.mark.skipif(not PACKAGE.is_dir(), reason="needs the source of the package")

# Every package may use the root modules. Any other private name that one package imports from another stands here
# with its reason, at most ten of them.
EXCEPTIONS = {
    ("dynamic_kd.losses._dynamic_kd_loss", "dynamic_kd.torch", "_fused"): (
        "the loss imports the fused op lazily, when it meets a torch CUDA tensor"
    ),
    ("dynamic_kd.torch._fused._kernels._forward", "dynamic_kd.losses", "_weighting"): (
        "the kernel reads A2dele's rate where it is defined, so that the number stands once"
    ),
    ("dynamic_kd.compat.py_sod_metrics._pair", "dynamic_kd.metrics._measured", "Measured"): (
        "PySODMetrics' classes score one pair together and share its statistics"
    ),
    ("dynamic_kd.compat.py_sod_metrics._handlers", "dynamic_kd.metrics._pixels._size_invariant", "OBJECT_RATES"): (
        "a handler computes its rate for each object, which no public function returns"
    ),
    ("dynamic_kd.compat.py_sod_metrics._scores", "dynamic_kd.metrics._pixels._multi_scale_iou", "SCALES"): (
        "PySODMetrics' MSIoU has the number of scales as an attribute"
    ),
    ("dynamic_kd.compat.py_sod_metrics._scores", "dynamic_kd.metrics._pixels._multi_scale_iou", "multi_scale_curve"): (
        "PySODMetrics' MSIoU returns the IoU at each scale, which no public function returns"
    ),
}


def private_imports():
    """Names that a module imports from another package by way of an underscore: (importer, module, name)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        importer = ".".join(path.relative_to(CLONE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dynamic_kd."):
                parts = node.module.split(".")
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name.startswith("dynamic_kd.")]
                parts = names[0].split(".") if names else []
            else:
                continue
            if len(parts) < 2 or parts[1] == importer.split(".")[1] or (PACKAGE / f"{parts[1]}.py").is_file():
                continue
            for name in names:
                if any(part.startswith("_") for part in (*parts[1:], name)):
                    yield importer, ".".join(parts), name


def test_packages_import_only_public_names_of_each_other():
    assert {found for found in private_imports() if found not in EXCEPTIONS} == set()


def test_every_exception_is_used_and_has_a_reason():
    assert len(EXCEPTIONS) <= 10
    assert set(EXCEPTIONS) <= set(private_imports())
    assert all(len(reason) > 20 for reason in EXCEPTIONS.values())


def test_contributing_draws_the_layers_of_import_linter():
    settings = tomllib.loads((CLONE / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    drawn = "\n".join(f"    {layer.replace('dynamic_kd.', '')}" for layer in layers)
    assert drawn in (CLONE / "CONTRIBUTING.md").read_text(encoding="utf-8")
