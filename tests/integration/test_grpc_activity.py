"""`grpc` nodes against servers on this machine."""

from __future__ import annotations

import asyncio
import base64
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message

from anabranch.activities.grpc.handler import GrpcActivity
from anabranch.activities.grpc.library import aio, grpc, reflection_pb2
from anabranch.activities.grpc.target import Target
from anabranch.activities.node_result import NodeResult
from anabranch.errors import AnabranchError, ConfigurationError, NodeError, SizeLimitExceeded, TimedOut, Unavailable
from anabranch.graph.model import GrpcNode
from anabranch.graph.parts import GrpcStatus, GrpcTls
from anabranch.limits import NodeLimits
from tests.grpc_shop import METHOD, Context, Price, Shop, descriptor_text, shop, shop_file
from tests.node_tasks import task_of

TLS = Path("tests/fixtures/tls")
RETRIED = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}


@pytest.fixture
async def activity() -> AsyncIterator[GrpcActivity]:
    """A worker that may call this machine."""
    activity = GrpcActivity(allow_private=True, environ={})
    yield activity
    await activity.aclose()


@asynccontextmanager
async def knowing(**environ: str) -> AsyncGenerator[GrpcActivity]:
    activity = GrpcActivity(allow_private=True, environ=environ)
    yield activity
    await activity.aclose()


lost: list[str] = []
"""The targets of answers that gRPC has lost, now and then: a run tries again, and so do these tests."""


async def call(
    activity: GrpcActivity,
    target: str,
    data: dict[str, Any] | None = None,
    key: str = "run-1/n",
    method: str = METHOD,
    **fields: Any,
) -> NodeResult:
    node = GrpcNode.model_validate({"type": "grpc", "target": target, "method": method, **fields})
    while True:
        try:
            return await activity(task_of(data=data, key=key), node)
        except Unavailable as error:
            if "gRPC has lost its status" not in error.message:
                raise
            lost.append(target)


def was_asked(server: Shop, times: int, *targets: str) -> bool:
    """So often, and again only where the library lost an answer."""
    return 0 <= len(server.asked) - times <= sum(map(lost.count, targets or (server.target,)))


