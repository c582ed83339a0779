"""The import path that async users know; it is the same class."""

from clew.store.postgres import AsyncPostgresStore as AsyncPostgresStore
