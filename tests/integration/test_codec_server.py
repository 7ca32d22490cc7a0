import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client

from anabranch.console.codec.alone import CODEC_PATH, codec_alone
from anabranch.console.codec.intake import CodecLimits
from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.dev.devserver import DevServer, temporal_command
from anabranch.errors import Unavailable
from anabranch.loopback import serving
from anabranch.transport.converter import data_converter
from anabranch.transport.marking import MarkingDataConverter
from anabranch.transport.node_protocol import NodeTask, RunInfo
from anabranch.transport.payload_store import offloading
from tests.encryption_keys import cipher
from tests.json_values import unchecked
from tests.zstandard import zstd

UI = "http://127.0.0.1:8233"
JSON = {"Content-Type": "application/json"}
CONVERTER = data_converter()
CONTEXT = DistributedContext("order-1", {"note": "x" * 2000, "total": 10}, ContextMetadata(1, 2, 3, "pay", ()))
TASK = NodeTask("pay", {"type": "http"}, CONTEXT, RunInfo("r", "order-1", "orders", "2026-01-01T00:00:00Z"), "r/pay/0")


@pytest.fixture
async def codec_client() -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        serving(codec_alone([UI])) as url,
        httpx2.AsyncClient(base_url=url + CODEC_PATH, trust_env=False, headers=JSON) as client,
    ):
        yield client


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MarkingDataConverter]:
    """The converter of workers that keep payloads of 10,000 bytes and more elsewhere."""
    storage = offloading(f"sqlite:///{tmp_path}/payloads.db", threshold=10_000)
    yield data_converter(storage=storage, cipher=cipher())
    await unchecked(storage.drivers[0])._engine.dispose()


@asynccontextmanager
async def codec_server_of(
    converter: MarkingDataConverter, token: str | None = None
) -> AsyncGenerator[httpx2.AsyncClient]:
    async with (
        serving(codec_alone([UI], converter, token=token)) as url,
        httpx2.AsyncClient(base_url=url + CODEC_PATH, trust_env=False, headers=JSON) as client,
    ):
        yield client


async def ask(client: httpx2.AsyncClient, path: str, *payloads: Payload) -> list[Payload]:
    answer = await posted(client, path, *payloads)
    assert answer.status_code == 200, answer.text
    return list(json_format.Parse(answer.text, Payloads()).payloads)


async def posted(client: httpx2.AsyncClient, path: str, *payloads: Payload) -> httpx2.Response:
    body = json_format.MessageToJson(Payloads(payloads=payloads))
    return await client.post(path, content=body, headers={**JSON, "X-Namespace": "default"})


async def test_a_compressed_task_is_decoded_to_json_with_named_fields(codec_client: httpx2.AsyncClient) -> None:
    [payload] = await CONVERTER.encode([TASK])
    assert payload.metadata["encoding"] == b"binary/zstd"
    [decoded] = await ask(codec_client, "/decode?preserveStorageRefs=true", payload)
    assert decoded.metadata["encoding"] == b"json/plain"
    shown = json.loads(decoded.data)
    assert shown["address"] == "pay"
    assert shown["node"] == {"type": "http"}
    assert shown["context"]["data"] == {"note": "x" * 2000, "total": 10}
    assert shown["context"]["metadata"]["modified_by"] == "pay"


async def test_changes_are_shown_with_paths_as_text(codec_client: httpx2.AsyncClient) -> None:
    [payload] = await CONVERTER.encode([ChangeSet(3, {("order", "status"): "paid"}, (("draft",),), "pay", 9)])
    [decoded] = await ask(codec_client, "/decode", payload)
    assert json.loads(decoded.data) == {
        "base_version": 3,
        "set": {"order.status": "paid"},
        "removed": ["draft"],
        "by": "pay",
        "at": 9,
    }


@pytest.mark.parametrize("value", [{"plain": "json"}, None, ["x" * 100_000]])
async def test_encoding_is_what_a_client_does_and_decoding_undoes_it(
    codec_client: httpx2.AsyncClient, value: Any
) -> None:
    stored = await CONVERTER.encode([value])
    plain = [CONVERTER.payload_converter.to_payload(value)]
    assert await ask(codec_client, "/encode", *plain) == stored
    assert await ask(codec_client, "/decode", *stored) == plain


async def test_plain_json_and_foreign_payloads_pass_unchanged(codec_client: httpx2.AsyncClient) -> None:
    payloads = [
        Payload(metadata={"encoding": b"json/plain"}, data=b'{"a": 1}'),
        Payload(metadata={"encoding": b"binary/encrypted", "key": b"7"}, data=b"\x00\xff"),
        Payload(),
    ]
    for path in ("/decode", "/download", "/encode"):
        assert await ask(codec_client, path, *payloads) == payloads


