"""Print every public name of the package with its signature, read from the source without importing it.

The result is kept in public_api.txt. After a change that is meant, and has its line in CHANGELOG.md:

    python tests/package/public_api.py > tests/package/public_api.txt
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

PACKAGES = (
    "compat.py_sod_metrics",
    "data",
    "evaluation",
    "losses",
    "metrics",
    "models",
    "torch",
    "training",
)
CALLED = {"__call__", "__getitem__", "__init__", "__iter__", "__len__"}


def public_names(package: griffe.Module) -> list[str]:
    """Names listed in ``__all__``, else those imported from the package's own modules and from the tables' module."""
    if package.exports is not None:
        return sorted(str(name) for name in package.exports)
    own = {name: each for name, each in package.members.items() if each.is_alias and not name.startswith("_")}
    return sorted(
        name for name, each in own.items() if each.target_path.startswith((f"{package.path}.", "dynamic_kd._tables."))
    )


def described(path: str, each: griffe.Object | griffe.Alias) -> Iterator[str]:
    """Return what callers rely on; of a class, its public members too, inherited from this package or its own."""
    if each.is_function:
        yield each.signature(return_type=True, name=path).replace("(self, ", "(").replace("(self)", "()")
    elif each.is_class:
        bases = ", ".join(map(str, each.bases))
        yield f"class {path}({bases})" if bases else f"class {path}"
        for name, member in sorted(each.all_members.items()):
            if name in CALLED or not name.startswith("_"):
                yield from described(f"{path}.{name}", member)
    else:
        yield path if each.annotation is None else f"{path}: {each.annotation}"


def public_api() -> Iterator[str]:
    """Return the lines of every public package."""
    package = griffe.load("dynamic_kd", search_paths=[Path(__file__).parents[2]], resolve_aliases=True)
    yield "[dynamic_kd]"
    yield from (f"{name} = {package.members[name].target_path}" for name in public_names(package))
    for module in map(package.__getitem__, PACKAGES):
        yield f"\n[{module.path}]"
        for name in public_names(module):
            yield from described(name, module[name])


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in public_api())
