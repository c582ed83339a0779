"""The two faces of a graph, as users' tests have them."""

from clew.testing.faces import ASYNC as ASYNC
from clew.testing.faces import SYNC as SYNC
from clew.testing.faces import Face as Face
