"""Ids of checkpoints: by time, and told apart whoever makes them."""

import subprocess
import sys
import uuid

from clew.ids import created_ms, id_text, new_checkpoint_id, stamp_of


def test_an_id_is_a_uuid_of_version_7_with_its_sequence_number() -> None:
    id_ = new_checkpoint_id(7)
    known = uuid.UUID(bytes=id_)
    assert (known.version, known.variant, str(known)) == (7, uuid.RFC_4122, id_text(id_))
    assert (stamp_of(id_), created_ms(id_)) == (7, known.int >> 80)


def test_every_id_of_a_process_is_greater_than_the_one_before() -> None:
    made = [new_checkpoint_id(number) for number in range(1000, 0, -1)]
    assert made == sorted(made)
    assert len({id_[:8] for id_ in made}) == len(made)


FORKED = """
import os
from clew.ids import new_checkpoint_id
child = os.fork()
os.write(1, new_checkpoint_id())
if child:
    os.waitpid(child, 0)
"""


def test_a_forked_process_makes_ids_of_its_own() -> None:
    told = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, check=True).stdout
    assert len(told) == 32
    assert told[8:12] != told[24:28]
