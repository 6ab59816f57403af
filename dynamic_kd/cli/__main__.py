"""Run the command with ``python -m dynamic_kd.cli``."""

from dynamic_kd.cli import main

raise SystemExit(main())
