"""Keys of the state that the run works out instead of keeping: nodes read them, nobody writes them, nothing stores them."""

from typing import Annotated, Any


class ManagedValue:
    """What stands in an annotation, as in `Annotated[int, RemainingStepsManager]`."""

    @staticmethod
    def get(left: int) -> Any:
        """The value in a superstep; `left` is how many the run may still take, this one included."""
        raise NotImplementedError


class RemainingStepsManager(ManagedValue):
    """How many supersteps are left."""

    @staticmethod
    def get(left: int) -> int:
        return left


class IsLastStepManager(ManagedValue):
    """Whether this superstep is the last."""

    @staticmethod
    def get(left: int) -> bool:
        return left <= 1


RemainingSteps = Annotated[int, RemainingStepsManager]
"""How many supersteps the run may still take, this one included: 1 in the last."""

IsLastStep = Annotated[bool, IsLastStepManager]
"""True in the last superstep that `recursion_limit` allows."""
