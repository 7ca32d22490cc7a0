"""`http` nodes against a server on this machine."""

from __future__ import annotations

import gzip
import json
import socket
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from anabranch.activities.http import network
from anabranch.activities.http.handler import HttpActivity, retry_after
from anabranch.activities.node_result import NodeResult
from anabranch.errors import AnabranchError, ConfigurationError, NodeError, SizeLimitExceeded, Unavailable
from anabranch.graph.model import HttpNode
from anabranch.limits import NodeLimits
from anabranch.transport.failures import application_error
from tests.node_tasks import task_of

SECRET = 'tok"s3cr3t'


@pytest.fixture
async def activity() -> AsyncIterator[HttpActivity]:
    """A worker that may call this machine."""
    activity = HttpActivity(allow_private=True, environ={"HTTP_SECRET_SHOP": SECRET, "HOME": "/home/s3cr3t"})
    yield activity
    await activity.aclose()


@pytest.fixture
async def modest() -> AsyncIterator[HttpActivity]:
    """One that takes answers of 1,000 bytes at most."""
    activity = HttpActivity(allow_private=True, limits=NodeLimits(response_bytes=1000))
    yield activity
    await activity.aclose()


@pytest.fixture
def echo(httpserver: HTTPServer) -> str:
    """A URL that answers with what it was sent."""

    def handler(request: Request) -> Response:
        seen = {
            "method": request.method,
            "query": request.query_string.decode(),
            "headers": {name.lower(): value for name, value in request.headers},
            "body": request.get_data(as_text=True),
        }
        return Response(json.dumps(seen), content_type="application/json")

    httpserver.expect_request("/echo").respond_with_handler(handler)
    return httpserver.url_for("/echo")


async def call(
    activity: HttpActivity, data: dict[str, Any] | None = None, key: str = "run-1/n", **fields: Any
) -> NodeResult:
    return await activity(task_of(data=data, key=key), HttpNode(**{"type": "http", **fields}))


async def body_of(activity: HttpActivity, data: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    body = (await call(activity, data, **fields)).writes["reserve"]
    assert isinstance(body, dict)
    return body


async def test_an_object_is_sent_and_received_as_json(activity: HttpActivity, echo: str) -> None:
    seen = await body_of(activity, {"id": 7}, url=echo, method="POST", body={"order": "{{ id }}"})
    assert (seen["method"], seen["body"]) == ("POST", '{"order":7}')
    assert seen["headers"]["content-type"] == "application/json"


async def test_result_has_status_headers_and_body(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(
        "made", status=201, headers={"X-Id": "7", "Content-Type": "text/plain"}
    )
    outcome = await call(activity, url=httpserver.url_for("/"))
    assert isinstance(outcome.result, dict)
    assert outcome.result["status"] == 201
    assert outcome.result["body"] == "made"
    assert isinstance(outcome.result["headers"], dict)
    assert outcome.result["headers"]["x-id"] == "7"
    assert outcome.writes == {"reserve": "made"}


async def test_every_attempt_sends_the_same_idempotency_key(activity: HttpActivity, echo: str) -> None:
    keys = [(await body_of(activity, url=echo, key="run-1/näh"))["headers"]["idempotency-key"] for _ in range(2)]
    assert keys == ["run-1/n%C3%A4h"] * 2


async def test_query_values_are_encoded_lists_repeat_and_null_is_left_out(activity: HttpActivity, echo: str) -> None:
    query = {"q": "{{ text }}", "n": [1, 2], "b": True, "none": None}
    seen = await body_of(activity, {"text": "a&b=c #d"}, url=f"{echo}?x=1", query=query)
    assert seen["query"] == "x=1&q=a%26b%3Dc+%23d&n=1&n=2&b=true"


async def test_an_empty_answer_is_null(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("", status=204)
    assert (await call(activity, url=httpserver.url_for("/"))).writes == {"reserve": None}


@pytest.mark.parametrize(
    ("status", "expect", "error"),
    [
        (404, {}, NodeError),
        (302, {}, NodeError),
        (503, {}, Unavailable),
        (429, {}, Unavailable),
        (409, {"retry": [409]}, Unavailable),
        (503, {"retry": []}, NodeError),
        (200, {"status": [202]}, NodeError),
    ],
)
async def test_expect_says_which_statuses_fail_and_which_are_tried_again(
    activity: HttpActivity, httpserver: HTTPServer, status: int, expect: dict[str, Any], error: type[AnabranchError]
) -> None:
    httpserver.expect_request("/").respond_with_data("the reason", status=status, headers={"Location": "/elsewhere"})
    with pytest.raises(error, match=rf"GET http://\S+ answered {status}") as caught:
        await call(activity, url=httpserver.url_for("/?token=s3cr3t"), expect=expect)
    assert "s3cr3t" not in str(caught.value)
    assert len(httpserver.log) == 1


async def test_a_status_that_is_expected_is_a_success(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("", status=404)
    outcome = await call(activity, url=httpserver.url_for("/"), expect={"status": [200, 404]})
    assert isinstance(outcome.result, dict)
    assert outcome.result["status"] == 404


async def test_retry_after_is_the_pause_before_the_next_try(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("", status=503, headers={"Retry-After": "7"})
    with pytest.raises(Unavailable) as caught:
        await call(activity, url=httpserver.url_for("/"))
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7), ("99999999999", 3600), ("-1", None), ("soon", None), ("", None), ("²", None)]
)
def test_retry_after_in_seconds_is_at_most_an_hour(value: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after({"retry-after": value}) == expected


def test_retry_after_may_be_a_date() -> None:
    soon = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)})
    assert soon is not None
    assert timedelta(minutes=4) < soon <= timedelta(minutes=5)
    assert retry_after({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}) == timedelta(0)


