"""``dynamic-kd`` as a whole: its help, its parser, and what it says of what the system refuses."""

import errno
import io
import os
import subprocess
import sys

import pytest

from dynamic_kd import cli
from dynamic_kd.cli import main, parser
from dynamic_kd.cli._arguments import PICTURES, check_output

COMMANDS = ("evaluate", "compare", "data check", "demo", "train", "inspect", "predict", "export", "info")


def failing(error):
    """Return a parser whose only command raises an error."""

    def run(arguments):
        raise error

    made = cli.Parser(prog="dynamic-kd")
    made.set_defaults(run=run)
    return made


@pytest.mark.parametrize("command", ["", "data", *COMMANDS])
def test_help_fits_eighty_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_that_it_understands(command, capsys):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    epilog = capsys.readouterr().out.split("Examples:\n")[1].replace("\\\n", " ")
    examples = [line.strip() for line in epilog.splitlines() if line.startswith(f"  dynamic-kd {command}")]
    assert len(examples) >= 2
    for example in examples:
        parser().parse_args(example.split(" > ")[0].replace("'", "").split()[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_options_without_a_default_are_all_that_leave_it_out(command):
    """What an option is by default is said, unless it is a flag, a file to write, or something left out."""
    options = parser()
    for word in command.split():
        options = next(action for action in options._actions if action.choices and word in action.choices).choices[word]
    for action in options._actions:
        if action.option_strings and action.nargs != 0 and action.default not in (None, [], 0):
            assert "default" in action.help, action.option_strings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "dynamic-kd: error: the following arguments are required: COMMAND; see dynamic-kd --help"),
        (["predikt"], "dynamic-kd: error: argument COMMAND: invalid choice: 'predikt' (choose from "),
        (["export", "w", "--size", "1.5"], "dynamic-kd export: error: argument --size: expected a whole number, got"),
        (["export", "w", "--tolerance", "x"], "argument --tolerance: expected a number, got 'x'; see dynamic-kd exp"),
        (["export", "w", "--siz", "1"], "dynamic-kd: error: unrecognized arguments: --siz 1; see dynamic-kd --help"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_2(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "a/b"),
            "a/b: Permission denied; check the path",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
            "a: No such file or directory; check the path",
        ),
        (
            FileExistsError(errno.EEXIST, "File exists", "a"),
            "a: File exists; check the path",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "a"),
            "a: Not a directory; check the path",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "temporary", None, "a"),
            "a: Is a directory; check the path",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space left on device"),
        (FileNotFoundError("w: expected a file\nof weights"), "w: expected a file of weights"),
        (ModuleNotFoundError("get it with: pip install x"), "get it with: pip install x"),
    ],
)
def test_what_the_system_refuses_is_one_line_that_names_the_file(error, message, capsys, monkeypatch):
    monkeypatch.setattr(cli, "parser", lambda: failing(error))
    assert main([]) == 2
    assert capsys.readouterr().err == f"dynamic-kd: error: {message}\n"
    monkeypatch.setenv("DYNAMIC_KD_DEBUG", "1")
    with pytest.raises(type(error)):
        main([])


def test_an_interrupt_is_one_line_and_status_130(capsys, monkeypatch):
    monkeypatch.setattr(cli, "parser", lambda: failing(KeyboardInterrupt()))
    assert main([]) == 130
    assert capsys.readouterr().err == "dynamic-kd: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")
@pytest.mark.parametrize("command", [("train", "--list"), ("info", "--no-speed", "student-tiny"), ("--help",)])
def test_a_reader_that_leaves_ends_it_quietly(command):
    """Once by Python's print, once by rich's, once by argparse's, all of which fail in their own ways."""
    pytest.importorskip("torch", reason="torch is not installed")
    read, write = os.pipe()
    os.close(read)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    words = [sys.executable, "-m", "dynamic_kd.cli", *command]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=buffered)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_reader_of_errors_that_leaves_does_no_harm(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(cli, "parser", lambda: failing(ValueError("x")))
    monkeypatch.setattr(sys, "stderr", Gone())
    assert main([]) == 2


def test_a_file_that_cannot_be_written_is_found_out_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken.png").touch()
    for fine in (None, "a.png", "folder/a.PNG", "taken.png"):
        check_output("--curves", fine, PICTURES)
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(ValueError, match=r"--json x: no permission to write there"):
            check_output("--json", "x")
    for path, message in (
        ("none/a.png", "--json none/a.png: expected a file in a folder that exists; make none first"),
        ("folder", "--json folder: expected a file to write, got a folder; name a file in it"),
        ("a.jpg", r"--json a.jpg: expected a name ending in .png, .pdf or .svg"),
    ):
        with pytest.raises(ValueError, match=message):
            check_output("--json", path, PICTURES)
