"""Evaluation of maps in folders."""

from dynamic_kd.evaluation._folders import evaluate_folders as evaluate_folders
