"""Tasks that note what they were called with."""

import asyncio
from typing import Any

from clew.func import task
from clew.types import interrupt

RAN: list[Any] = []


@task
def double(x: int) -> int:
    RAN.append(x)
    return 2 * x


@task
async def adouble(x: int) -> int:
    RAN.append(x)
    await asyncio.sleep(0)
    return 2 * x


@task
def fails_once(x: int) -> int:
    RAN.append(x)
    if RAN.count(x) == 1:
        raise ConnectionError(f"{x} is down")
    return x


@task
def asks(question: str) -> str:
    RAN.append(question)
    return f"{question} {interrupt(question)}"
