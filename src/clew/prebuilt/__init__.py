"""Tools and the agent, built from what every graph is built from: a caller of the rooms below, which know nothing of it."""

from clew.prebuilt.chat_agent_executor import create_react_agent
from clew.prebuilt.injection import InjectedState, InjectedStore, ToolRuntime
from clew.prebuilt.settling import outcome_of, settled, unanswered
from clew.prebuilt.tool_node import ToolNode, tools_condition

__all__ = [
    "InjectedState",
    "InjectedStore",
    "ToolNode",
    "ToolRuntime",
    "create_react_agent",
    "outcome_of",
    "settled",
    "tools_condition",
    "unanswered",
]
