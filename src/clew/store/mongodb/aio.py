"""The import path that async users know; it is the same class."""

from clew.store.mongodb import AsyncMongoDBStore as AsyncMongoDBStore
