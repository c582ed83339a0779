"""What Clew is tested with, for those who build on it: a host whose order the test chooses, a crash at every call, values.

`ScriptedHost` and `crash_everywhere` are here; hypothesis strategies are in `clew.testing.values`, which needs hypothesis.
"""

from clew.testing.crash import Crash, crash_everywhere
from clew.testing.scripted import ScriptedHost

__all__ = ["Crash", "ScriptedHost", "crash_everywhere"]