def body(result: NodeResult) -> dict[str, Any]:
    assert isinstance(result.result, dict)
    found = result.result["body"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("descriptor", [None, descriptor_text()], ids=["by reflection", "by descriptor"])
async def test_an_object_is_sent_and_received_as_messages(activity: GrpcActivity, descriptor: str | None) -> None:
    request = {
        "order_id": "{{ id }}",
        "items": [{"sku": "a", "count": 2, "size": "LARGE"}, {"sku": "{{ sku }}"}],
        "counts": {"x": 2**62},
        "at": "2026-01-02T03:04:05Z",
        "code": base64.b64encode(b"\0\xff").decode(),
    }
    async with shop(reflects=descriptor is None) as server:
        data = {"id": 2**60 + 1, "sku": "b"}
        result = await call(activity, server.target, data, request=request, descriptor=descriptor)
    asked = {
        "order_id": 2**60 + 1,
        "items": [{"sku": "a", "count": 2, "size": "LARGE"}, {"sku": "b", "count": 0, "size": "SIZE_UNKNOWN"}],
        "counts": {"x": 2**62},
        "at": "2026-01-02T03:04:05Z",
        "code": "AP8=",
        "how": "",
    }
    price = {"total": 1.5, "cents": 0, "serial": 0, "note": "", "seal": "", "items": [], "size": "SIZE_UNKNOWN"}
    assert body(result) == {**price, "asked": asked}
    assert result.writes == {"reserve": body(result)}


async def test_integers_of_64_bits_are_numbers_and_exact(activity: GrpcActivity) -> None:
    async def serve(_question: Message, _context: Context) -> Message:
        return Price(cents=-(2**63), serial=2**64 - 1, seal=b"\xfb\xff")

    async with shop(serve) as server:
        found = body(await call(activity, server.target))
    assert (found["cents"], found["serial"], found["seal"]) == (-(2**63), 2**64 - 1, "+/8=")


async def test_a_whole_request_may_be_one_template(activity: GrpcActivity) -> None:
    async with shop() as server:
        found = await call(activity, server.target, {"order": {"orderId": 7}}, request="{{ order }}")
    assert body(found)["asked"]["order_id"] == 7


async def test_result_has_status_metadata_and_body(activity: GrpcActivity) -> None:
    async def serve(_question: Message, context: Context) -> Message:
        await context.send_initial_metadata((("x-shard", "7"),))
        context.set_trailing_metadata((("x-cost", "3"), ("x-raw-bin", b"\0\1")))
        return Price(total=2)

    async with shop(serve) as server:
        result = (await call(activity, server.target)).result
    assert isinstance(result, dict)
    assert (result["status"], result["metadata"]) == ("OK", {"x-shard": "7", "x-cost": "3", "x-raw-bin": "AAE="})


async def test_an_answer_whose_status_grpc_has_lost_is_asked_for_again(activity: GrpcActivity) -> None:
    async def serve(_question: Message, context: Context) -> Message:
        await context.abort(grpc.StatusCode.INTERNAL, "Internal error from Core")
        raise AssertionError

    async with shop(serve) as server:
        for expect in ({}, {"status": ["OK", "INTERNAL"]}):
            node = GrpcNode.model_validate(
                {"type": "grpc", "target": server.target, "method": METHOD, "expect": expect}
            )
            with pytest.raises(Unavailable, match="gRPC has lost its status"):
                await activity(task_of(), node)


@pytest.mark.parametrize("status", [status for status in get_args(GrpcStatus) if status != "OK"])
async def test_a_status_decides_what_is_retried(activity: GrpcActivity, status: str) -> None:
    async def serve(_question: Message, context: Context) -> Message:
        await context.abort(grpc.StatusCode[status], "the reason")
        raise AssertionError

    async with shop(serve) as server:
        with pytest.raises(AnabranchError) as caught:
            await call(activity, server.target)
        assert type(caught.value) is (Unavailable if status in RETRIED else NodeError)
        assert caught.value.message == f"{METHOD} at {server.target} answered {status}: the reason"
        other = {"retry": [] if status in RETRIED else [status]}
        with pytest.raises(NodeError if status in RETRIED else Unavailable):
            await call(activity, server.target, expect=other)
        expected = await call(activity, server.target, expect={"status": ["OK", status]})
        assert was_asked(server, 3)
    assert isinstance(expected.result, dict)
    assert (expected.result["status"], expected.writes) == (status, {"reserve": None})


@pytest.mark.parametrize(("pause", "seconds"), [("1500", 1.5), ("99999999999", 3600), ("-1", None)])
async def test_a_server_says_how_soon_it_may_be_asked_again(
    activity: GrpcActivity, pause: str, seconds: float | None
) -> None:
    async def serve(_question: Message, context: Context) -> Message:
        context.set_trailing_metadata((("grpc-retry-pushback-ms", pause),))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "later")
        raise AssertionError

    async with shop(serve) as server:
        with pytest.raises(AnabranchError) as caught:
            await call(activity, server.target)
    if seconds is None:
        assert type(caught.value) is NodeError
    else:
        assert isinstance(caught.value, Unavailable)
        assert caught.value.retry_after == timedelta(seconds=seconds)


async def test_every_attempt_sends_the_same_idempotency_key(activity: GrpcActivity) -> None:
    async with shop() as server:
        for _ in range(2):
            await call(activity, server.target, key="run-1/näh")
        assert server.keys == ["run-1/n%C3%A4h"] * 2


@pytest.mark.parametrize(
    ("method", "message", "suggestion"),
    [
        ("shop.Prices/PriceOff", "the service shop.Prices has no method 'PriceOff'", "did you mean `PriceOf`?"),
        ("shop.Price/PriceOf", "there is no service 'shop.Price'", "did you mean `shop.Prices`?"),
        ("shop.Prices/Watch", "the method shop.Prices/Watch is a stream", "call a unary method"),
        ("PriceOff", "no service has a method 'PriceOff'", "did you mean `PriceOf`?"),
    ],
)
@pytest.mark.parametrize("descriptor", [None, descriptor_text()], ids=["by reflection", "by descriptor"])
async def test_a_method_that_cannot_be_called_is_refused_with_a_near_one(
    activity: GrpcActivity, method: str, message: str, suggestion: str, descriptor: str | None
) -> None:
    async with shop() as server:
        with pytest.raises(NodeError) as caught:
            await call(activity, server.target, method=method, descriptor=descriptor)
        assert server.asked == []
    assert message in caught.value.message
    assert str(caught.value.suggestion).startswith(suggestion)


