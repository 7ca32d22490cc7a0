"""What `validate` says of `grpc` nodes, and what dry runs and tests say of them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anabranch.activities.grpc import library
from anabranch.errors import GraphError
from anabranch.graph.dataflow.reads import node_reads, node_writes
from anabranch.graph.drawing.summary import summary
from anabranch.graph.kinds.kinds import has_effect
from anabranch.graph.load import load_graph, load_text, written_out
from anabranch.graph.model import Graph, GrpcNode
from tests.grpc_shop import METHOD, descriptor_set, descriptor_text


def node(**fields: Any) -> dict[str, Any]:
    return {"type": "grpc", "target": "prices.example:443", "method": METHOD, **fields}


def text_of(**fields: Any) -> str:
    return f"name: g\nnodes: {json.dumps({'ask': node(**fields)})}"


def problems(**fields: Any) -> list[tuple[str, str]]:
    try:
        return [(one.code, one.message) for one in load_text(text_of(**fields)).warnings]
    except GraphError as error:
        return [(one.code, one.message) for one in error.problems]


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"target": "https://prices.example"}, "GRPC_TARGET", "has a `target` that is not a host and a port"),
        ({"target": "unix:/tmp/socket"}, "GRPC_TARGET", "has a `target` that is not a host and a port"),
        ({"method": "shop.PriceOf"}, "GRPC_METHOD", "has a `method` that does not name a method of a service"),
        ({"method": "/shop.Prices/PriceOf"}, "GRPC_METHOD", "has a `method` that does not name a method"),
        ({"request": "all"}, "GRPC_REQUEST", "has a `request` that is a text, and messages are objects"),
        ({"request": {"a": "env:HTTP_SECRET_X"}}, "GRPC_SECRET", "has `env:HTTP_SECRET_X` where it would be sent as"),
        ({"target": "env:TARGET:1"}, "GRPC_TARGET", "has a `target`"),
        ({"metadata": {"a": "Bearer env:HTTP_SECRET_X"}}, "GRPC_SECRET", "has `env:HTTP_SECRET_X` where it would be"),
        ({"metadata": {"a": "env:GRPC_KEY"}}, "GRPC_SECRET", "names the variable GRPC_KEY, which a graph may not send"),
        ({"descriptor": "AAAA"}, "GRPC_DESCRIPTOR", "has a `descriptor` that cannot be used: is not a FileDescriptorS"),
        ({"descriptor": "ä"}, "GRPC_DESCRIPTOR", "has a `descriptor` that cannot be used: is not a FileDescriptorSet"),
        ({"tls": {"ca": "HOME"}}, "VALUE_INVALID", "ca"),
        ({"expect": {"status": ["GONE"]}}, "VALUE_INVALID", "GONE"),
    ],
)
def test_what_cannot_be_called_is_found_by_validate(fields: dict[str, Any], code: str, message: str) -> None:
    found = problems(**fields)
    assert code in [each for each, _ in found]
    assert any(message in said for _, said in found)


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"method": "shop.Prices/PriceOff"}, "GRPC_METHOD", "the service shop.Prices has no method 'PriceOff'"),
        ({"method": "shop.Shop/PriceOf"}, "GRPC_METHOD", "there is no service 'shop.Shop'"),
        ({"method": "PriceOff"}, "GRPC_METHOD", "no service has a method 'PriceOff'"),
        ({"method": "Watch"}, "GRPC_METHOD", "is a stream, and a node makes unary calls only"),
        ({"method": "shop.Prices/Watch"}, "GRPC_METHOD", "is a stream, and a node makes unary calls only"),
        ({"request": {"order": 1}}, "GRPC_REQUEST", "sends the field 'order', which shop.Question does not have"),
        ({"request": {"items": [{"sku": 1}, {"no": 1}]}}, "GRPC_REQUEST", "sends the field 'no', which shop.Item"),
    ],
)
def test_a_descriptor_shows_methods_and_fields_that_there_are_not(
    fields: dict[str, Any], code: str, message: str
) -> None:
    ((found, said),) = problems(descriptor=descriptor_text(), **fields)
    assert found == code
    assert message in said


def test_a_request_that_fits_its_descriptor_has_no_problems() -> None:
    request = {"orderId": "{{ id }}", "items": [{"sku": "a"}], "counts": {"any": 1}, "at": "{{ at }}"}
    assert problems(descriptor=descriptor_text(), request=request, metadata={"a": "env:HTTP_SECRET_A"}) == []


def test_a_descriptor_is_a_file_beside_the_graph_and_pinned_with_it(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(text_of(descriptor="shop.binpb"))
    (tmp_path / "shop.binpb").write_bytes(descriptor_set())
    loaded = load_graph(tmp_path / "g.yaml")
    assert loaded.files == {tmp_path / "g.yaml", tmp_path / "shop.binpb"}
    pinned = json.loads(written_out(loaded.graph))["nodes"]["ask"]
    assert base64.b64decode(pinned["descriptor"]) == descriptor_set()
    again = Graph.model_validate_json(written_out(loaded.graph)).nodes["ask"]
    assert isinstance(again, GrpcNode)
    assert again.descriptor == descriptor_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.binpb", None, "cannot be read"),
        ("../out.binpb", b"", "is outside of the graph's folder"),
        ("large.pb", b"\0" * 300_000, "is larger than 256 KiB"),
    ],
)
def test_a_descriptor_that_cannot_be_read_is_an_error_of_the_graph(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "g.yaml").write_text(text_of(descriptor=name))
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(GraphError) as caught:
        load_graph(folder / "g.yaml")
    (first, *_) = caught.value.problems
    assert (first.code, message in first.message) == ("FILE_UNREADABLE", True)


def test_what_a_call_reads_and_writes_follows_from_its_fields() -> None:
    given = GrpcNode.model_validate(
        node(target="{{ host }}:443", request={"a": "{{ id }}"}, metadata={"x": "{{ who }}"})
    )
    assert node_reads(given) == frozenset({"host", "id", "who"})
    assert node_writes("ask", given) == frozenset({"ask"})
    assert node_writes("ask", given.model_copy(update={"output": {"price": "result.body.total"}})) == frozenset(
        {"price"}
    )


def test_a_call_has_an_effect_unless_its_node_says_otherwise() -> None:
    assert has_effect(GrpcNode.model_validate(node()))
    assert not has_effect(GrpcNode.model_validate(node(effect=False)))
    assert [code for code, _ in problems(cache={"key": "x"})] == ["CACHE_OF_EFFECT"]
    assert problems(cache={"key": "x"}, effect=False) == []


def test_a_drawing_names_the_method_and_the_target() -> None:
    assert summary(load_text(text_of()).graph.nodes["ask"]) == "shop.Prices/PriceOf at prices.example:443"


def test_a_worker_without_the_package_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['grpc'] = None\n"
        "from anabranch.errors import ConfigurationError\n"
        "from anabranch.activities.standard import _handler\n"
        "from anabranch.settings import Settings\n"
        "try: _handler('grpc', Settings())\n"
        "except ConfigurationError as error: print(error.elsewhere, error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    expected = "`grpc` nodes need a package that is not installed (pip install 'anabranch[grpc]')"
    assert told.strip() == f"True {expected}"
    assert library.grpc is not None


def test_graphs_without_a_descriptor_do_not_load_protobuf_s_messages() -> None:
    code = (
        "import sys\nfrom anabranch.graph.load import load_text\n"
        f"load_text({text_of()!r})\nprint('anabranch.graph.kinds.descriptors' in sys.modules, 'grpc' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "False False"
