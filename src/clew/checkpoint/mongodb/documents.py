"""Keys of documents, and rows out of them. A key begins with the thread's number, and is ordered as what it stands for."""

from hashlib import blake2b
from typing import Any, Final, TypeAlias

from clew.checkpoint.storage import Row

Document: TypeAlias = dict[str, Any]

LAST: Final = (1 << 63) - 1


def key_of(no: bytes, number: int) -> bytes:
    return no + number.to_bytes(8, "big")


def number_of(key: bytes) -> int:
    return int.from_bytes(key[8:], "big")


def within(no: bytes) -> Document:
    return {"_id": {"$gte": key_of(no, 0), "$lte": key_of(no, LAST)}}


def name_of(no: bytes, ns: str) -> bytes:
    return no + blake2b(ns.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def place_of(no: bytes, log: int, n: int) -> bytes:
    return no + log.to_bytes(8, "big") + n.to_bytes(5, "big")


def placed(key: bytes) -> tuple[int, int]:
    return int.from_bytes(key[8:16], "big"), int.from_bytes(key[16:], "big")


def span_of(no: bytes, log: int, lo: int, hi: int) -> Document:
    return {"$gte": place_of(no, log, lo), "$lt": place_of(no, log, hi)}


def every_place(no: bytes) -> Document:
    return {"$gte": place_of(no, 0, 0), "$lte": place_of(no, (1 << 64) - 1, (1 << 40) - 1)}


def row_of(row: Document) -> Row:
    return Row(number_of(row["k"]), row["i"], row["p"], row["b"], row["d"])
