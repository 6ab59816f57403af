"""``dynamic-kd info`` as its users call it."""

import json

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("rich", "safetensors"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.models import RFBTeacher, save_model  # noqa: E402


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_model(RFBTeacher("tiny", 3), path, recipe={"epochs": 40, "name": "größer"}, weighting="dynamic", best=None)
    return str(path)


def rows(text):
    """Cells of the table by network."""
    lines = [line.split() for line in text.splitlines() if line.startswith(("student-", "teacher-"))]
    return {name: cells for name, *cells in lines}


def test_all_networks_beside_the_paper(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["info", "--no-speed"]) == 0
    out = capsys.readouterr().out
    table = rows(out)
    assert list(table) == [f"{role}-{trunk}" for role in ("student", "teacher") for trunk in ("vgg16", "vgg19", "tiny")]
    assert table["student-vgg16"] == ["15,180,289", "57.9", "57.9", "54.14", "-"]
    assert table["student-vgg19"] == ["20,489,985", "78.2", "78.2", "65.01", "-"]
    assert table["teacher-vgg16"][2] == "-"
    text = " ".join(out.split())
    assert "Images of 256x256. A multiply-add is two operations." in text
    assert "The paper's students: 136 images per second on a GTX TITAN X." in text
    assert "Speed" not in text
    assert max(map(len, out.splitlines())) <= 80


def test_speed_of_one_network(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["info", "student-tiny", "--size", "32", "--batch", "2", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert list(rows(captured.out)) == ["student-tiny"]
    assert float(rows(captured.out)["student-tiny"][-1]) > 0
    assert "Images of 32x32." in captured.out
    assert "Speed: 2 at a time on " in captured.out
    assert captured.err == ""  # no progress bar outside a terminal


def test_a_file_tells_its_metadata(weights, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["info", weights, "--no-speed"]) == 0
    out = capsys.readouterr().out
    table, metadata = out.split(f"\n{weights}:\n")
    assert f"{sum(p.numel() for p in RFBTeacher('tiny', 3).parameters()):,}" in table
    lines = metadata.splitlines()
    assert "  model: RFBTeacher" in lines
    assert lines[lines.index("  model_settings:") + 1 :][:2] == ["    backbone: tiny", "    in_channels: 3"]
    assert lines[lines.index("  recipe:") + 1 :][:2] == ["    epochs: 40", "    name: größer"]
    assert "  best: null" in lines


def test_json(weights, capsys, tmp_path):
    path = tmp_path / "info.json"
    assert main(["info", "student-vgg16", weights, "--no-speed", "--json", str(path), "--channels", "3"]) == 0
    content = json.loads(path.read_text())
    assert list(content) == ["student-vgg16", weights]
    assert content["student-vgg16"]["parameters"] == 15_180_289 - 9 * 64
    assert content["student-vgg16"]["macs"] * 2 == content["student-vgg16"]["flops"]
    assert content["student-vgg16"]["metadata"] is content["student-vgg16"]["fps"] is None
    assert content[weights]["metadata"]["recipe"]["epochs"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["student"], "expected a file of weights or one of student-vgg16, student-vgg19, student-tiny, "),
        (
            ["student-tiny", "--device", "abacus"],
            "device: expected auto, cpu, cuda or another of torch's, got 'abacus'",
        ),
        (["student-tiny", "--size", "8"], "images: expected shape (B, 4, H, W) with H and W at least 32, got "),
        (["student-tiny", "--batch", "0"], "batch: expected a whole number of at least 1, got 0"),
        (["student-tiny", "--json", "no/x.json"], "--json no/x.json: expected a file in a folder that exists; make no"),
    ],
)
def test_mistakes_are_one_line_and_status_2(capsys, arguments, message):
    assert main(["info", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"dynamic-kd: error: {message}")
    assert error.count("\n") == 1


def test_help_names_every_network(capsys):
    with pytest.raises(SystemExit):
        main(["info", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    for name in ("student-vgg16, student-vgg19, student-tiny, teacher-vgg16", "teacher-vgg19, teacher-tiny"):
        assert name in out