async def test_a_secret_of_the_worker_is_sent_and_masked_where_the_answer_repeats_it(
    activity: HttpActivity, echo: str, httpserver: HTTPServer
) -> None:
    seen = await body_of(activity, url=echo, headers={"Authorization": "env:HTTP_SECRET_SHOP"})
    assert seen["headers"]["authorization"] == "***"
    assert httpserver.log[0][0].headers["Authorization"] == SECRET


async def test_credentials_are_masked_where_the_answer_repeats_them_without_their_scheme(
    httpserver: HTTPServer,
) -> None:
    httpserver.expect_request("/").respond_with_data("the token s3cr3t-token is unknown", status=401)
    activity = HttpActivity(allow_private=True, environ={"HTTP_SECRET_SHOP": "Bearer s3cr3t-token"})
    with pytest.raises(NodeError, match=r"the token \*\*\* is unknown") as caught:
        await call(activity, url=httpserver.url_for("/"), headers={"Authorization": "env:HTTP_SECRET_SHOP"})
    assert "s3cr3t" not in str(caught.value)
    await activity.aclose()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("env:HOME", "may not send the environment variable HOME"),
        ("env:HTTP_SECRET_NONE", "HTTP_SECRET_NONE is not set"),
    ],
)
async def test_only_variables_meant_for_it_can_be_sent(
    activity: HttpActivity, echo: str, header: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        await call(activity, url=echo, headers={"X-A": header})
    assert "s3cr3t" not in str(caught.value)


async def test_a_context_value_cannot_ask_for_a_secret(activity: HttpActivity, echo: str) -> None:
    seen = await body_of(activity, {"evil": "env:HTTP_SECRET_SHOP"}, url=echo, headers={"X-A": "{{ evil }}"})
    assert seen["headers"]["x-a"] == "env:HTTP_SECRET_SHOP"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "a\r\nX-B: c"),
        ("X-A", "a\x00"),
        ("X-A", "ä"),
        ("X A", "a"),
        ("X-A:", "a"),
        ("Host", "elsewhere"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "3"),
    ],
)
async def test_a_header_cannot_be_injected(activity: HttpActivity, echo: str, name: str, value: str) -> None:
    with pytest.raises(NodeError, match="header"):
        await call(activity, {"value": value}, url=echo, headers={name: "{{ value }}"})


async def test_an_answer_over_the_limit_is_refused(modest: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("x" * 1001)
    with pytest.raises(SizeLimitExceeded, match="larger than 1000 bytes"):
        await call(modest, url=httpserver.url_for("/"))


async def test_a_compressed_answer_is_refused_unseen(activity: HttpActivity, httpserver: HTTPServer) -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    httpserver.expect_request("/").respond_with_data(bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(NodeError, match="compressed"):
        await call(activity, url=httpserver.url_for("/"))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(b"x" * 1001, {}, id="large"),
        pytest.param(gzip.compress(b"busy"), {"Content-Encoding": "gzip"}, id="compressed"),
    ],
)
async def test_a_busy_server_is_tried_again_whatever_its_answer_holds(
    modest: HttpActivity, httpserver: HTTPServer, body: bytes, headers: dict[str, str]
) -> None:
    httpserver.expect_request("/").respond_with_data(body, status=503, headers={"Retry-After": "7", **headers})
    with pytest.raises(Unavailable, match="answered 503") as caught:
        await call(modest, url=httpserver.url_for("/"))
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("charset", ["nonsense", "base64", "idna", "punycode", "unicode_escape", "undefined"])
async def test_an_answer_in_a_charset_that_is_none_is_read_as_utf_8(
    activity: HttpActivity, httpserver: HTTPServer, charset: str
) -> None:
    httpserver.expect_request("/").respond_with_data("a\\u00e4-ä", content_type=f"text/plain; charset={charset}")
    assert (await call(activity, url=httpserver.url_for("/"))).writes == {"reserve": "a\\u00e4-ä"}