async def test_a_corrupt_payload_is_handed_back_and_hides_no_other(codec_client: httpx2.AsyncClient) -> None:
    bomb = zstd.compress(Payload(data=bytes(100 * 2**20)).SerializeToString())
    corrupt = [
        Payload(metadata={"encoding": b"binary/zstd"}, data=b"junk"),
        Payload(metadata={"encoding": b"binary/zstd"}, data=bomb),
        Payload(metadata={"encoding": b"binary/msgpack", "anabranch-type": b"NodeTask"}, data=b"\x91" * 100_000),
        Payload(metadata={"encoding": b"binary/msgpack", "anabranch-type": b"Nothing"}, data=b"\x90"),
    ]
    good = await CONVERTER.encode([TASK])
    *handed_back, last = await ask(codec_client, "/decode", *corrupt, *good)
    assert handed_back == corrupt
    assert json.loads(last.data)["address"] == "pay"


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b'{"payloads": 5}', b'{"payloads": [{"data": 5}]}', b"[" * 100_000, b"\xff\xfe"],
)
async def test_a_request_that_is_not_one_is_answered_with_400_and_a_reason(
    codec_client: httpx2.AsyncClient, body: bytes
) -> None:
    for path in ("/decode", "/encode", "/download"):
        answer = await codec_client.post(path, content=body)
        assert answer.status_code == 400
        assert answer.json()["code"] == "WIRE_FORMAT_INVALID"
        assert "not a JSON list of payloads" in answer.json()["message"]


async def test_a_request_over_the_limit_is_answered_with_413(codec_client: httpx2.AsyncClient) -> None:
    answer = await codec_client.post("/decode", content=b" " * (16 * 2**20 + 1))
    assert answer.status_code == 413
    assert answer.json()["code"] == "SIZE_LIMIT_EXCEEDED"


async def test_payloads_that_unfold_to_more_than_the_limit_together_are_answered_with_413(
    codec_client: httpx2.AsyncClient,
) -> None:
    text = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + b"x" * (30 * 2**20) + b'"')
    payload = Payload(metadata={"encoding": b"binary/zstd"}, data=zstd.compress(text.SerializeToString()))
    answer = await codec_client.post("/decode", content=json_format.MessageToJson(Payloads(payloads=[payload] * 50)))
    assert answer.status_code == 413


async def test_only_the_web_ui_may_read_the_answers_from_a_page(codec_client: httpx2.AsyncClient) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-namespace",
    }
    allowed = await codec_client.options("/decode", headers={"Origin": UI, **preflight})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == UI
    names = {name.strip().lower() for name in allowed.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "x-namespace"} <= names
    refused = await codec_client.options("/decode", headers={"Origin": "http://evil.example", **preflight})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    answer = await codec_client.post("/decode", content=b'{"payloads": []}', headers={"Origin": UI})
    assert answer.headers["access-control-allow-origin"] == UI


async def test_what_the_web_ui_sends_of_a_person_who_is_signed_in_passes_the_preflight(
    codec_client: httpx2.AsyncClient,
) -> None:
    asked = "authorization,authorization-extras,content-type,x-namespace"
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    for path in ("/decode", "/download", "/encode"):
        answer = await codec_client.options(f"{path}?preserveStorageRefs=true", headers={"Origin": UI, **preflight})
        assert answer.status_code == 200, answer.text
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-allow-origin"] == UI


async def test_a_reference_is_kept_for_the_web_ui_and_what_it_stands_for_is_shown_to_all_others(
    store: MarkingDataConverter,
) -> None:
    big = ["x" * 7 + str(index) for index in range(50_000)]
    [reference, small] = await store.encode([big, "small"])
    assert [each.size_bytes for each in reference.external_payloads] == [pytest.approx(150_000, rel=0.9)]
    async with codec_server_of(store) as client:
        kept = await ask(client, "/decode?preserveStorageRefs=true", reference, small)
        assert kept[0] == reference
        assert json.loads(kept[1].data) == "small"
        for path in ("/decode", "/decode?preserveStorageRefs=false", "/download?preserveStorageRefs=true"):
            shown = await ask(client, path, reference, small)
            assert [json.loads(each.data) for each in shown] == [big, "small"]
            assert [dict(each.metadata) for each in shown] == [{"encoding": b"json/plain"}] * 2


async def test_what_is_encoded_goes_to_the_store_as_a_clients_does(store: MarkingDataConverter) -> None:
    big = "".join(f"{index:x}" for index in range(30_000))
    [stored] = await store.encode([big])
    async with codec_server_of(store) as client:
        plain = store.payload_converter.to_payload(big)
        assert await ask(client, "/encode?preserveStorageRefs=true", plain) == [stored]


