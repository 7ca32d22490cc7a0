"""What is encrypted is read with its key only, as it was, for what it was meant; and keys come from one setting."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from anabranch.cipher import BOX, Sealed, is_box, open_plain
from anabranch.errors import ConfigurationError, EncryptionKeyMissing, PlaintextRefused, WireFormatError
from anabranch.keyring import Keyring, parse_keys
from anabranch.settings import Settings, settings_from_environment
from tests.encryption_keys import cipher, key

K1, K2 = (f"{key_id}:{base64.b64encode(key_id.encode() * 16).decode()}" for key_id in ("k1", "k2"))
"""The same in each process that collects these tests, because names of tests hold them."""
SECRET = K1.partition(":")[2]


@given(st.binary(max_size=2000), st.text(max_size=20))
def test_a_box_opens_to_what_was_sealed(content: bytes, label: str) -> None:
    ours = cipher(K1)
    box = ours.seal(content, label)
    assert ours.open(box, label) == content
    assert is_box(box)


def test_content_is_not_in_the_box() -> None:
    assert b"canary" not in cipher(K1).seal(b"canary" * 100, "x")


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old, new = cipher(K1), cipher(K2, K1)
    assert old.encrypt(b"a", "x").key_id == "k1"
    assert new.encrypt(b"a", "x").key_id == "k2"
    assert new.open(old.seal(b"a", "x"), "x") == b"a"
    with pytest.raises(EncryptionKeyMissing, match="the key 'k2' is missing, here are 'k1'") as missing:
        old.open(new.seal(b"a", "x"), "x")
    assert (missing.value.code, missing.value.retryable, missing.value.elsewhere) == (
        "ENCRYPTION_KEY_MISSING",
        True,
        True,
    )


def test_another_key_of_the_same_id_is_a_key_that_is_missing() -> None:
    with pytest.raises(EncryptionKeyMissing, match="'k1' is missing"):
        cipher(key("k1")).open(cipher(K1).seal(b"a", "x"), "x")


def test_each_changed_byte_of_a_box_is_noticed() -> None:
    ours = cipher(K1)
    box = ours.seal(b"content", "x")
    for place in range(len(BOX), len(box)):
        changed = bytearray(box)
        changed[place] ^= 1
        with pytest.raises((WireFormatError, EncryptionKeyMissing)):
            ours.open(bytes(changed), "x")


def test_each_beginning_of_a_box_is_refused() -> None:
    ours = cipher(K1)
    box = ours.seal(b"", "x")
    for length in range(len(BOX), len(box)):
        with pytest.raises(WireFormatError, match="an encrypted x is damaged, or was altered"):
            ours.open(box[:length], "x")


def test_what_is_sealed_for_one_use_does_not_pass_for_another() -> None:
    ours = cipher(K1)
    with pytest.raises(WireFormatError, match="an encrypted result is damaged"):
        ours.open(ours.seal(b"a", "context"), "result")


def test_key_id_and_nonce_are_authenticated() -> None:
    two = cipher(K1, K2)
    sealed = two.encrypt(b"a", "x")
    other = two.keys.find("k2", Keyring(K2).first.check)
    assert other is not None
    for forged in (
        sealed._replace(nonce=os.urandom(12)),
        sealed._replace(key_id="k2", check=other.check),
        sealed._replace(nonce=b"short"),
        Sealed(sealed.key_id, sealed.check, sealed.nonce, b""),
    ):
        with pytest.raises(WireFormatError):
            two.decrypt(forged, "x")


def test_a_nonce_is_never_used_twice() -> None:
    ours = cipher(K1)
    sealed = [ours.encrypt(b"the same", "x") for _ in range(10_000)]
    assert len({each.nonce for each in sealed}) == len({each.data for each in sealed}) == 10_000


def test_a_stable_nonce_differs_with_content_label_and_key() -> None:
    ours, others = cipher(K1), cipher(K2)
    assert ours.encrypt(b"a", "x", stable=True) == ours.encrypt(b"a", "x", stable=True)
    nonces = {ours.encrypt(content, label, stable=True).nonce for content in (b"a", b"b") for label in ("x", "xa", "y")}
    assert len(nonces | {others.encrypt(b"a", "x", stable=True).nonce}) == 7
    assert ours.decrypt(ours.encrypt(b"a", "x", stable=True), "x") == b"a"


def test_plain_bytes_are_read_unless_encryption_is_strict() -> None:
    assert cipher(K1).open(b"\x93plain", "x") == b"\x93plain"
    with pytest.raises(PlaintextRefused, match="encryption is strict"):
        cipher(K1, strict=True).open(b"\x93plain", "x")


def test_without_keys_a_box_names_the_key_that_it_needs() -> None:
    assert open_plain(b"\x93plain", "x") == b"\x93plain"
    with pytest.raises(EncryptionKeyMissing, match="the key 'k1' is missing, here is none"):
        open_plain(cipher(K1).seal(b"a", "x"), "x")


def test_a_blinded_name_needs_the_key() -> None:
    names = {each.blinded(b"order-42", label) for each in (cipher(K1), cipher(K2)) for label in ("x", "y")}
    assert len(names) == 4
    assert cipher(K1).blinded(b"order-42", "x") in names


def test_a_digest_is_hidden_in_as_many_bytes() -> None:
    ours, digest = cipher(K1), os.urandom(16)
    hidden = ours.hide_block(digest, "d")
    assert (len(hidden), hidden != digest, ours.show_block(hidden, "d")) == (16, True, digest)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there is no key"),
        ("# only a comment\n", "there is no key"),
        (SECRET, "key 1 has no id"),
        (f"{K1},k 2:{SECRET}", "key 2 has no id"),
        (f"k1:{SECRET[:-8]}", "key 1 .k1. has 2[0-9] bytes, not 32|key 1 .k1. is not base64"),
        ("k1:not base64!", "key 1 .k1. is not base64"),
        (f"{K1}\n{K1}", "two keys have the id 'k1'"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_without_repeating_them(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        parse_keys(text, "ANABRANCH_ENCRYPTION_KEYS")
    assert str(refused.value).startswith("ANABRANCH_ENCRYPTION_KEYS: ")
    assert SECRET[:12] not in str(refused.value)


def test_keys_may_be_written_in_lines_and_in_either_alphabet() -> None:
    raw = b"\xfb\xff" * 16
    keys = parse_keys(f"# the newest first\nk2:{base64.urlsafe_b64encode(raw).decode()}\n\n{K1}\n", "FILE")
    assert [(each.id, each.secret == raw) for each in keys] == [("k2", True), ("k1", False)]
    assert "secret" not in repr(keys[0])


def test_a_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(K1)
    keys = Keyring(file=file)
    assert keys.first.id == "k1"
    (tmp_path / "next").write_text(f"{K2},{K1}")
    (tmp_path / "next").rename(file)
    keys._looked = 0.0
    assert (keys.first.id, keys.ids) == ("k2", ["k2", "k1"])


def test_a_key_that_is_missing_is_looked_for_in_the_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(K1)
    keys = Keyring(file=file)
    check = Keyring(K2).first.check
    assert (keys.first.id, keys.find("k2", check)) == ("k1", None)
    file.write_text(f"{K1},{K2}")
    found = keys.find("k2", check)
    assert found is not None
    assert found.id == "k2"


@pytest.mark.parametrize("broken", ["k2:short", "", None])
def test_a_file_that_breaks_leaves_the_keys_as_they_were(tmp_path: Path, broken: str | None) -> None:
    file = tmp_path / "keys"
    file.write_text(K1)
    keys = Keyring(file=file)
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    keys._looked = 0.0
    assert keys.first.id == "k1"


def test_a_file_that_is_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ANABRANCH_ENCRYPTION_KEYS_FILE: the file .* cannot be read"):
        Keyring(file=tmp_path / "none")


def test_the_settings_give_one_cipher_and_never_show_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANABRANCH_ENCRYPTION_KEYS", K1)
    settings = settings_from_environment()
    ours = settings.cipher()
    assert ours is not None
    assert (ours.keys.ids, ours.strict, settings.cipher() is ours) == (["k1"], False, True)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())


def test_settings_without_keys_have_no_cipher_and_may_not_be_strict() -> None:
    assert Settings().cipher() is None
    with pytest.raises(ConfigurationError, match="encryption is strict and there are no keys"):
        Settings(encryption="strict").cipher()


def test_two_places_for_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="are both set"):
        Settings(encryption_keys=SecretStr(K1), encryption_keys_file=tmp_path / "keys").cipher()
