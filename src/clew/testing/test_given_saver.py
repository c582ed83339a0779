"""The clauses for the saver that the environment names: `CLEW_SAVER=my.package:make pytest --pyargs clew.testing`."""

import importlib
import os
from typing import Any

import pytest

from clew.checkpoint.base import Saver
from clew.testing.savers import Clause, cases


def given() -> Saver:
    """A saver by what `CLEW_SAVER` names: a function, or class, that is called without arguments."""
    module, colon, name = os.environ.get("CLEW_SAVER", "").partition(":")
    if not colon:
        pytest.fail("CLEW_SAVER names no saver: expected `module:function`, of a function that opens one, without arguments.")
    make: Any = getattr(importlib.import_module(module), name)
    return make()


@pytest.mark.parametrize(("one", "face"), [pytest.param(*case, id=f"{case[0].name}-{case[1]}") for case in cases()])
def test_given_saver(one: Clause, face: str) -> None:
    one.check(given, face)
