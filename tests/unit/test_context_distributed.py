import dataclasses
import time
from collections.abc import Callable

import pytest

from anabranch import context
from anabranch.context.distributed import ContextMetadata, ContextSnapshot, DistributedContext, copied
from anabranch.context.values import Json
from anabranch.errors import UndeclaredRead, WireFormatError
from tests.json_values import at, fields, unchecked


def test_a_new_context_is_at_version_1_and_both_its_times_are_the_given_one() -> None:
    fresh = DistributedContext("order-1", at=1000)
    assert fresh.metadata == ContextMetadata(created_at=1000, updated_at=1000, version=1, modified_by=None, tags=())
    assert fresh.data == {}


def test_without_a_time_a_context_takes_the_wall_clock_s_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    fresh = DistributedContext("order-1")
    assert before <= fresh.metadata.created_at <= time.time_ns() // 1_000_000
    fresh.set("total", 1)
    assert before <= fresh.metadata.updated_at <= time.time_ns() // 1_000_000


def test_a_set_adds_1_to_the_version_and_moves_the_time_of_the_change() -> None:
    order = DistributedContext("order-1", at=1000)
    order.set("total", 10, at=1500)
    assert order["total"] == 10
    assert order.metadata == ContextMetadata(1000, 1500, 2)


def test_a_remove_counts_only_where_something_was_removed() -> None:
    order = DistributedContext("order-1", {"total": 10}, at=1000)
    assert order.remove("total", at=2000) is True
    assert "total" not in order
    assert order.metadata == ContextMetadata(1000, 2000, 2)
    assert order.remove("total", at=3000) is False
    assert order.metadata == ContextMetadata(1000, 2000, 2)


def test_a_merge_writes_every_key_and_counts_once() -> None:
    order = DistributedContext("order-1", {"a": 1, "b": 2}, at=1000)
    order.merge({"b": 3, "c": 4}, at=1100)
    assert order.data == {"a": 1, "b": 3, "c": 4}
    assert order.metadata.version == 2
    order.merge(DistributedContext("order-2", {"a": None}), at=1200)
    assert order.data == {"a": None, "b": 3, "c": 4}
    assert order.metadata == ContextMetadata(1000, 1200, 3)
    assert order.session_id == "order-1"


def test_naming_the_writer_adds_1_to_the_version() -> None:
    order = DistributedContext("order-1", at=1000)
    order.modified_by = "order-service"
    assert order.modified_by == "order-service"
    assert order.metadata.version == 2
    assert order.metadata.updated_at > 1000


def test_a_tag_stands_once_and_does_not_move_the_version() -> None:
    order = DistributedContext("order-1", at=1000)
    order.add_tag("order")
    order.add_tag("high-value")
    order.add_tag("order")
    assert order.metadata.tags == ("order", "high-value")
    assert order.metadata.version == 1


def test_metadata_cannot_be_changed_behind_the_version_s_back() -> None:
    order = DistributedContext("order-1")
    with pytest.raises(AttributeError):
        unchecked(order.metadata).version = 7


def test_a_missing_key_gives_the_default_or_a_key_error() -> None:
    order = DistributedContext("order-1", {"total": None})
    assert order.get("total", 5) is None
    assert order.get("tax") is None
    assert order.get("tax", 5) == 5
    with pytest.raises(KeyError, match="tax"):
        order["tax"]


def test_keys_stand_in_the_order_of_their_first_write() -> None:
    order = DistributedContext("order-1")
    for key in ("z", "a", "m", "a"):
        order.set(key, True)
    assert list(order.keys()) == list(order) == ["z", "a", "m"]
    assert len(order) == 3


def test_the_hot_constructor_takes_the_data_as_it_is() -> None:
    data: dict[str, Json] = {"total": 1}
    metadata = ContextMetadata(created_at=1, updated_at=2, version=3)
    order = DistributedContext("order-1", data=data, metadata=metadata)
    assert order.data is data
    assert order.metadata is metadata


