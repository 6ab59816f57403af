"""Run the command with ``python -m dynamic_kd.cli``."""

import os
import sys

from dynamic_kd.cli import main

status = main()
torch = sys.modules.get("torch")
if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
    # Gloo's threads outlive the connection of processes where networks were DistributedDataParallel, and can abort a
    # process while its interpreter ends.
    torch.distributed.destroy_process_group()
    sys.stderr.flush()
    os._exit(status)
raise SystemExit(status)
