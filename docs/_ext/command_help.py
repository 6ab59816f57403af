"""The directive ``command-help``: what a command says with ``--help``."""

import os
import subprocess
import sys

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ENVIRONMENT = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}


class CommandHelp(SphinxDirective):
    optional_arguments = 2

    def run(self):
        command = [sys.executable, "-m", "dynamic_kd.cli", *self.arguments, "--help"]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
        return [nodes.literal_block(result.stdout, result.stdout, language="text", classes=["command-help"])]


def setup(app):
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
