"""Secrets are masked wherever a text decodes to them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context.values import Json
from anabranch.masking import MASK, Mask, credentials
from tests.secret_forms import FORMS

TOKEN = 'tok/en&"s3c <r3t>+='
PASSWORD = "p4ss/w0rd&x"
BASIC = "Basic " + base64.b64encode(f"shop:{PASSWORD}".encode()).decode()
SECRETS = {"token": f"Bearer {TOKEN}", "basic": BASIC, "plain": TOKEN}
HIDDEN = {"token": (TOKEN,), "basic": (PASSWORD, BASIC.removeprefix("Basic ")), "plain": (TOKEN,)}


AROUND = {
    "alone": ("", ""),
    "in text": ("the key ", " is unknown"),
    "as a value": ("/x?key=", "&a=1"),
    "quoted": ('"', '"'),
}


def test_the_table_has_at_least_eighty_rows() -> None:
    assert len(FORMS) * len(SECRETS) >= 80


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_form_that_decodes_to_it(form: str, secret: str) -> None:
    mask = Mask(credentials(SECRETS[secret]))
    for inner in (SECRETS[secret], *HIDDEN[secret]):
        for before, after in AROUND.values():
            shown = FORMS[form](inner)
            masked = mask.text(before + shown + after)
            assert MASK in masked
            for part in HIDDEN[secret]:
                assert FORMS[form](part).lower() not in masked.lower()
            if "Base64" not in form and "hexadecimal" not in form:
                assert masked.startswith(before)
                assert masked.endswith(after)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("k3y", {"k3y"}),
        ("Bearer abc", {"Bearer abc", "abc"}),
        (BASIC, {BASIC, BASIC[6:], f"shop:{PASSWORD}", PASSWORD}),
        (BASIC[6:], {BASIC[6:], f"shop:{PASSWORD}", PASSWORD}),
        ("sid=abcdefgh; csrf=1", {"sid=abcdefgh; csrf=1", "csrf=1", "abcdefgh"}),
        ('Token token="abcdefgh"', {'Token token="abcdefgh"', 'token="abcdefgh"', "abcdefgh"}),
        ("  ", set()),
    ],
)
def test_what_gives_access_by_itself_is_a_secret_of_its_own(value: str, parts: set[str]) -> None:
    assert set(credentials(value)) == parts


def test_keys_texts_and_numbers_of_data_are_masked() -> None:
    mask = Mask(["s3cr3t", "12345678"])
    value: dict[str, Json] = {"s3cr3t": ["a s3cr3t b", 12345678, 1, True, None, 1.5], "b": {"c": "S3CR3T"}}
    assert mask.value(value) == {"***": ["a *** b", "***", 1, True, None, 1.5], "b": {"c": "***"}}


def test_what_holds_no_secret_is_left_as_it_is() -> None:
    text = json.dumps({"a": "ä/b&amp;%20", "b": base64.b64encode(b"nothing to see").decode()})
    assert Mask([TOKEN]).text(text) == text
    assert Mask(["", ""]).text(text) == text


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    assert Mask(["abcd", "cdef"]).text("xabcdefx") == "x***x"


def test_a_secret_that_comes_back_twice_in_one_form_is_masked_twice() -> None:
    encoded = base64.b64encode(b"s3cr3t").decode()
    mask = Mask(["s3cr3t"])
    assert mask.text(f"{encoded} {encoded}") == "*** ***"
    assert mask.text(f"{encoded}, \\u{ord(encoded[0]):04x}{encoded[1:]}") == "***, ***"


def test_only_what_stands_for_the_secret_is_masked() -> None:
    mask = Mask(["s3cr3t"])
    assert mask.text("a&amp;b s3c\\u0072\\u0033t c&lt;") == "a&amp;b *** c&lt;"
    assert mask.text("İ s3cr3t İ") == "İ *** İ"


@given(
    st.text(max_size=40),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12),
    st.text(max_size=40),
)
def test_no_secret_is_left_between_any_texts(before: str, secret: str, after: str) -> None:
    masked = Mask([secret]).text(f"{before} {secret} {after}")
    assert MASK in masked
    assert (
        secret.lower() not in masked.replace(MASK, "").lower()
        or secret.lower() in f"{before} {after}".lower()
        or MASK in secret
    )


@pytest.mark.parametrize("piece", ["\\/", "\\u0041", "%41", "&amp;", "=41", "\0", "QUFB", "4141 ", "lorem ipsum "])
def test_in_a_large_text_of_anything_a_secret_is_masked(piece: str) -> None:
    text = piece * (2**16 // len(piece))
    masked = Mask(credentials(SECRETS["token"])).text(f"{text} {json.dumps(TOKEN)}")
    assert masked == f'{text} "{MASK}"'
