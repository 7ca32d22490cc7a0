"""A context in headers, and headers from strangers."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.context import DistributedContext
from anabranch.context.propagation import CONTEXT_HEADER, MAX_HEADER_BYTES, extract, inject, trace_of
from anabranch.context.values import Json
from anabranch.errors import SizeLimitExceeded, WireFormatError

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def context(**data: Json) -> DistributedContext:
    return DistributedContext("s-1", dict(data), at=5)


def test_what_was_injected_is_extracted() -> None:
    headers = {"Accept": "*/*"}
    inject(context(name="Zoë", total=2.5), headers, trace={"TraceParent": TRACE, "tracestate": "a=b", "cookie": "x"})
    carried = extract(headers)
    assert carried.context == context(name="Zoë", total=2.5)
    assert carried.trace == {"traceparent": TRACE, "tracestate": "a=b"}
    assert headers.keys() == {"Accept", CONTEXT_HEADER, "traceparent", "tracestate"}


def test_names_are_found_in_any_case_and_replaced() -> None:
    headers = {CONTEXT_HEADER.upper(): "old", "Traceparent": "old"}
    inject(context(n=1), headers, trace={"traceparent": TRACE})
    assert len(headers) == 2
    lower = {name.lower(): value for name, value in headers.items()}
    assert extract(lower).context == context(n=1)


def test_without_a_trace_the_one_that_stands_there_stays() -> None:
    headers = {"Traceparent": TRACE}
    inject(context(), headers)
    assert extract(headers).trace == {"traceparent": TRACE}


def test_headers_without_a_context_carry_none() -> None:
    assert extract({"Accept": "*/*"}).context is None


def test_the_value_is_one_line_of_ascii() -> None:
    headers: dict[str, str] = {}
    inject(context(text="ä\r\nSet-Cookie: a=b\x00"), headers)
    assert headers[CONTEXT_HEADER].isascii()
    assert headers[CONTEXT_HEADER].isprintable()


def test_a_context_too_large_for_a_header_is_refused_on_both_sides() -> None:
    headers: dict[str, str] = {}
    with pytest.raises(SizeLimitExceeded, match=r"over the limit of 6144 .*\(share large contexts through a store"):
        inject(context(blob="x" * MAX_HEADER_BYTES), headers)
    assert headers == {}
    inject(context(blob="x" * 100), headers)
    with pytest.raises(SizeLimitExceeded, match="over the limit of 64 "):
        extract(headers, max_bytes=64)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "no base64!",
        "AAAA",
        "gA==",
        "ä" * 8,
        base64.b64encode(b"\x93\x01\x02\x03").decode(),
        base64.b64encode(context(n=1).serialize()[:-1]).decode(),
        base64.b64encode(context(n=1).serialize() + b"\x00").decode(),
        base64.b64encode(b"\x91" * 500).decode(),
        base64.b64encode(b"\xdd\xff\xff\xff\xff").decode(),
    ],
)
def test_what_is_no_context_is_refused(value: str) -> None:
    with pytest.raises(WireFormatError):
        extract({CONTEXT_HEADER: value})


def test_two_contexts_are_refused() -> None:
    headers: dict[str, str] = {}
    inject(context(), headers)
    with pytest.raises(WireFormatError, match="two headers with a context"):
        extract({**headers, CONTEXT_HEADER.lower(): headers[CONTEXT_HEADER]})


@pytest.mark.parametrize(
    "parent",
    [
        "",
        TRACE.upper(),
        TRACE + "\n",
        TRACE + "-x",
        "ff" + TRACE[2:],
        "00-" + "0" * 32 + TRACE[35:],
        TRACE[:36] + "0" * 16 + "-01",
        TRACE.replace("-01", "-1"),
    ],
)
def test_a_trace_that_is_none_is_left_out(parent: str) -> None:
    assert trace_of({"traceparent": parent.replace("\n", "\nx"), "tracestate": "a=b"}) == {}


@pytest.mark.parametrize("state", ["", "x" * 513, "a=b\r\nEvil: 1"])
def test_a_trace_state_that_is_none_is_left_out(state: str) -> None:
    assert trace_of({"traceparent": TRACE, "tracestate": state}) == {"traceparent": TRACE}


@given(st.dictionaries(st.sampled_from([CONTEXT_HEADER, "traceparent", "tracestate", "x"]), st.text()))
def test_any_headers_are_read_or_refused(headers: dict[str, str]) -> None:
    try:
        carried = extract(headers)
    except WireFormatError:
        assert CONTEXT_HEADER in headers
    else:
        assert carried.context is None
