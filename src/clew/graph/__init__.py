"""What users draw with: `from clew.graph import StateGraph, MessagesState, START, END`."""

from clew.constants import END, START
from clew.graph.message import MessagesState, add_messages
from clew.graph.state import StateGraph

__all__ = ["END", "START", "MessagesState", "StateGraph", "add_messages"]