async def test_a_payload_that_no_store_has_is_a_refused_download_and_else_handed_back(
    store: MarkingDataConverter,
) -> None:
    [reference] = await store.encode(["x" * 50_000])
    altered = Payload.FromString(reference.SerializeToString().replace(b"sha256", b"sha255"))
    async with codec_server_of(store) as client:
        assert await ask(client, "/decode", altered) == [altered]
        answer = await posted(client, "/download", altered)
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
        assert "is not in the payload store" in answer.json()["message"]
    async with codec_server_of(data_converter()) as client:
        assert await ask(client, "/decode", reference) == [reference]
        answer = await posted(client, "/download", reference)
        assert answer.status_code == 404
        assert answer.json()["message"] == "this codec server has no payload store: set PAYLOAD_STORE_URL"


async def test_what_is_fetched_from_a_store_counts_to_the_limits(store: MarkingDataConverter) -> None:
    references = await store.encode([f"{index}" + "y" * 20_000 for index in range(3)])
    for limits, status in ((CodecLimits(answer_bytes=500), 413), (CodecLimits(held_bytes=3_000), 503)):
        async with (
            serving(codec_alone([UI], store, limits=limits)) as url,
            httpx2.AsyncClient(base_url=url + CODEC_PATH, trust_env=False, headers=JSON) as client,
        ):
            assert (await posted(client, "/download", *references)).status_code == status
            assert (await posted(client, "/decode", Payload())).status_code == 200


async def test_a_browser_signs_in_with_the_token_as_password_and_no_request_for_payloads_asks_for_that() -> None:
    token = "a token of 16 and more"
    async with codec_server_of(CONVERTER, token) as client:
        page = await client.get("/")
        assert page.status_code == 401
        assert page.headers["www-authenticate"].startswith("Basic ")
        for wrong in (("ui", "another token of 16"), (token, ""), ("", "")):
            assert (await client.get("/", auth=wrong)).status_code == 401
        signed_in = await client.get("/", auth=("anybody", token))
        assert signed_in.status_code == 200
        assert "Include cross-origin credentials" in signed_in.text
        refused = await client.post("/decode", content=b'{"payloads": []}')
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        for known in ({"auth": ("ui", token)}, {"headers": {**JSON, "Authorization": f"Bearer {token}"}}):
            answer = await client.post("/decode", content=b'{"payloads": []}', **unchecked(known))
            assert answer.status_code == 200
        for bad in ("Basic", "Basic !", f"Basic {token}", f"Digest {token}", "Basic w6k="):
            answer = await client.post("/decode", content=b"{}", headers={**JSON, "Authorization": bad})
            assert answer.status_code == 401


async def test_a_browser_that_is_signed_in_is_of_no_use_to_pages_that_are_not_listed() -> None:
    token = "a token of 16 and more"
    async with codec_server_of(CONVERTER, token) as client:
        headers = {**JSON, "Origin": "http://127.0.0.1:9999"}
        answer = await client.post("/decode", content=b'{"payloads": []}', headers=headers, auth=("ui", token))
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


async def test_other_methods_and_paths_are_not_served(codec_client: httpx2.AsyncClient) -> None:
    assert (await codec_client.get("/decode")).status_code == 405
    assert (await codec_client.post("/elsewhere")).status_code == 404


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    async with serving(codec_alone()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{port}: the port is taken"):
            async with serving(codec_alone(), port):
                pass


async def test_the_server_is_gone_after_its_context() -> None:
    async with serving(codec_alone()) as url:
        pass
    async with httpx2.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.post(f"{url}{CODEC_PATH}/decode")


async def test_the_temporal_command_shows_a_stored_task_by_its_fields(dev_server: DevServer, task_queue: str) -> None:
    client = await Client.connect(dev_server.address, data_converter=CONVERTER)
    await client.start_workflow("anything", TASK, id=task_queue, task_queue=task_queue)
    show = ["workflow", "show", "--detailed", "--workflow-id", task_queue, "--address", dev_server.address]
    async with serving(codec_alone()) as url:
        shown = await temporal(*show, "--codec-endpoint", url + CODEC_PATH)
    assert "input[0].address: pay\n" in shown
    assert "input[0].context.data.total: 10\n" in shown
    assert "address: pay" not in await temporal(*show)


async def temporal(*arguments: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, [temporal_command(), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_protocols_json_is_what_temporal_documents() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"1")
    assert json.loads(json_format.MessageToJson(Payloads(payloads=[payload]))) == {
        "payloads": [{"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": "MQ=="}]
    }
