"""What Clew is tested with, for those who build on it: a host whose order the test chooses, a crash at every call, values.

from clew.testing import ScriptedHost, crash_everywhere
from clew.testing.values import storable_values      (needs hypothesis)
"""

from clew.testing.crash import Crash, crash_everywhere
from clew.testing.scripted import ScriptedHost

__all__ = ["Crash", "ScriptedHost", "crash_everywhere"]
