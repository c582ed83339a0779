"""The import path that async users know; it is the same class."""

from clew.checkpoint.mongodb import AsyncMongoDBSaver as AsyncMongoDBSaver
