"""Serializers, as savers with the classic interface use them; they are found where LangGraph's users look for them."""
