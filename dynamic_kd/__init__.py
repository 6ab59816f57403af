"""Dynamic knowledge distillation with noise elimination, and the metrics of salient object detection."""

__version__ = "0.1.0.dev0"
