"""The version, where the build finds it and every module may."""

__version__ = "0.1.0.dev0"
