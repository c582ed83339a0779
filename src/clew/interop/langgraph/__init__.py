"""LangGraph beside Clew: its databases are read (`clew migrate`), and its graphs keep their threads in savers of Clew."""

from clew.interop.langgraph.saver import as_langgraph_saver as as_langgraph_saver