@pytest.mark.parametrize("descriptor", [None, descriptor_text()], ids=["by reflection", "by descriptor"])
async def test_a_method_without_its_service_is_that_of_the_one_service_which_has_it(
    activity: GrpcActivity, descriptor: str | None
) -> None:
    async with shop() as server:
        for _ in range(2):
            await call(activity, server.target, method="PriceOf", descriptor=descriptor)
        assert [path for path, _, _ in server.asked] == [f"/{METHOD}"] * 2


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"orderid": 1}, "`request.orderid` is not a field of shop.Question (did you mean `order_id`?)"),
        ({"items": [{"sku": "a"}, {"skew": "b"}]}, "`request.items[1].skew` is not a field of shop.Item"),
        ({"items": [{}, {"count": "s3cr3t"}]}, "`request.items[1].count` is not an integer of 32 bits"),
        ({"items": [{"size": "s3cr3t"}]}, "`request.items[0].size` is not one of SIZE_UNKNOWN, SMALL, LARGE"),
        ({"items": "s3cr3t"}, "`request.items` is not a list"),
        ({"items": ["s3cr3t"]}, "`request.items[0]` is not a shop.Item, which is an object"),
        ({"order_id": {"s3cr3t": 1}}, "`request.order_id` is not an integer of 64 bits"),
        ({"counts": {"a": 1, "b": "s3cr3t"}}, "`request.counts.b` is not an integer of 64 bits"),
        ({"counts": ["s3cr3t"]}, "`request.counts` is not an object"),
        ({"at": "s3cr3t"}, "`request.at` is not a google.protobuf.Timestamp"),
        ({"code": "s3cr3t!"}, "`request.code` is not bytes in Base64"),
        ({"mail": "s3cr3t", "phone": "s3cr3t"}, "`request` sets fields of shop.Question that exclude each other"),
        ("{{ whole }}", "the `request` is not an object"),
    ],
)
async def test_a_request_that_is_not_the_message_is_refused_by_its_path_without_values(
    activity: GrpcActivity, request_: Any, message: str
) -> None:
    async with shop() as server:
        with pytest.raises(NodeError) as caught:
            await call(activity, server.target, {"whole": ["s3cr3t"]}, request=request_)
        assert server.asked == []
    assert message in str(caught.value)
    assert "s3cr3t" not in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


# targets and TLS


@pytest.mark.parametrize(
    ("target", "tls", "expected"),
    [
        ("localhost:1", None, Target("localhost", 1, tls=False)),
        ("127.0.0.9:1", None, Target("127.0.0.9", 1, tls=False)),
        ("[::1]:1", None, Target("::1", 1, tls=False)),
        ("prices.example:443", None, Target("prices.example", 443, tls=True)),
        ("10.0.0.1:443", None, Target("10.0.0.1", 443, tls=True)),
        ("prices.example:80", False, Target("prices.example", 80, tls=False)),
        ("localhost:1", True, Target("localhost", 1, tls=True)),
        ("Bücher.example:1", GrpcTls(ca="GRPC_CA_X"), Target("xn--bcher-kva.example", 1, tls=True, ca="GRPC_CA_X")),
    ],
)
def test_only_this_machine_is_called_without_tls_that_was_not_switched_off(
    target: str, tls: bool | GrpcTls | None, expected: Target
) -> None:
    assert Target.of(target, tls) == expected


