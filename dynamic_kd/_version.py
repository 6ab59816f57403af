"""The version, as the build took it from the tag and the installed package's metadata keep it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dynamic-kd")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0.0.0+unknown"
