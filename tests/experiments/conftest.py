"""The experiments are modules of the clone, not of the package that is installed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # last, so that an installed dynamic_kd comes before that of the clone
