"""What tables and sentences are printed on."""

from __future__ import annotations

from dynamic_kd._extras import require

require("rich", extra="eval")

from rich.console import Console  # noqa: E402


class Output(Console):
    """Standard output, where text is printed as it is; whoever closes it early is left to `main`."""

    def __init__(self, *, soft_wrap: bool = False) -> None:
        super().__init__(highlight=False, markup=False, soft_wrap=soft_wrap)

    def on_broken_pipe(self) -> None:
        """Raise what rich would turn into an exit status that means something else here."""
        raise BrokenPipeError