@pytest.mark.parametrize(
    "read",
    [
        lambda slice_: slice_["tax"],
        lambda slice_: slice_.get("tax", 0),
        lambda slice_: "tax" in slice_,
        lambda slice_: slice_.remove("tax"),
    ],
    ids=["index", "get", "contains", "remove"],
)
def test_reading_a_key_that_did_not_cross_names_the_key_and_the_mend(
    read: Callable[[DistributedContext], object],
) -> None:
    slice_ = DistributedContext("order-1", {"total": 1, "tax": 2}, reads=frozenset({"total"}))
    assert slice_["total"] == 1
    with pytest.raises(UndeclaredRead) as refused:
        read(slice_)
    assert str(refused.value) == "the key 'tax' did not cross to this node (declare 'tax' under the node's `reads:`)"
    assert slice_.metadata.version == 1


def test_a_declared_key_that_the_run_has_not_written_is_simply_missing() -> None:
    slice_ = DistributedContext("order-1", reads=frozenset({"tax"}))
    assert slice_.get("tax", 0) == 0
    assert "tax" not in slice_


def test_a_node_may_read_what_it_wrote_itself() -> None:
    slice_ = DistributedContext("order-1", reads=frozenset({"total"}))
    slice_.set("tax", 2)
    slice_.merge({"rate": 0.2})
    assert (slice_["tax"], slice_["rate"]) == (2, 0.2)
    assert slice_.remove("tax") is True
    assert slice_.get("tax") is None


def test_a_snapshot_does_not_move_with_the_context() -> None:
    order = DistributedContext("order-1", {"items": [{"qty": 1}]}, at=1000)
    taken = order.snapshot()
    fields(at(order["items"], 0))["qty"] = 9
    order.set("total", 5)
    assert taken == ContextSnapshot("order-1", {"items": [{"qty": 1}]}, version=1, timestamp=1000)
    with pytest.raises(dataclasses.FrozenInstanceError):
        unchecked(taken).version = 2


def test_a_copy_goes_its_own_way() -> None:
    base = DistributedContext("product", {"stock": {"here": 50}}, at=1000)
    local = base.copy()
    assert local == base
    fields(local["stock"])["here"] = 45
    local.set("price", 120)
    assert base.data == {"stock": {"here": 50}}
    assert base.metadata.version == 1
    assert local != base


def test_data_that_contains_itself_is_refused_instead_of_copied_forever() -> None:
    loop: list[Json] = []
    loop.append(loop)
    with pytest.raises(WireFormatError, match="nested deeper than 64"):
        DistributedContext("order-1", {"loop": loop}).snapshot()


def test_depth_64_is_copied_and_depth_65_is_not() -> None:
    value: list[Json] = []
    for _ in range(62):
        value = [value]
    assert copied({"k": value}) == {"k": value}
    with pytest.raises(WireFormatError):
        copied({"k": [[value]]})


def test_contexts_are_equal_by_what_they_say_and_not_hashable() -> None:
    metadata = ContextMetadata(1, 1)
    assert DistributedContext("a", {"k": 1}, metadata) == DistributedContext("a", {"k": 1}, metadata)
    assert DistributedContext("a", {"k": 1}, metadata) != DistributedContext("b", {"k": 1}, metadata)
    assert DistributedContext("a") != "a"
    with pytest.raises(TypeError, match="unhashable"):
        hash(DistributedContext("a"))


def test_its_repr_names_the_keys_and_none_of_the_values() -> None:
    assert repr(DistributedContext("s", {"card": "4111"})) == "DistributedContext('s', version=1, keys=['card'])"


@pytest.mark.parametrize("name", context.__all__)
def test_every_public_name_is_importable_from_context(name: str) -> None:
    assert getattr(context, name) is not None
    assert name in dir(context)


def test_a_name_that_context_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'anabranch\.context' has no attribute 'Nonsense'"):
        context.Nonsense  # noqa: B018 - reading it raises
