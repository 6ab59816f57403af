"""How many examples a property gets: few by default, many when asked for."""

import os

LONG = os.environ.get("DYNAMIC_KD_TESTS") == "long"


def examples(count):
    """Return the number of examples of a property that is slower than most."""
    return 50 * count if LONG else count