@pytest.mark.parametrize(
    "target",
    [
        *("unix:/tmp/x", "dns:///host:1", "https://host:1", "host", "host:0", "host:65536", "a@host:1", "host:1/x"),
        *("", None, "ipv4:1.2.3.4:5", "host:1,other:2", "[::1%25x]:1"),
    ],
)
async def test_a_target_that_is_not_a_host_and_a_port_is_refused(activity: GrpcActivity, target: Any) -> None:
    with pytest.raises(NodeError, match="the `target`"):
        await call(activity, "{{ target }}", {"target": target})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1"])
async def test_private_addresses_are_refused_however_they_are_spelt(host: str) -> None:
    activity = GrpcActivity(environ={})
    with pytest.raises(NodeError, match="private, loopback, link-local or reserved address, where `grpc` nodes"):
        await call(activity, f"{host}:443")
    await activity.aclose()


async def test_a_server_of_one_s_own_authority_is_known_by_its_certificate() -> None:
    key, chain = ((TLS / name).read_bytes() for name in ("key.pem", "certificate.pem"))
    async with shop(credentials=grpc.ssl_server_credentials([(key, chain)])) as server:
        target = f"localhost:{server.port}"
        for value in (str(TLS / "certificate.pem"), chain.decode()):
            async with knowing(GRPC_CA_SHOP=value) as activity:
                assert body(await call(activity, target, tls={"ca": "GRPC_CA_SHOP"}))["total"] == 1.5
        async with knowing() as activity:
            with pytest.raises(Unavailable, match="answered UNAVAILABLE"):
                await call(activity, target, tls=True)
        assert was_asked(server, 2, target)


@pytest.mark.parametrize("value", ["", "/nowhere/s3cr3t", "-----BEGIN s3cr3t", "/proc/self/environ"])
async def test_certificates_that_are_none_are_an_error_of_the_worker(value: str) -> None:
    async with knowing(GRPC_CA_SHOP=value) as activity:
        with pytest.raises(ConfigurationError, match="GRPC_CA_SHOP holds no certificates") as caught:
            await call(activity, "localhost:1", tls={"ca": "GRPC_CA_SHOP"})
    assert "s3cr3t" not in str(caught.value)


# secrets


async def test_a_secret_is_sent_as_metadata_and_masked_in_whatever_comes_back() -> None:
    secret = "Bearer tok-s3cr3t-9"

    async def serve(_question: Message, context: Context) -> Message:
        await context.send_initial_metadata((("x-said", secret),))
        return Price(note=f"you sent {secret}", seal=secret.encode(), items=[{"sku": "tok-s3cr3t-9"}])

    async def refuse(_question: Message, context: Context) -> Message:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"unknown: {secret}")
        raise AssertionError

    for serving in (serve, refuse):
        async with shop(serving) as server:
            environ = {"HTTP_SECRET_SHOP": secret, "HTTP_SECRET_SHOP_HOSTS": f"http://127.0.0.1:{server.port}"}
            async with knowing(**environ) as activity:
                try:
                    told = str(
                        (await call(activity, server.target, metadata={"Authorization": "env:HTTP_SECRET_SHOP"})).result
                    )
                except NodeError as error:
                    told = "".join(traceback.format_exception(error))
            assert server.asked[0][2]["authorization"] == secret
        assert "***" in told
        assert "tok-s3cr3t-9" not in told
        assert base64.b64encode(secret.encode()).decode() not in told


async def test_a_secret_for_another_server_is_not_sent() -> None:
    async with shop() as server, knowing(HTTP_SECRET_SHOP="k3y", HTTP_SECRET_SHOP_HOSTS="127.0.0.1") as activity:
        with pytest.raises(ConfigurationError, match="has no secret HTTP_SECRET_SHOP for http://127"):
            await call(activity, server.target, metadata={"x-a": "env:HTTP_SECRET_SHOP"})
        with pytest.raises(ConfigurationError, match="may not send the environment variable HOME"):
            await call(activity, server.target, metadata={"x-a": "env:HOME"})
        data = {"evil": "env:HTTP_SECRET_SHOP"}
        await call(activity, server.target, data, metadata={"x-a": "{{ evil }}", "x-n": "{{ 1 }}", "x-b": "{{ true }}"})
        (_, _, metadata), *_ = server.asked
        assert (metadata["x-a"], metadata["x-n"], metadata["x-b"]) == ("env:HTTP_SECRET_SHOP", "1", "true")
        assert was_asked(server, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-a", "a\r\nb"), ("x-a", "ä"), ("x a", "a"), (":path", "/x"), ("grpc-timeout", "1H"), ("te", "x")),
        *(("host", "x"), ("x-bin", "not base64!"), ("x-a", None), ("x-a", [1])),
    ],
)
async def test_metadata_that_cannot_be_sent_is_refused(activity: GrpcActivity, name: str, value: Any) -> None:
    with pytest.raises(NodeError, match="metadata"):
        await call(activity, "127.0.0.1:9", {"value": value}, metadata={name: "{{ value }}"})


