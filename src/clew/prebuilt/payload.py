"""What the agent sends to its tools: one call, and the state beside it. The state is that of the checkpoint which sends it, so
it is not stored with each call: as long as the conversation is, it would be compared with what is kept for each of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from clew.channels import own
from clew.checkpoint.codec import register

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext

WITH_CONTEXT: Final = "tool_call_with_context"


@dataclass(frozen=True, eq=False, repr=False)
class CommittedState(Mapping[str, Any]):
    """The state as it was committed, to be looked at. Once it has been stored it is empty: it stands in its checkpoint."""

    # no field of the dataclass, and so not stored
    def __new__(cls, values: Mapping[str, Any] | None = None) -> "CommittedState":
        made = super().__new__(cls)
        object.__setattr__(made, "_values", values)
        return made

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        """As `__new__` has made it."""

    @property
    def here(self) -> Mapping[str, Any] | None:
        """The values, None where they stand in the checkpoint only."""
        return cast("Any", self.__dict__.get("_values"))

    def __getitem__(self, key: str) -> Any:
        return (self.here or {})[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.here or {})

    def __len__(self) -> int:
        return len(self.here or {})

    def __repr__(self) -> str:
        return repr(dict(self))


register(CommittedState, name="clew.CommittedState")


def payload(call: Any, state: Any) -> dict[str, Any]:
    """What a tool task of its own is sent."""
    whole = CommittedState(cast("dict[str, Any]", state)) if type(state) is dict else state
    return {"__type": WITH_CONTEXT, "tool_call": call, "state": whole}


def state_in(sent: Mapping[str, Any], task: "TaskContext | None") -> Any:
    """The state that a tool may be told of what was sent; its containers are copies."""
    state = sent["state"]
    if not isinstance(state, CommittedState):
        return state
    if state.here is None:
        return task.scope.state if task else {}
    return {key: own(value) for key, value in state.here.items()}