@pytest.mark.parametrize(("status", "happened"), [(201, True), (400, False)])
async def test_an_answer_that_cannot_be_used_says_that_the_request_was_carried_out(
    activity: HttpActivity, httpserver: HTTPServer, status: int, happened: bool
) -> None:
    httpserver.expect_request("/").respond_with_data("{", status=status, content_type="application/json")
    with pytest.raises(NodeError) as caught:
        await call(activity, url=httpserver.url_for("/"), method="POST")
    assert caught.value.happened is happened
    assert application_error(caught.value).details[0].get("happened", False) is happened


async def test_an_answer_in_another_charset_is_read_in_it(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("ä€".encode("cp1252"), content_type="text/plain; charset=CP1252")
    assert (await call(activity, url=httpserver.url_for("/"))).writes == {"reserve": "ä€"}


async def test_json_may_begin_with_a_byte_order_mark(activity: HttpActivity, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b'\xef\xbb\xbf{"a": 1}', content_type="application/json")
    assert (await call(activity, url=httpserver.url_for("/"))).writes == {"reserve": {"a": 1}}


@pytest.mark.parametrize("body", ["{", "NaN", "[" * 100_000])
async def test_an_answer_that_is_not_the_json_it_says_is_refused(
    activity: HttpActivity, httpserver: HTTPServer, body: str
) -> None:
    httpserver.expect_request("/").respond_with_data(body, content_type="application/problem+json")
    with pytest.raises(NodeError, match="is declared as JSON, but is not JSON"):
        await call(activity, url=httpserver.url_for("/"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "must begin with http"),
        ("ftp://host/x", "must begin with http"),
        ("//host/x", "must begin with http"),
        ("https://", "must begin with http"),
        ("http://ho\x00st/", "is not a URL"),
        ("http://user:s3cr3t@host/", "holds credentials"),
        ("http://127.0.0.1:65536/", "the highest is 65535"),
        ("{{ none }}", "the `url` is null"),
    ],
)
async def test_a_url_that_cannot_be_called_is_a_definite_error(activity: HttpActivity, url: str, message: str) -> None:
    with pytest.raises(NodeError, match=message) as caught:
        await call(activity, {"none": None}, url=url)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


async def test_a_server_that_is_not_there_is_tried_again(activity: HttpActivity) -> None:
    with pytest.raises(Unavailable, match=r"GET http://127\.0\.0\.1:9/ got no answer \(ConnectError\)"):
        await call(activity, url="http://127.0.0.1:9/")


PRIVATE = [
    *("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "224.0.0.1"),
    *("[fe80::1]", "[fd00::1]", "[64:ff9b:1::a00:1]", "[fec0::1]", "[::10.0.0.1]"),
]


@pytest.mark.parametrize("host", PRIVATE)
async def test_private_addresses_are_refused_however_they_are_spelt(host: str) -> None:
    activity = HttpActivity()
    with pytest.raises(NodeError, match="private, loopback, link-local or reserved address"):
        await call(activity, url=f"http://{host}/latest/meta-data")
    await activity.aclose()


@pytest.mark.parametrize("host", ["a..example", "a" * 64 + ".example"])
async def test_a_name_that_cannot_be_looked_up_is_a_server_that_is_not_there(host: str) -> None:
    activity = HttpActivity()
    with pytest.raises(Unavailable, match=r"got no answer \(ConnectError\)"):
        await call(activity, url=f"http://{host}/")
    await activity.aclose()


async def test_exactly_the_address_that_was_checked_is_connected_to(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers otherwise the second time (DNS rebinding) is not asked a second time."""
    answers = iter(["127.0.0.1"])
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def rebinding(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return resolve(next(answers) if host == "shop.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(network, "is_public", lambda address: address == "127.0.0.1")
    httpserver.expect_request("/").respond_with_data("reached")
    activity = HttpActivity()
    outcome = await call(activity, url=f"http://shop.example:{httpserver.port}/")
    await activity.aclose()
    assert outcome.writes == {"reserve": "reached"}
    assert asked.count("shop.example") == 1
    assert httpserver.log[0][0].headers["Host"] == f"shop.example:{httpserver.port}"


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert network.is_public(address)
