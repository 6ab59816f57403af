"""Grids of trainings and their statistics; `python -m benchmarks.experiments --help` says how to run one."""