# time and size


async def never(_question: Message, _context: Context) -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_call_that_takes_too_long_is_ended_at_the_node_s_timeout(
    activity: GrpcActivity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anabranch.activities.grpc.handler.seconds_of_work", lambda _node: 0.5)
    async with shop(never) as server:
        with pytest.raises(TimedOut, match="took longer than its `timeout`"):
            await call(activity, server.target, descriptor=descriptor_text())
        await asyncio.wait_for(server.cancelled.wait(), 60)


async def test_a_node_that_is_cancelled_cancels_its_call(activity: GrpcActivity) -> None:
    async with shop(never) as server:
        running = asyncio.create_task(call(activity, server.target))
        await asyncio.wait_for(server.called.wait(), 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(server.cancelled.wait(), 60)


async def test_an_answer_over_the_limit_is_refused_and_not_retried() -> None:
    async def large(_question: Message, _context: Context) -> Message:
        return Price(note="x" * 5000)

    activity = GrpcActivity(allow_private=True, environ={}, limits=NodeLimits(response_bytes=4000))
    async with shop(large) as server:
        with pytest.raises(SizeLimitExceeded, match="is larger than a node may receive") as caught:
            await call(activity, server.target)
        assert was_asked(server, 1)
        assert caught.value.happened
    await activity.aclose()


async def test_a_small_answer_that_unfolds_to_a_large_object_is_refused(activity: GrpcActivity) -> None:
    async def many(_question: Message, _context: Context) -> bytes:
        return b"\x32\x00" * 400_000  # empty items, of three fields each

    async with shop(many) as server:
        with pytest.raises(SizeLimitExceeded, match="too large as JSON"):
            await call(activity, server.target)


async def test_a_compressed_answer_is_read_and_bounded_by_what_it_unfolds_to(activity: GrpcActivity) -> None:
    async def serve(question: Message, _context: Context) -> Message:
        return Price(note="x" * (10_000_000 if getattr(question, "order_id") else 1000))  # noqa: B009 - made at run time

    async with shop(serve, compression=grpc.Compression.Gzip) as server:
        assert body(await call(activity, server.target))["note"] == "x" * 1000
        with pytest.raises(SizeLimitExceeded, match="is larger than a node may receive"):
            await call(activity, server.target, request={"order_id": 1})


@pytest.mark.parametrize("content", [b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x3a\x7f" * 200, b"\x22\x02\xff\xfe"])
async def test_an_answer_that_is_not_the_message_says_that_the_call_was_carried_out(
    activity: GrpcActivity, content: bytes
) -> None:
    async def serve(_question: Message, _context: Context) -> bytes:
        return content

    async with shop(serve) as server:
        with pytest.raises(NodeError, match=r"the answer is not a shop\.Price") as caught:
            await call(activity, server.target)
    assert caught.value.happened is True


# reflection


async def test_a_server_is_asked_for_its_descriptors_once_and_again_where_they_no_longer_fit(
    activity: GrpcActivity,
) -> None:
    async with shop() as server:
        await call(activity, server.target)
        asked = server.reflected  # more than once only where the library lost an answer
        for _ in range(3):
            await call(activity, server.target)
        assert server.reflected == asked
        with pytest.raises(NodeError, match=r"request\.new"):
            await call(activity, server.target, request={"new": 1})
        assert server.reflected > asked


async def test_a_server_without_reflection_needs_a_descriptor(activity: GrpcActivity) -> None:
    async with shop(reflects=False) as server:
        with pytest.raises(NodeError, match="the server has no reflection") as caught:
            await call(activity, server.target)
    assert "descriptor" in str(caught.value.suggestion)


Answers = Callable[[Any], list[bytes]]


@asynccontextmanager
async def lying(answers: Answers) -> AsyncGenerator[str]:
    """A server whose reflection sends these bytes for a question."""

    class Reflecting(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            async def converse(questions: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
                async for question in questions:
                    for answer in answers(reflection_pb2.ServerReflectionRequest.FromString(question)):
                        yield answer

            return grpc.stream_stream_rpc_method_handler(converse) if handler_call_details else None

    server = aio.server()
    server.add_generic_rpc_handlers((Reflecting(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


def files(*contents: bytes) -> list[bytes]:
    response = reflection_pb2.ServerReflectionResponse()
    response.file_descriptor_response.file_descriptor_proto.extend(contents)
    return [response.SerializeToString()]


def file_of(name: str, *imports: str) -> bytes:
    return FileDescriptorProto(name=name, package="shop", dependency=imports, syntax="proto3").SerializeToString()


def endless(question: Any) -> list[bytes]:
    """Each file imports another one."""
    return files(file_of(name := question.file_by_filename or "0", f"{name}0"))


def in_a_circle(question: Any) -> list[bytes]:
    return files(file_of("a", "b") if question.file_by_filename != "b" else file_of("b", "a"))


def ill_typed() -> bytes:
    file = shop_file()
    file.service[0].method[0].input_type = ".shop.Nothing"
    return file.SerializeToString()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (lambda _: [b"\xff\xff"], "its answer is not one of reflection"),
        (lambda _: [b""], "there is no service 'shop.Prices'"),
        (lambda _: files(b"\xff"), "a file of it is not a FileDescriptorProto"),
        (lambda _: files(file_of("other")), "there is no service 'shop.Prices'"),
        (lambda _: files(ill_typed()), "the descriptors of 'shop.proto' are not valid"),
        (endless, "more than 200 files"),
        (in_a_circle, "import each other"),
        (lambda _: files(file_of("a", "a")), "import each other"),
        (lambda _: files(*(file_of(f"{index}") for index in range(300))), "more than 200 files"),
        (lambda _: files(*(file_of("x" * 90_000) for _ in range(11))) * 100, "there is no service"),
    ],
)
async def test_reflection_that_lies_is_an_error_of_the_node(
    activity: GrpcActivity, answers: Answers, message: str
) -> None:
    async with lying(answers) as target:
        with pytest.raises(NodeError, match=message):
            await call(activity, target)


async def test_reflection_does_not_change_protobuf_s_own_messages(activity: GrpcActivity) -> None:
    own = FileDescriptorProto(name="google/protobuf/timestamp.proto", package="google.protobuf")
    own.message_type.add(name="Timestamp")

    async with lying(lambda _: files(own.SerializeToString(), shop_file().SerializeToString())) as target:
        with pytest.raises(NodeError, match=r"`request\.at` is not a google\.protobuf\.Timestamp"):
            await call(activity, target, request={"at": {}})


async def test_channels_that_nobody_uses_are_closed_beyond_a_number_of_them(activity: GrpcActivity) -> None:
    async with shop() as server:
        await asyncio.gather(
            *(call(activity, f"127.0.0.{index}:{server.port}", descriptor=descriptor_text()) for index in range(1, 2)),
            *(call(activity, f"localhost:{server.port}") for _ in range(50)),
        )
        assert was_asked(server, 51, f"127.0.0.1:{server.port}", f"localhost:{server.port}")
    assert len(activity._channels._open) == 2


async def test_a_server_that_comes_back_is_reached_at_the_next_attempt(activity: GrpcActivity) -> None:
    async with shop() as server:
        target = server.target
        await call(activity, target)
    with pytest.raises(Unavailable, match="answered UNAVAILABLE"):
        await call(activity, target)
    assert len(activity._channels._open) == 0
