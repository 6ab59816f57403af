"""Optional packages."""

import sys
import types

import pytest

from dynamic_kd._extras import installed, require


def test_a_missing_package_is_named_with_its_extra():
    require("numpy", extra="eval")
    with pytest.raises(
        ModuleNotFoundError, match=r"nothing_here is not installed; get it with: pip install 'dyn.*\[x\]'"
    ):
        require("numpy", "nothing_here", extra="x")


def test_a_package_that_another_thread_imports_is_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "half_imported", types.ModuleType("half_imported"))
    assert installed("half_imported")
