"""LangGraph beside Clew: its databases are read (`clew migrate`), and its graphs keep their threads in savers of Clew."""
