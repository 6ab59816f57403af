"""Sessions that test the package as users install it: built, in an environment without the source.

``nox -l`` lists them, ``nox`` runs those of continuous integration, and ``nox -s NAME`` runs one. Sessions whose Python
is not installed are skipped. Every session installs the torch of the constraints, because an unpinned torch may be a
build with gigabytes of CUDA libraries. The oldest torch is tested on a machine with GPUs.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
OLDEST = "constraints-oldest.txt"
RUN_TIME = "eval,export,jax,torchmetrics,train"
TOOLS = ("hypothesis", "pytest", "pytest-timeout")
LOSSES = [
    f"tests/losses/test_{name}.py" for name in ("dynamic_kd_loss", "inputs", "soft_iou", "temperature_kl", "weighting")
]
METRICS = [f"tests/metrics/test_{name}.py" for name in ("golden", "inputs", "reference", "sod_metrics")]
PIXELS = [
    f"tests/metrics/test_{name}.py" for name in ("context_measure", "human_correction_effort", "libraries", "report")
]
FOLDERS = ["tests/data", "tests/cli/test_evaluate.py", "tests/evaluation/test_folders.py"]
# Fast tests that cover most of how a wheel works with its dependencies.
QUICK = [*LOSSES, *METRICS, *PIXELS, *FOLDERS]
EVERYTHING = [f"tests/{name}" for name in (
    "cli", "compat", "data", "evaluation", "experiments", "faults", "losses", "metrics", "models", "torch", "training",
)]  # fmt: skip

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["package-3.11", "minimal-3.11", "oldest(core)"]


@nox.session
def build(session: nox.Session) -> None:
    """Build wheel and sdist into dist/ twice; check that they are identical and complete, and that metadata render."""
    session.install("build", "hatch-fancy-pypi-readme", "hatch-vcs", "hatchling", "pytest", "pytest-timeout", "twine")
    commit = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True, success_codes=[0, 128])
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or (commit or "").strip()
    env = {"SOURCE_DATE_EPOCH": epoch if epoch.isdigit() else "1767225600"}
    again = Path(session.create_tmp()) / "again"
    for folder in (DIST, again):
        shutil.rmtree(folder, ignore_errors=True)
    # Once from the sdist, isolated as an installer builds it, and once from the tree.
    session.run("python", "-m", "build", "--outdir", str(DIST), env=env, silent=True)
    direct = ("--no-isolation", "--sdist", "--wheel", "--outdir", str(again))
    session.run("python", "-m", "build", *direct, env=env, silent=True)
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    found = {"DYNAMIC_KD_DIST": str(DIST), "DYNAMIC_KD_DIST_AGAIN": str(again)}
    session.run("pytest", "-q", "--noconftest", "tests/package/test_distributions.py", env=found)


@nox.session(python=PYTHONS, requires=["build"])
def package(session: nox.Session) -> None:
    """Test the wheel with the extra for folders, and its command, from the tree that the sdist holds.

    The session `oldest` runs more tests of the metrics with this extra.
    """
    installed(session, "[eval]")
    check(session, "tests/metrics/test_golden.py", *FOLDERS[1:], "tests/package")
    session.run("pytest", "-q", "--pyargs", "dynamic_kd.losses", "dynamic_kd.metrics", "dynamic_kd.data")
    for words in (["--version"], ["demo", "--help"], ["evaluate", "--help"]):
        session.run("dynamic-kd", *words, silent=True)


@nox.session(python=PYTHONS, requires=["build"])
def minimal(session: nox.Session) -> None:
    """Test the wheel without extras: losses and metrics on NumPy, and the errors that name extras."""
    installed(session, "", tools=TOOLS)
    check(session, *LOSSES, *METRICS, "tests/package/test_without_extras.py", "tests/test_extras.py")


@nox.session(python="3.11", requires=["build"])
@nox.parametrize("extent", ["core", "all"], ids=["core", "all"])
def oldest(session: nox.Session, extent: str) -> None:
    """Test the wheel with the oldest version of every dependency, of the core or of all extras."""
    versions(session, extent, "-c", str(ROOT / OLDEST))


@nox.session(python=PYTHONS, requires=["build"])
@nox.parametrize("extent", ["core", "all"], ids=["core", "all"])
def newest(session: nox.Session, extent: str) -> None:
    """Test the wheel with the newest version of every dependency but torch."""
    versions(session, extent, "-c", torch_alone(session))


@nox.session(requires=["build"])
def types(session: nox.Session) -> None:
    """Check the types that users of the wheel see: mypy over tests/typing."""
    installed(session, "[train]", "mypy", "-c", str(ROOT / "constraints.txt"))
    check(session, "tests/typing")


@nox.session(requires=["build"])
def frameworks(session: nox.Session) -> None:
    """Test the wheel in the frameworks of examples/frameworks that work with a CPU build of torch."""
    group = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "frameworks")
    installed(session, "[eval,jax,torchmetrics]", *group, "-c", str(ROOT / "constraints.txt"))
    check(session, "tests/frameworks")


@nox.session(requires=["build"])
def audit(session: nox.Session) -> None:
    """Look up known vulnerabilities of everything that the run-time extras install. Needs the advisory service."""
    session.install("pip-audit")
    command = ("python", "-m", "pip", "--python", str(run_time(session)), "list", "--format=freeze")
    listed = str(session.run(*command, silent=True)).splitlines()
    # The index knows neither an unreleased package nor local builds of torch.
    known = [line.partition("+")[0] for line in listed if "==" in line and not line.startswith("dynamic-kd==")]
    pinned = Path(session.create_tmp()) / "pinned.txt"
    pinned.write_text("\n".join(known) + "\n", encoding="utf-8")
    session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "-r", str(pinned), *session.posargs)


@nox.session(requires=["build"])
def sbom(session: nox.Session) -> None:
    """Write dist/sbom.cdx.json: the package and everything that all run-time extras install, as CycloneDX."""
    session.install("cyclonedx-bom")
    environment = {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "1767225600")}
    path, pyproject = DIST / "sbom.cdx.json", ("--pyproject", "pyproject.toml", "--mc-type", "library")
    output = (*pyproject, "--output-reproducible", "-o", str(path))
    session.run("cyclonedx-py", "environment", *output, str(run_time(session)), env=environment)
    bill = json.loads(path.read_text(encoding="utf-8"))
    version = next(DIST.glob("*.whl")).name.split("-")[1]  # comes from the tag at build time
    bill["metadata"]["component"] |= {"version": version, "purl": f"pkg:pypi/dynamic-kd@{version}"}
    path.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")


def versions(session: nox.Session, extent: str, *constraints: str) -> None:
    """Run the fast tests with the extra ``eval``, or all tests with all extras."""
    tools = (*TOOLS, "array-api-strict", *constraints)
    if extent == "core":
        installed(session, "[eval]", tools=tools)
        check(session, *QUICK)
    else:
        installed(session, f"[{RUN_TIME}]", tools=tools)
        check(session, *EVERYTHING)


def installed(session: nox.Session, extras: str, *more: str, tools: tuple[str, ...] = TOOLS) -> None:
    """Install the wheel that `build` made, with extras and what the tests need."""
    wheel = next(DIST.glob("*.whl"))
    session.install(f"{wheel}{extras}", *tools, *more)


def check(session: nox.Session, *tests: str) -> None:
    """Run tests in the tree of the sdist without its package, so that they import the installed one."""
    tree = Path(session.create_tmp()) / "sdist"
    shutil.rmtree(tree, ignore_errors=True)
    with tarfile.open(next(DIST.glob("*.tar.gz"))) as sdist:
        sdist.extractall(tree, filter="data")
    (tree,) = tree.iterdir()
    shutil.rmtree(tree / "dynamic_kd")
    session.chdir(tree)
    # The configuration in the sdist turns warnings into errors.
    options = ("-q", "-r", "fE", "-p", "no:cacheprovider")
    session.run("pytest", *options, *tests, *session.posargs, env={"OMP_NUM_THREADS": "1"})
    session.run("python", "-c", "import dynamic_kd, pathlib; assert 'site-packages' in dynamic_kd.__file__")


def torch_alone(session: nox.Session) -> str:
    """Return a file of constraints with the line for torch alone."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    path = Path(session.create_tmp()) / "torch.txt"
    path.write_text("\n".join(line for line in lines if line.startswith("torch==")) + "\n", encoding="utf-8")
    return str(path)


def run_time(session: nox.Session) -> Path:
    """Install the wheel with all run-time extras into an environment without tools, and return its Python."""
    place = Path(session.create_tmp()) / "run-time"
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(place))
    python = place / "bin" / "python"
    wheel = f"{next(DIST.glob('*.whl'))}[{RUN_TIME}]"
    session.run("python", "-m", "pip", "--python", str(python), "install", "-q", wheel, "-c", "constraints.txt")
    return python
