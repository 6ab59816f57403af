"""``dynamic-kd predict`` when disks, files and kills fail it: every map whole, and the same command goes on."""

import errno
import os
import signal

import pytest

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, save_model  # noqa: E402

# After four maps, writing waits for a file: the test decides when it goes on.
WAITING = """
sync, synced = os.fsync, []
def waiting(descriptor):
    synced.append(descriptor)
    while len(synced) > 5 and not os.path.exists({go!r}):
        time.sleep(0.01)
    sync(descriptor)
os.fsync = waiting
"""


@pytest.fixture
def words(tmp_path):
    """The command, for ten images and a small network of colour alone."""
    (tmp_path / "images").mkdir()
    for sample in synthetic_rgbd(10, size=48, seed=3):
        cv2.imwrite(str(tmp_path / "images" / f"{sample.name}.png"), sample.image)
    torch.manual_seed(0)
    save_model(FPNStudent("tiny", in_channels=3), tmp_path / "student.safetensors")
    places = [str(tmp_path / name) for name in ("student.safetensors", "images")]
    return ["predict", *places, "--out", str(tmp_path / "maps"), "--size", "32", "--workers", "1", "--batch", "2"]


def maps(tmp_path):
    """The maps that are there, each of which must be whole."""
    found = sorted((tmp_path / "maps").glob("*.png")) if (tmp_path / "maps").exists() else []
    for path in found:
        content = path.read_bytes()
        assert content.endswith(b"IEND\xaeB`\x82"), path
    return found


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_kill_leaves_whole_maps_and_the_same_command_goes_on(words, tmp_path, start, wait_for, capsys):
    process = start(*words, before=WAITING.format(go=str(tmp_path / "go")))
    wait_for(process, lambda: len(maps(tmp_path)) == 4)
    process.kill()
    process.wait()
    finished = len(maps(tmp_path))
    assert finished == 4
    assert main(words) == 0
    assert f"wrote {10 - finished} maps into {tmp_path / 'maps'} ({finished} existed before)" in capsys.readouterr().out
    assert len(maps(tmp_path)) == 10


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_says_that_the_same_command_goes_on_and_it_does(
    words, tmp_path, start, ended, wait_for, one_line, capsys
):
    process = start(*words, before=WAITING.format(go=str(tmp_path / "go")))
    wait_for(process, lambda: len(maps(tmp_path)) == 4)
    process.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()  # the command ends what it was writing
    status, out, err = ended(process, limit=30)
    assert (status, out) == (130, "")
    said = "dynamic-kd: interrupted; finished maps are kept; the same command continues from them"
    assert one_line(err) == said
    finished = len(maps(tmp_path))
    assert 4 <= finished < 10
    assert main(words) == 0
    assert f"wrote {10 - finished} maps" in capsys.readouterr().out


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS])
def test_a_place_where_nothing_may_be_written_is_named(words, tmp_path, monkeypatch, capsys, one_line, error):
    """As the administrator writes anywhere, the system is made to say no."""

    def refuse(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "replace", refuse)
    assert main(words) == 2
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"dynamic-kd: error: {tmp_path / 'maps' / 'predict.json'}: ")
    assert os.strerror(error) in line
    assert list((tmp_path / "maps").iterdir()) == []


def test_a_full_disk_is_named_and_the_same_command_goes_on(words, tmp_path, monkeypatch, capsys, one_line):
    sync, synced = os.fsync, []

    def fill(descriptor):
        synced.append(descriptor)
        if len(synced) > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    assert main(words) == 2
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"dynamic-kd: error: {tmp_path / 'maps'}")
    assert line.endswith(".png: No space left on device")
    finished = len(maps(tmp_path))
    assert finished == 3  # and what the maps are of
    assert not [path.name for path in (tmp_path / "maps").iterdir() if path.name.startswith(".")]
    monkeypatch.undo()
    assert main(words) == 0
    assert len(maps(tmp_path)) == 10


def test_an_image_that_goes_in_mid_run_is_named_and_the_rest_kept(words, tmp_path, monkeypatch, capsys, one_line):
    from dynamic_kd.training import _predict_folders

    write = _predict_folders.write_whole

    def writing(path, content):
        (tmp_path / "images" / "00009.png").unlink(missing_ok=True)
        write(path, content)

    monkeypatch.setattr(_predict_folders, "write_whole", writing)
    assert main(words) == 2
    said = f"{tmp_path / 'images' / '00009.png'}: expected an image file, got no such file"
    assert one_line(capsys.readouterr().err) == f"dynamic-kd: error: {said}"
    assert 0 <= len(maps(tmp_path)) < 10


def test_a_run_that_fails_at_its_first_batch_leaves_nothing(words, tmp_path, capsys, one_line):
    assert main([*words, "--size", "8"]) == 2
    assert "expected shape (B, 3, H, W) with H and W at least 32, got (2, 3, 8, 8)" in one_line(capsys.readouterr().err)
    assert not (tmp_path / "maps").exists()
