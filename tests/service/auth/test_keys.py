"""Keys as text, and their hashes."""

import hashlib

import pytest

from service.auth.keys import hash_secret, new_key, same_secret, split_key


def test_a_new_key_has_its_id_and_a_secret() -> None:
    """A key is ak_ID_SECRET; what is kept is the SHA-256 of the secret part."""
    key_id, digest, text = new_key()
    found = split_key(text)
    assert found is not None
    assert found[0] == key_id
    assert digest == hashlib.sha256(found[1].encode()).hexdigest()
    assert same_secret(found[1], digest)
    assert found[1] not in digest


def test_no_two_keys_are_alike() -> None:
    """Ids and secrets are random."""
    keys = [new_key() for _ in range(1000)]
    assert len({key[0] for key in keys}) == len({key[2] for key in keys}) == 1000


@pytest.mark.parametrize(
    "text", ["", "ak_", "ak_123_abc", "sk_0123456789ab_" + "x" * 43, "ak_0123456789ab_" + "é" * 43]
)
def test_other_text_is_no_key(text: str) -> None:
    """Only the exact form is a key."""
    assert split_key(text) is None
    assert split_key(new_key()[2] + "x") is None


def test_another_secret_is_not_the_same() -> None:
    """One changed character makes it another secret."""
    assert not same_secret("b" * 43, hash_secret("a" * 43))
