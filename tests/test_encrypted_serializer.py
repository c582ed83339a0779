"""The serializer that encrypts, for savers with the classic interface."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew.checkpoint.serde.encrypted import EncryptedSerializer
from clew.checkpoint.serde.jsonplus import JsonPlusSerializer
from clew.errors import DatabaseError
from clew.testing.values import same, storable_values

KEY = bytes(range(32))


@pytest.mark.slow
@given(storable_values())
def test_values_come_back_as_they_were(value: Any) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    assert same(serde.loads_typed(serde.dumps_typed(value)), value)


def test_nothing_can_be_read() -> None:
    tag, sealed = EncryptedSerializer.from_pycryptodome_aes(key=KEY).dumps_typed({"a secret": "text"})
    assert tag == "clew+aes-gcm"
    assert b"secret" not in sealed
    assert b"text" not in sealed


@given(st.integers(0, 200))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    tag, sealed = serde.dumps_typed("value")
    flipped = bytearray(sealed)
    flipped[bit // 8 % len(sealed)] ^= 1 << bit % 8
    with pytest.raises(DatabaseError, match="it was altered, or the key is another"):
        serde.loads_typed((tag, bytes(flipped)))


@pytest.mark.parametrize("sealed", [b"", b"short"])
def test_what_is_too_short_is_refused(sealed: bytes) -> None:
    with pytest.raises(DatabaseError, match="cannot be opened"):
        EncryptedSerializer.from_pycryptodome_aes(key=KEY).loads_typed(("clew+aes-gcm", sealed))


def test_plain_text_another_cipher_and_another_key_are_refused() -> None:
    serde = EncryptedSerializer.from_pycryptodome_aes(key=KEY)
    tag, sealed = serde.dumps_typed("value")
    with pytest.raises(DatabaseError, match="written as 'clew', which is not encrypted"):
        serde.loads_typed(JsonPlusSerializer().dumps_typed("value"))
    with pytest.raises(DatabaseError, match="encrypted with 'rot13': expected 'aes-gcm'"):
        serde.loads_typed(("clew+rot13", sealed))
    with pytest.raises(DatabaseError, match="the key is another"):
        EncryptedSerializer.from_pycryptodome_aes(key=bytes(32)).loads_typed((tag, sealed))


def test_the_key_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    with pytest.raises(ValueError, match="There is no key: pass key="):
        EncryptedSerializer.from_pycryptodome_aes()
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "sixteen letters!")
    written = EncryptedSerializer.from_pycryptodome_aes().dumps_typed(1)
    assert EncryptedSerializer.from_pycryptodome_aes(key=b"sixteen letters!").loads_typed(written) == 1
    with pytest.raises(ValueError, match="has 5 bytes: expected 16, 24 or 32"):
        EncryptedSerializer.from_pycryptodome_aes(key=b"short")


def test_a_cipher_of_ones_own() -> None:
    class Backwards:
        def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
            return "backwards", plaintext[::-1]

        def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
            assert ciphername == "backwards"
            return ciphertext[::-1]

    serde = EncryptedSerializer(Backwards())
    assert serde.dumps_typed("ab")[0] == "clew+backwards"
    assert serde.loads_typed(serde.dumps_typed("ab")) == "ab"
