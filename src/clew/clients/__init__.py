"""Clients of databases, for savers and stores alike: from what users hand over to connections that last. No rows here."""
