"""`http` nodes against a server on this machine."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from anabranch.activities.http import network
from anabranch.activities.http.answers import retry_after
from anabranch.activities.http.handler import HttpActivity
from anabranch.activities.http.secrets import HttpSecrets
from anabranch.activities.node_result import NodeResult
from anabranch.errors import AnabranchError, ConfigurationError, NodeError, SizeLimitExceeded, Unavailable
from anabranch.graph.model import HttpNode
from anabranch.limits import NodeLimits
from anabranch.transport.failures import application_error
from tests.node_tasks import task_of
from tests.secret_forms import FORMS

SECRET = 'tok"s3cr3t'


@pytest.fixture
async def activity(httpserver: HTTPServer) -> AsyncIterator[HttpActivity]:
    """A worker that may call this machine, and send the test's server a secret."""
    hosts = f"api.shop.example, http://localhost:{httpserver.port}"
    environ = {"HTTP_SECRET_SHOP": SECRET, "HTTP_SECRET_SHOP_HOSTS": hosts, "HOME": "/home/s3cr3t"}
    activity = HttpActivity(allow_private=True, environ=environ)
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


@asynccontextmanager
async def answering(data: bytes) -> AsyncGenerator[str]:
    """The URL of a server that sends these bytes to whoever connects, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


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
    for no_time in ("Mon, 01 Jan 99999999999 00:00:00 GMT", f"Mon, 01 Jan 2001 00:00:00 +{'9' * 20}"):
        assert retry_after({"retry-after": no_time}) is None


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
    hosts = f"http://localhost:{httpserver.port}"
    environ = {"HTTP_SECRET_SHOP": "Bearer s3cr3t-token", "HTTP_SECRET_SHOP_HOSTS": hosts}
    activity = HttpActivity(allow_private=True, environ=environ)
    with pytest.raises(NodeError, match=r"the token \*\*\* is unknown") as caught:
        await call(activity, url=httpserver.url_for("/"), headers={"Authorization": "env:HTTP_SECRET_SHOP"})
    assert "s3cr3t" not in str(caught.value)
    await activity.aclose()


@pytest.mark.parametrize("header", ["env:HOME", "env:HTTP_SECRET_SHOP_HOSTS"])
async def test_only_variables_meant_for_it_can_be_sent(activity: HttpActivity, echo: str, header: str) -> None:
    with pytest.raises(ConfigurationError, match=f"may not send the environment variable {header[4:]}") as caught:
        await call(activity, url=echo, headers={"X-A": header})
    assert "s3cr3t" not in str(caught.value)


async def test_a_secret_that_is_not_set_and_one_for_others_are_refused_with_the_same_words(
    activity: HttpActivity, httpserver: HTTPServer
) -> None:
    told = []
    for name, host in (("HTTP_SECRET_SHOP", "127.0.0.1"), ("HTTP_SECRET_NONE", "127.0.0.1")):
        with pytest.raises(ConfigurationError) as caught:
            await call(activity, url=f"http://{host}:{httpserver.port}/", headers={"X-A": f"env:{name}"})
        told.append(str(caught.value).replace(name, "NAME"))
    assert told[0] == told[1]
    assert told[0].startswith(f"this worker has no secret NAME for http://127.0.0.1:{httpserver.port} (")
    assert httpserver.log == []


@pytest.mark.parametrize(
    ("listed", "url", "is_sent"),
    [
        ("api.bank.example", "https://api.bank.example/x", True),
        ("api.bank.example", "https://API.BANK.example:443/x", True),
        ("https://api.bank.example/", "https://api.bank.example/", True),
        ("api.bank.example", "http://api.bank.example/", False),
        ("api.bank.example", "https://api.bank.example:8443/", False),
        ("api.bank.example:8443", "https://api.bank.example:8443/", True),
        ("api.bank.example", "https://evil.example/?api.bank.example", False),
        ("api.bank.example", "https://api.bank.example.evil.example/", False),
        ("api.bank.example", "https://sub.api.bank.example/", False),
        ("*.bank.example", "https://api.bank.example/", True),
        ("*.bank.example", "https://bank.example/", False),
        ("*.bank.example", "https://evilbank.example/", False),
        ("http://localhost:8080", "http://localhost:8080/", True),
        ("http://localhost:8080", "http://localhost/", False),
        ("http://[::1]:8080", "http://[::1]:8080/", True),
        ("bücher.example", "https://bücher.example/", False),
        ("xn--bcher-kva.example", "https://bücher.example/", True),
        ("*", "https://evil.example/", False),
        ("https://", "https://evil.example/", False),
        ("", "https://evil.example/", False),
        ("a.example b.example,c.example", "https://b.example/", True),
    ],
)
def test_a_secret_is_sent_only_to_the_hosts_that_its_list_names(listed: str, url: str, is_sent: bool) -> None:
    secrets = HttpSecrets({"HTTP_SECRET_BANK": "k3y", "HTTP_SECRET_BANK_HOSTS": listed})
    if is_sent:
        assert secrets.resolved("env:HTTP_SECRET_BANK", httpx2.URL(url)) == "k3y"
    else:
        with pytest.raises(ConfigurationError, match="has no secret HTTP_SECRET_BANK for"):
            secrets.resolved("env:HTTP_SECRET_BANK", httpx2.URL(url))


async def test_a_redirect_takes_no_secret_elsewhere(activity: HttpActivity, httpserver: HTTPServer) -> None:
    elsewhere = f"http://127.0.0.1:{httpserver.port}/else"
    httpserver.expect_request("/").respond_with_data("", status=307, headers={"Location": elsewhere})
    with pytest.raises(NodeError, match="answered 307"):
        await call(activity, url=httpserver.url_for("/"), headers={"X-A": "env:HTTP_SECRET_SHOP"})
    assert len(httpserver.log) == 1


async def test_a_query_value_may_be_a_secret_and_is_masked_as_well(activity: HttpActivity, echo: str) -> None:
    query = {"key": "env:HTTP_SECRET_SHOP", "all": ["a", "env:HTTP_SECRET_SHOP"]}
    seen = await body_of(activity, url=echo, query=query)
    assert seen["query"] == "key=***&all=a&all=***"


async def test_a_context_value_in_the_query_cannot_ask_for_a_secret(activity: HttpActivity, echo: str) -> None:
    query = {"a": "{{ evil }}", "b": "{{ [evil] }}", "c": ["{{ evil }}"]}
    seen = await body_of(activity, {"evil": "env:HTTP_SECRET_SHOP"}, url=echo, query=query)
    assert seen["query"] == "&".join(f"{name}=env%3AHTTP_SECRET_SHOP" for name in "abc")


@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_repeats_a_secret_in_no_form(form: str) -> None:
    """Everything that a server answers, in a success and in a failure: reason, headers, body, keys."""
    token = 'Bearer tok/en&"s3cr3t<x>+='
    shown = FORMS[form](token)
    line = shown.replace("\r", "").replace("\n", "").replace("\0", "").encode("ascii", "ignore").decode()
    for status in ("200", "401", "503"):
        body = json.dumps({"said": shown, shown: [shown]})
        text = (
            f"HTTP/1.1 {status} {line}\r\nX-Said: {line}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        )
        async with answering(text.encode()) as url:
            environ = {"HTTP_SECRET_K": token, "HTTP_SECRET_K_HOSTS": url}
            activity = HttpActivity(allow_private=True, environ=environ)
            try:
                told = str((await call(activity, url=url, headers={"Authorization": "env:HTTP_SECRET_K"})).result)
            except AnabranchError as error:
                told = f"{error} {error.__cause__} {error.__context__}"
            await activity.aclose()
        assert "***" in told
        assert status in told
        assert "tok/en" not in told.lower()
        for part in (shown, line, repr(shown)[1:-1], json.dumps(shown)[1:-1]):
            assert part not in told


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"a": "\\u0031234567890123456789.5"}', {"a": "***"}),
        ('{"a": 1234567890123456789.5, "b": 2}', {"a": "***", "b": 2}),
        ('{"a": [1234567890123456789.50]}', {"a": ["***0"]}),
    ],
)
async def test_a_secret_of_digits_is_masked_where_it_comes_back_as_a_number(
    httpserver: HTTPServer, body: str, expected: Any
) -> None:
    httpserver.expect_request("/").respond_with_data(body, content_type="application/json")
    hosts = f"http://localhost:{httpserver.port}"
    environ = {"HTTP_SECRET_K": "1234567890123456789.5", "HTTP_SECRET_K_HOSTS": hosts}
    activity = HttpActivity(allow_private=True, environ=environ)
    outcome = await call(activity, url=httpserver.url_for("/"), headers={"X-A": "env:HTTP_SECRET_K"})
    assert outcome.writes == {"reserve": expected}
    await activity.aclose()


async def test_a_secret_that_is_json_is_masked_where_it_comes_back_as_an_object(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data('{"e": {"k": "s3cr3t"}}', content_type="application/json")
    hosts = f"http://localhost:{httpserver.port}"
    activity = HttpActivity(
        allow_private=True, environ={"HTTP_SECRET_K": '{"k": "s3cr3t"}', "HTTP_SECRET_K_HOSTS": hosts}
    )
    outcome = await call(activity, url=httpserver.url_for("/"), headers={"X-A": "env:HTTP_SECRET_K"})
    assert outcome.writes == {"reserve": '{"e": ***}'}
    await activity.aclose()


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


@pytest.mark.parametrize(("status", "happened"), [(201, True), (400, None)])
async def test_an_answer_that_cannot_be_used_says_that_the_request_was_carried_out(
    activity: HttpActivity, httpserver: HTTPServer, status: int, happened: bool | None
) -> None:
    httpserver.expect_request("/").respond_with_data("{", status=status, content_type="application/json")
    with pytest.raises(NodeError) as caught:
        await call(activity, url=httpserver.url_for("/"), method="POST")
    assert caught.value.happened is happened
    assert application_error(caught.value).details[0].get("happened") is happened


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
    with pytest.raises(Unavailable, match=r"GET http://127\.0\.0\.1:9/ got no answer \(ConnectError\)") as caught:
        await call(activity, url="http://127.0.0.1:9/")
    # Whether there is another attempt, this one does not know: its message may be that of the run's failure.
    assert caught.value.suggestion == "`retry` says how often it is tried"


PRIVATE = [
    *("127.0.0.1", "localhost", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "224.0.0.1"),
    *("[fe80::1]", "[fd00::1]", "[64:ff9b:1::a00:1]", "[fec0::1]", "[::10.0.0.1]", "192.0.0.192"),
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


@pytest.mark.parametrize("private", [False, True])
async def test_names_that_nobody_answers_for_keep_only_their_own_requests_waiting(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    """Of each name one lookup is under way, and the threads of the event loop are free."""
    answer, begun, asked, resolve = threading.Event(), threading.Semaphore(0), Counter[str](), socket.getaddrinfo

    def slow(host: str, *rest: Any, **more: Any) -> Any:
        asked[host] += 1
        if host.endswith(".slow.example"):
            begun.release()
            answer.wait(60)
            raise socket.gaierror("nobody answers")
        return resolve("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(network, "is_public", lambda address: True)
    httpserver.expect_request("/").respond_with_data("reached")
    activity = HttpActivity(allow_private=private)
    hosts = [f"{index % 20}.slow.example" for index in range(60)]
    waiting = [asyncio.create_task(call(activity, url=f"http://{host}/")) for host in hosts]
    try:
        for _ in set(hosts):
            assert await asyncio.to_thread(begun.acquire, timeout=60)
        outcome = await call(activity, url=f"http://shop.example:{httpserver.port}/")
        assert outcome.writes == {"reserve": "reached"}
        assert await asyncio.to_thread(lambda: "free") == "free"
        assert asked == Counter({*hosts, "shop.example"})
    finally:
        answer.set()
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(failure) for failure in failures} == {Unavailable}
    await activity.aclose()


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_addresses_of_the_public_internet_are_public(address: str) -> None:
    assert network.is_public(address)
