"""The directive ``array-libraries``: a table of what a package's functions declare of array libraries."""

import importlib

from sphinx.util.docutils import SphinxDirective

HEADER = ["", "NumPy", "torch", "on NVIDIA GPUs", "JAX", "CuPy"]
GPU = {"kernels": "own kernels", "operations": "torch's operations", "copied": "copied to the CPU"}


class ArrayLibraries(SphinxDirective):
    required_arguments = 1

    def run(self):
        package = importlib.import_module(self.arguments[0])
        rows = [row(package, name) for name, value in vars(package).items() if hasattr(value, "__array_support__")]
        lines = [HEADER, ["---"] * len(HEADER), *rows]
        (table,) = self.parse_text_to_nodes("\n".join(f"| {' | '.join(line)} |" for line in lines))
        table["classes"].append("short-cells")
        return [table]


def row(package, name):
    support = getattr(package, name).__array_support__
    role = "class" if isinstance(getattr(package, name), type) else "func"
    torch = "value, gradient" if support.gradient else "value"
    jax = ["value", *["grad"] * support.gradient, *["jit", "vmap"] * support.traced]
    cupy = "copied to the CPU" if support.gpu == "copied" else "value"
    link = f"{{py:{role}}}`~{package.__name__}.{name}`"
    return [link, "value", torch, GPU[support.gpu], ", ".join(jax), cupy]


def setup(app):
    app.add_directive("array-libraries", ArrayLibraries)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
