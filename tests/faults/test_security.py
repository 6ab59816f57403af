"""What SECURITY.md promises: no code of a file is run, nothing outside is read by a list, no network."""

import ast
import socket
from pathlib import Path

import numpy as np
import pytest

import dynamic_kd

PACKAGE = Path(dynamic_kd.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
# What runs code that it is given, or unpacks it, whatever the arguments.
NEVER = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "marshal.load", "marshal.loads", "shelve.open", "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads",
    "joblib.load", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "tempfile.mktemp",
    "runpy.run_path", "zipfile.ZipFile", "tarfile.open", "shutil.unpack_archive", "torch.jit.load", "torch.hub.load",
    "torch.package.PackageImporter", "numpy.fromregex",
}  # fmt: skip
# Calls that must say that they do not.
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
# Triton needs source text: that of the package's own formulas, into which nothing comes from outside.
ALLOWED = {
    ("metrics/_statistics/_triton/_formulas.py", "exec"),
    ("metrics/_statistics/_triton/_formulas.py", "compile"),
}


def dotted(node):
    """The name of what is called, such as ``torch.load``."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source):
    """What in a file's source may run code of its input."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name in NEVER or name in ONLY_WITH]
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        settings = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        if name in NEVER or settings.get("shell"):
            found.append(name)
        if name in ONLY_WITH and settings.get(ONLY_WITH[name][0]) is not ONLY_WITH[name][1]:
            found.append(name)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path)",
        "eval(text)",
        "subprocess.run(words, shell=True)",
        "yaml.load(text)",
        "from torch import load",
    ],
)
def test_the_check_sees_it(source):
    assert dangers(source)


def test_the_check_lets_the_rest_pass():
    assert not dangers(
        "model.eval(); torch.load(path, weights_only=True); re.compile(x); np.load(p, allow_pickle=False)"
    )


def test_no_file_of_the_package_runs_code_of_its_input():
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in FILES
        for name in dangers(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


def tree(root, *names):
    for name in names:
        for folder in ("RGB", "GT"):
            (root / name / folder).mkdir(parents=True)
            (root / name / folder / "1.png").touch()


@pytest.mark.parametrize(
    "entry",
    [
        "../secret/RGB/1.png",
        "SIP/../../secret/RGB/1.png",
        "SIP/RGB/../../../secret/RGB/1.png",
        "..\\secret\\RGB\\1.png",
        "{outside}/RGB/1.png",
        "{outside}/RGB/1",
        "SIP/1 ../secret/GT/1.png",
        "{outside}/RGB/1.png SIP/GT/1.png",
        "data/../secret/RGB/1.png",
    ],
)
def test_a_list_that_leads_out_of_the_data_is_refused(tmp_path, entry):
    from dynamic_kd.data import find_data

    tree(tmp_path / "data", "SIP")
    tree(tmp_path, "secret")
    (tmp_path / "list.txt").write_text(entry.format(outside=tmp_path / "secret"))
    with pytest.raises(
        ValueError, match=r"expected each line to name one sample below \S+, once, got 1 that leave the f"
    ):
        find_data(tmp_path / "data", list_file=tmp_path / "list.txt")


@pytest.mark.parametrize(
    "entry", ["~/1.png", "file:///etc/passwd", "http://example.org/1.png", "$HOME/1.png", "*", "SIP/RGB/*"]
)
def test_a_list_is_no_pattern_and_no_address(tmp_path, entry):
    from dynamic_kd.data import find_data

    tree(tmp_path / "data", "SIP")
    (tmp_path / "list.txt").write_text(entry)
    with pytest.raises(ValueError, match=r"got 1 (unknown|that leave the folder): "):
        find_data(tmp_path / "data", list_file=tmp_path / "list.txt")


def test_absolute_paths_into_the_data_and_links_out_of_it_are_taken(tmp_path):
    """Lists of other programs hold absolute paths, and whoever links a data set to another disk means it."""
    from dynamic_kd.data import find_data

    tree(tmp_path, "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "SIP").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "list.txt").write_text(str(tmp_path / "data" / "SIP" / "RGB" / "1.png"))
    (found,) = find_data(tmp_path / "data", list_file=tmp_path / "list.txt")
    assert [files.image for files in found.files] == [tmp_path / "data" / "SIP" / "RGB" / "1.png"]


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".hidden", "a\nb", "a\0b", "C:x"])
def test_names_of_a_comparison_are_no_paths(tmp_path, name):
    import json

    from dynamic_kd.evaluation import read_config

    (tmp_path / "maps").mkdir()
    text = f'[datasets.{json.dumps(name)}]\ntarget = "maps"\n[methods.ours]\nmaps = "maps"\n'
    (tmp_path / "compare.toml").write_text(text)
    with pytest.raises(ValueError, match="cannot be the name of a file"):
        read_config(tmp_path / "compare.toml")


def test_nothing_asks_the_network(tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    pytest.importorskip("cv2")
    from dynamic_kd.data import synthetic_rgbd
    from dynamic_kd.metrics import SODMetrics

    (sample,) = synthetic_rgbd(1, size=32)
    metrics = SODMetrics()
    metrics.update(sample.mask.astype(np.float64), sample.mask)
    assert metrics.compute()["MAE"] == 0
    pytest.importorskip("torch", reason="torch is not installed")
    from dynamic_kd.models import FPNStudent, RFBTeacher

    FPNStudent("vgg16")
    RFBTeacher("tiny")
