"""The runs, the inbox and the graphs as people use them, in Chromium, over a server and a worker."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.console.house import NARROW, WIDE, House, house
from tests.console.kit import ADA, BO, CY, DI, ED

YES = {"node": "sign_off", "value": '{"approved": true}'}
SCREENSHOTS = os.environ.get("ANABRANCH_SCREENSHOTS")
"""A folder for pictures of what the tests see."""

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def console(chromium: str) -> AsyncIterator[House]:
    async with house(chromium) as found:
        yield found
        assert found.wrongs == []


async def test_runs_are_filtered_counted_and_paged(console: House) -> None:
    await console.refunds("listed", 3)
    paused = await console.start("shipping", name="listed/paused")
    await console.until_waiting("listed", 4)
    found = await console.get("/api/runs", id="listed")
    assert {each["workflow_id"]: (each["state"], each["waits_for"]) for each in found["runs"]} == {
        "listed/paused": ("paused", ["paused:book"]),
        **{f"listed-{at}": ("waiting", ["approval:approve"]) for at in range(3)},
    }
    by_state = await console.get("/api/runs", id="listed", state="paused")
    assert [each["run_id"] for each in by_state["runs"]] == [paused.result_run_id]
    by_graph = await console.get("/api/runs", id="listed", graph="refund", waiting="approval")
    assert len(by_graph["runs"]) == 3
    assert (await console.get("/api/runs", id="listed", waiting="conflict"))["runs"] == []
    counts = (await console.get("/api/runs/counts", id="listed"))["counts"]
    assert {state: count for state, count in counts.items() if count} == {"waiting": 3, "paused": 1}
    assert (await console.http.get("/api/runs", params={"after": "no token"})).status_code == 400


@pytest.mark.slow
async def test_the_page_of_runs_follows_its_filters_and_its_address(console: House) -> None:
    await console.refunds("shown", 2)
    await console.until_waiting("shown", 2)
    async with console.page("/?id=shown") as page:
        await expect(page.locator("tbody tr")).to_have_count(2)
        await expect(page.locator("tbody tr").first).to_contain_text("approval approve")
        await page.get_by_label("Graph").fill("pricing")
        await expect(page.get_by_role("heading", name="No run fits")).to_be_visible()
        assert page.url.endswith("/?id=shown&graph=pricing")
        await page.get_by_label("Graph").fill("")
        chip = page.get_by_role("button", name="waiting 2")
        await chip.press("Enter")
        await expect(chip).to_have_attribute("aria-pressed", "true")
        link = page.get_by_role("link", name="shown-1", exact=True)
        assert (await link.get_attribute("href") or "").startswith("/runs/shown-1?run_id=")


async def test_an_approval_is_answered_by_its_form_with_the_keyboard_alone(console: House) -> None:
    [handle] = await console.refunds("keys", 1)
    await console.until_waiting("keys", 1)
    async with console.page("/inbox?id=keys") as page:
        await expect(page.locator(".question")).to_have_count(1)
        await tab_to(page, "Pay back 25 € for order A-0?")
        await page.keyboard.press("Enter")
        await tab_to(page, "Answer")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Please fill this in.")).to_be_visible()
        await expect(page.get_by_role("radio", name="Yes")).to_be_focused()
        await page.keyboard.press("Space")
        await tab_to(page, "comment")
        await page.keyboard.type("<b>fine</b>")
        await tab_to(page, "Answer")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Nothing that fits waits for anybody")).to_be_visible()
    result = await asyncio.wait_for(handle.result(), 30)
    assert result["data"] | {"approved": True, "comment": "<b>fine</b>", "paid": True} == result["data"]


async def test_the_same_conflict_in_many_runs_is_settled_at_once_after_its_count(console: House) -> None:
    handles = [await console.start("pricing", name=f"price-{at}") for at in range(4)]
    items = await console.until_waiting("price", 4)
    assert len({each["alike"] for each in items}) == 1
    async with console.page("/inbox?id=price", NARROW) as page:
        await page.locator(".question").first.click()
        await expect(page.get_by_text("12345678901234567890")).to_be_visible()
        await page.get_by_role("radio", name="list_price").check()
        await page.get_by_label("Do the same for all 4").check()
        await page.get_by_role("button", name="Settle").click()
        dialog = page.get_by_role("dialog", name="The same for 4 runs?")
        await expect(dialog.get_by_role("listitem")).to_have_count(4)
        await dialog.get_by_role("button", name="Send to 4 runs").click()
        await expect(page.get_by_text("Done for 4 runs")).to_be_visible()
    for handle in handles:
        assert (await asyncio.wait_for(handle.result(), 30))["data"]["price"] == 12345678901234567890


@pytest.mark.slow
async def test_what_one_run_refuses_stops_no_other(console: House) -> None:
    [first, second] = await console.refunds("some", 2)
    items = await console.until_waiting("some", 2)
    await first.execute_update("complete_task", {"node": "approve", "answer": {"approved": False}})
    places = [{"workflow_id": each["workflow_id"], "run_id": each["run_id"], "node": "approve"} for each in items]
    told = await console.tell("/api/inbox/tell", {"verb": "answer", "value": '{"approved": true}', "items": places})
    assert told["done"] == 1
    assert [each["workflow_id"] for each in told["refused"]] == [first.id]
    assert (await asyncio.wait_for(second.result(), 30))["data"]["paid"] is True


async def test_what_is_done_names_who_did_it(console: House) -> None:
    [answered] = await console.refunds("named", 1)
    await console.until_waiting("named", 1)
    item = {"workflow_id": answered.id, "run_id": answered.result_run_id, "node": "approve"}
    await console.tell("/api/inbox/tell", {"verb": "answer", "value": '{"approved": true}', "items": [item]})
    await asyncio.wait_for(answered.result(), 30)
    events = (await answered.fetch_history()).events
    sent = [each.workflow_execution_update_accepted_event_attributes.accepted_request.input for each in events]
    [request] = [each for each in sent if each.name == "complete_task"]
    assert json.loads(request.args.payloads[0].data)["by"] == "ada"
    started = await console.tell("/api/graphs/start/pricing", {"input": "{}", "workflow_id": "named/start"})
    described = await console.client.get_workflow_handle("named/start").describe()
    assert started == {"workflow_id": "named/start", "run_id": described.run_id}
    assert await described.memo_value("anabranch_started_by") == "ada"


async def test_a_run_is_started_by_a_form_made_from_its_inputs(console: House) -> None:
    async with console.page("/graphs/refund", scheme="dark") as page:
        await page.get_by_role("button", name="Start a run").click()
        dialog = page.get_by_role("dialog", name="Start refund")
        await dialog.get_by_label("id").first.fill("A-77")
        await dialog.get_by_label("amount").fill("twelve")
        await dialog.get_by_role("button", name="Add one").click()
        await dialog.get_by_label("lines 1").first.fill("tea")
        await dialog.get_by_label("Id of the run").fill("formed/77")
        await dialog.get_by_role("button", name="Start", exact=True).click()
        await expect(dialog.get_by_text("A number, please")).to_be_visible()
        await dialog.get_by_label("amount").fill("12.50")
        await dialog.get_by_role("button", name="Start", exact=True).click()
        await page.wait_for_url("**/runs/formed/77?run_id=*")
    handle = console.client.get_workflow_handle("formed/77")
    [first, *_] = (await handle.fetch_history()).events
    given = json.loads(first.workflow_execution_started_event_attributes.input.payloads[0].data)
    assert given == {"order": {"id": "A-77", "amount": 12.5, "lines": ["tea"]}, "reason": "late"}


FORMS: tuple[tuple[Any, dict[str, Any], str], ...] = (
    ({"type": "integer"}, {"text": "12345678901234567890"}, "12345678901234567890"),
    ({"type": "string"}, {"text": 'a "b" \n <i>'}, '"a \\"b\\" \\n <i>"'),
    ({"type": ["string", "null"]}, {"text": " "}, "null"),
    ({"anyOf": [{"type": "number"}, {"type": "null"}]}, {"text": "1.50"}, "1.50"),
    ({"enum": ["a", 12345678901234567890]}, {"text": "1"}, "12345678901234567890"),
    ({"const": {"v": 2}}, {"text": ""}, '{"v": 2}'),
    ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"text": "[1]"}, "[1]"),
    (True, {"text": '{"any": 1}'}, '{"any": 1}'),
    (
        {"type": "array", "items": {"type": "boolean"}},
        {"items": [{"text": "true"}, {"text": "false"}]},
        "[true, false]",
    ),
    (
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}},
        {"fields": {"a": {"text": "x"}, "b": {"text": ""}}},
        '{"a": "x"}',
    ),
    (
        {"$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"},
        {"fields": {"n": {"text": '{"n": {}}'}}},
        '{"n": {"n": {}}}',
    ),
)
_FILLED = """async ([schema, model]) => {
  const [{ parse }, { shapeOf }, { jsonOf, problemsOf }] = await Promise.all(
    ["exact", "schema", "model"].map((name) => import(`/static/form/${name}.js`)));
  const shape = shapeOf(parse(schema));
  return [jsonOf(shape, model, true), Object.values(problemsOf(shape, model, true))];
}"""
_UNTOUCHED = """async (schema) => {
  const [{ parse }, { shapeOf }, { initial, jsonOf, problemsOf }] = await Promise.all(
    ["exact", "schema", "model"].map((name) => import(`/static/form/${name}.js`)));
  const shape = shapeOf(parse(schema));
  const model = initial(shape);
  return [jsonOf(shape, model, true) ?? null, problemsOf(shape, model, true)];
}"""


async def test_a_form_makes_exact_json_of_what_is_filled_in(console: House) -> None:
    async with console.page("/graphs") as page:
        for schema, model, text in FORMS:
            assert await page.evaluate(_FILLED, [json.dumps(schema), model]) == [text, []], schema
        wrong: tuple[tuple[Any, str, str], ...] = (
            ({"type": "integer", "maximum": 5}, "6", "At most 5."),
            ({"type": "integer"}, "1.5", "A whole number, please."),
            ({"type": "string", "minLength": 3}, "ab", "At least 3 characters."),
            ({"type": "string"}, "", "Please fill this in."),
            ({}, "{", 'This is not JSON. Text needs quotes: "like this".'),
        )
        for schema, text, problem in wrong:
            [_, problems] = await page.evaluate(_FILLED, [json.dumps(schema), {"text": text}])
            assert problems == [problem], schema


async def test_a_form_begins_with_the_defaults_and_leaves_out_what_nobody_gives(console: House) -> None:
    lines = {"type": "array", "items": {"type": "string"}}
    address = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
    schema = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string"},
            "count": {"type": "integer", "default": 12345678901234567890},
            "kind": {"enum": ["a", "b"], "default": "b"},
            "lines": lines,
            "address": address,
        },
    }
    async with console.page("/graphs") as page:
        [text, problems] = await page.evaluate(_UNTOUCHED, json.dumps(schema))
    assert text == '{"count": 12345678901234567890, "kind": "b"}'
    assert problems == {"id": "Please fill this in."}


@pytest.mark.slow
async def test_the_runs_of_a_filter_are_cancelled_after_their_count(console: House) -> None:
    handles = await console.refunds("leave", 3)
    await console.until_waiting("leave", 3)
    async with console.page("/?id=leave") as page:
        await page.get_by_role("button", name="Cancel these").click()
        dialog = page.get_by_role("dialog", name="Cancel 3 runs?")
        await expect(dialog.get_by_role("listitem")).to_have_count(3)
        await dialog.get_by_role("button", name="Cancel 3 runs").click()
        await expect(page.get_by_text("Done for 3 runs")).to_be_visible()
    for handle in handles:
        events = [event async for event in handle.fetch_history_events(wait_new_event=True)]
        asked = [each.workflow_execution_cancel_requested_event_attributes.cause for each in events]
        assert [each for each in asked if each] == ["by ada"]


async def test_what_waits_for_events_is_listed_and_an_operator_delivers_one(console: House) -> None:
    handles = [await console.start("pickup", name=f"pickup-{number}") for number in range(2)]
    found: dict[str, Any] = {}
    for _ in range(600):
        found = await console.get("/api/inbox", kind="event", id="pickup")
        if found["total"] == 2:
            break
        await asyncio.sleep(0.1)
    assert [(each["address"], each["names"], each["needs_all"]) for each in found["items"]] == [
        ("parcel", ["picked_up", "lost"], False)
    ] * 2
    assert all(each["deadline"] - each["asked"] == 86_400_000 for each in found["items"])
    assert (await console.get("/api/inbox", id="pickup"))["items"] == []  # nobody owes an event

    items = [{"workflow_id": "pickup-0", "run_id": found["items"][0]["run_id"], "node": "parcel"}]
    for value, refusal in (
        ("1", "the signal takes one JSON object"),
        ('{"name": "lost", "by": "eve"}', "an event has no"),
    ):
        answer = await console.http.post("/api/inbox/tell", json={"verb": "deliver", "value": value, "items": items})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(refusal)
    headers = {"Origin": console.closed_url, "Authorization": f"Bearer {BO}"}
    body = {"verb": "deliver", "value": '{"name": "lost"}', "items": items}
    answer = await console.http.post(f"{console.closed_url}/api/inbox/tell", json=body, headers=headers)
    assert answer.status_code == 403

    async with console.page("/inbox?id=pickup") as page:
        await page.get_by_role("button", name="Events").click()
        await expect(page.get_by_label("For", exact=True)).to_have_count(0)  # events are for nobody
        await page.locator(".question").first.click()
        await expect(page.locator(".answer pre")).to_contain_text("temporal workflow signal --workflow-id pickup-")
        await page.get_by_label("name").select_option(label="picked_up")
        await page.get_by_label("data").fill('{"at": 9007199254740993}')
        await page.get_by_label("Do the same for all 2").check()
        await page.get_by_role("button", name="Deliver").click()
        await page.get_by_role("dialog").get_by_role("button", name="Send to 2 runs").click()
        await expect(page.get_by_role("heading", name="Nothing waits for an event")).to_be_visible()
    for handle in handles:
        assert (await handle.result())["data"] == {"parcel": {"at": 9007199254740993}}


async def test_an_operator_delivers_an_event_on_the_page_of_the_run_which_names_who_did(console: House) -> None:
    handle = await console.start("pickup", name="fetched")
    async with console.page("/runs/fetched") as page:
        await page.locator('[data-address="parcel"]').first.click()
        panel = page.get_by_role("tabpanel")
        await expect(panel).to_contain_text("It waits for the event picked_up or lost until")
        asked = page.get_by_role("region", name="event at parcel")
        await asked.get_by_text("Deliver it").click()
        found = await Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        await asked.get_by_label("name").select_option(label="lost")
        await asked.get_by_label("data").fill('"in the rain"')
        await asked.get_by_role("button", name="Deliver").click()
        await expect(asked).to_have_count(0)
        # What is shown of the node goes on with the run.
        await expect(panel).to_contain_text("It received the event lost with the id")
        await expect(panel).to_contain_text("sent by ada")
        await expect(panel.locator(".change")).to_contain_text("in the rain")
    assert (await handle.result())["data"] == {"parcel": "in the rain"}
    async with console.page("/runs/fetched", url=console.closed_url) as page:
        await page.wait_for_url("**/sign-in?*")


async def failed(console: House, prefix: str, count: int) -> list[dict[str, str]]:
    """Runs that have failed: their nodes were paused, and somebody let them fail."""
    for number in range(count):
        await console.start("shipping", name=f"{prefix}-{number}")
    waiting = await console.until_waiting(prefix, count)
    items = [{"workflow_id": each["workflow_id"], "run_id": each["run_id"], "node": "book"} for each in waiting]
    assert (await console.tell("/api/inbox/tell", {"verb": "fail", "items": items}))["done"] == count
    for _ in range(600):
        found = await console.get("/api/runs/failed", id=prefix)
        runs: list[dict[str, str]] = found["runs"]
        if len(runs) == count:
            assert found["is_all"]
            return runs
        await asyncio.sleep(0.1)
    raise AssertionError(f"{prefix}: not all of {count} runs are listed as failed")


async def test_the_failed_runs_of_a_filter_are_run_again_once_after_their_plan(console: House) -> None:
    runs = await failed(console, "again", 3)
    async with console.page("/?id=again") as page:
        await page.get_by_role("button", name="Run again …").click()
        dialog = page.get_by_role("dialog", name="Run 3 runs again?")
        await expect(dialog.locator(".run-list").get_by_role("listitem")).to_have_count(3)
        await expect(dialog.locator(".plan")).to_have_text("In 3 runsruns: book")
        await dialog.get_by_role("button", name="Run 3 runs again").click()
        await expect(page.get_by_text("Done for 3 runs")).to_be_visible()
    begun = [(await console.until_waiting(f"again-{number}-rerun", 1))[0]["workflow_id"] for number in range(3)]
    assert begun == [f"again-{number}-rerun-1" for number in range(3)]
    memo = await console.client.get_workflow_handle("again-0-rerun-1").describe()
    first = next(each for each in runs if each["workflow_id"] == "again-0")
    assert await memo.memo_value("anabranch_rerun_of") == {**first, "by": "ada"}

    # Sent again, since an answer was lost, it starts nothing.
    told = await console.tell("/api/runs/rerun", {"runs": runs})
    assert told["done"] == 0
    assert {each["message"] for each in told["refused"]} == {
        f"it was run again as 'again-{number}-rerun-1'" for number in range(3)
    }
    planned = await console.tell("/api/runs/rerun-plan", {"runs": runs})
    assert (planned["plans"], len(planned["refused"])) == ([], 3)
    async with console.page("/?id=again&state=failed") as page:
        await page.get_by_role("button", name="Run again …").click()
        dialog = page.get_by_role("dialog", name="Run 3 runs again?")
        await expect(dialog.get_by_text("3 runs will refuse:")).to_be_visible()
        await expect(dialog.locator(".run-list")).to_have_count(1)  # not named once more among those to run


async def test_only_operators_run_many_again_and_only_from_a_page_of_the_console(console: House) -> None:
    runs = await failed(console, "theirs", 1)
    for path in ("/api/runs/rerun", "/api/runs/rerun-plan"):
        for token, origin, status in (
            (BO, console.closed_url, 403),
            (ADA, "http://evil.example", 403),
            (None, console.closed_url, 401),
        ):
            headers = {"Origin": origin} | ({} if token is None else {"Authorization": f"Bearer {token}"})
            answer = await console.http.post(f"{console.closed_url}{path}", json={"runs": runs}, headers=headers)
            assert answer.status_code == status, answer.text
        assert (await console.http.post(path, json={"runs": []})).status_code == 400
    assert (await console.get("/api/runs", id="theirs-0-rerun"))["runs"] == []
    assert (await console.get("/api/runs/failed", id="theirs", state="completed"))["runs"] == []


@pytest.mark.slow
async def test_text_of_graphs_contexts_and_errors_is_shown_as_text(console: House) -> None:
    await console.start(
        "hostile", {"text": "<img src=x onerror=pwned=1><script>pwned=2</script>"}, name="<b>odd</b>/?#%2F"
    )
    await console.until_waiting("<b>", 3)
    for path in ("/?id=<b>", "/graphs", "/graphs/broken.yaml", "/graphs/hostile", "/inbox?id=<b>"):
        async with console.page(path) as page:
            await expect(page.get_by_text("<script>").or_(page.get_by_text("<b>odd")).first).to_be_visible()
            for question in await page.locator(".question").all():
                await question.click()
            if path == "/graphs/hostile":
                await page.get_by_role("button", name="Start a run").click()
                await expect(page.get_by_role("dialog").get_by_text("<script>").first).to_be_visible()
            assert await page.locator("main img, main script, dialog img, dialog script").count() == 0
    async with console.page("/?id=<b>") as page:
        await page.get_by_role("link", name="<b>odd</b>").click()
        await page.wait_for_url("**/runs/%3Cb%3Eodd%3C%2Fb%3E/%3F%23%252F*".replace("%3C%2Fb%3E", "%3C/b%3E"))


async def test_people_sign_in_and_out_and_see_only_what_they_may_do(console: House) -> None:
    await console.refunds("roles", 1)
    await console.until_waiting("roles", 1)
    async with console.page("/graphs/refund", url=console.closed_url) as page:
        await page.wait_for_url("**/sign-in?*")
        await page.get_by_label("Token").fill("not-a-token-of-anybody")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("the token is not valid")
        await page.get_by_label("Token").fill(BO)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/graphs/refund")
        await expect(page.get_by_role("button", name="bo answerer")).to_be_visible()
        await expect(page.get_by_role("button", name="Start a run")).to_have_count(0)
        assert await page.evaluate("document.cookie") == ""
        await page.goto("/inbox?id=roles")
        await page.locator(".question").click()
        await expect(page.get_by_role("button", name="Answer", exact=True)).to_be_visible()
        await page.get_by_role("button", name="bo answerer").click()
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/sign-in")
        await page.goto("/")
        await page.wait_for_url("**/sign-in?why=NOT_SIGNED_IN&next=%2F")
        await page.get_by_label("Token").fill(CY)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="cy viewer")).to_be_visible()
        await expect(page.get_by_role("button", name="Cancel these")).to_have_count(0)
        await page.context.add_cookies([{"name": "anabranch_token", "value": "gone", "url": console.closed_url}])
        await page.goto("/inbox")
        await expect(page.get_by_text("Your token is no longer valid.")).to_be_visible()


async def test_a_page_of_another_origin_can_neither_write_nor_show_the_console_in_a_frame(console: House) -> None:
    async with console.page("/sign-in", url=console.closed_url) as page:
        await page.get_by_label("Token").fill(ADA)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{console.closed_url}/")
        evil = console.url.replace("127.0.0.1", "localhost")  # which is another site
        await page.route(f"{evil}/**", lambda route: route.fulfill(body="<p>evil", content_type="text/html"))
        before, console.wrongs = console.wrongs, []
        await page.goto(f"{evil}/")
        for mode, path in (("cors", "/api/runs/cancel"), ("no-cors", "/sign-out")):
            sent = await page.evaluate(
                """([url, mode]) => fetch(url, {method: "POST", mode, credentials: "include", body: "{}"})
                    .then((answer) => answer.type, () => "refused")""",
                [f"{console.closed_url}{path}", mode],
            )
            assert sent in ("refused", "opaque")
        await page.evaluate(
            """url => new Promise((done) => {
                const frame = Object.assign(document.createElement("iframe"), {src: url, onload: done});
                document.body.append(frame);
            })""",
            console.closed_url,
        )
        assert page.frames[-1].url.startswith("chrome-error:")
        await page.goto(f"{console.closed_url}/")
        await expect(page.get_by_role("button", name="ada operator")).to_be_visible()
        console.wrongs = before


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        pytest.param(WIDE, "light", marks=pytest.mark.slow),
        pytest.param(NARROW, "light", marks=pytest.mark.slow),
        pytest.param(WIDE, "dark", marks=pytest.mark.slow),
        pytest.param(NARROW, "dark", marks=pytest.mark.slow),
    ],
)
async def test_axe_finds_nothing_on_the_pages(console: House, size: tuple[int, int], scheme: str) -> None:
    name = f"axe-{size[0]}-{scheme}"
    await console.refunds(name, 1)
    await console.start("pickup", name=f"{name}-pickup")
    await failed(console, f"{name}-failed", 1)
    await console.until_waiting(name, 1)
    async with console.page("/", size, scheme) as page:
        for path, shown in (
            ("/", "tbody tr"),
            (f"/?id={name}-failed", "tbody tr"),
            (f"/inbox?id={name}", ".question"),
            (f"/inbox?id={name}&kind=event", ".question"),
            ("/graphs", ".graph-card"),
            ("/graphs/refund", ".drawing"),
            ("/graphs/broken.yaml", ".problems"),
        ):
            await page.goto(path)
            await page.locator(shown).first.wait_for()
            if shown == ".question":
                await page.locator(shown).click()
            if shown == ".drawing":
                await page.get_by_role("button", name="Start a run").click()
            if path.startswith("/?id"):
                await page.get_by_role("button", name="Run again").click()
                await page.locator("dialog .plan").wait_for()
            found = await Axe().run(page)
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"
            assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), path


async def test_two_people_approve_by_a_form_with_hints_and_nobody_twice(console: House) -> None:
    handle = await console.start("purchase", {"item": "a saw", "price": 80}, name="two-people")
    await console.until_waiting("two-people", 1)
    async with signed_in(console, BO, "/inbox?id=two-people&for=mine") as page:
        await page.locator(".question").click()
        form = page.locator("form.form")
        await expect(form.locator("legend, label[for]")).to_have_text(
            ["Do we buy it? *", "Account", "Reason", "From when on"]
        )
        await expect(page.get_by_label("Reason")).to_have_attribute("placeholder", "It is too dear")
        await expect(page.get_by_text("0 of 2 have answered")).to_be_visible()
        await expect(page.get_by_text("0 of 3 reminders sent; the next one at")).to_be_visible()
        await page.get_by_role("radio", name="Yes").check()
        await page.get_by_role("radio", name="tools").check()
        await page.get_by_label("Reason").fill("We need it")
        await page.get_by_label("From when on").fill("2026-12-01T08:30")
        await page.get_by_role("button", name="Decide").click()
        await expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
        await page.goto("/inbox?id=two-people")
        await expect(page.locator(".question")).to_contain_text("for bo, finance · 1 of 2 answered")
        await page.locator(".question").click()
        await expect(page.get_by_text("You have answered. Somebody else has to answer too.")).to_be_visible()
        await expect(page.get_by_role("button", name="Decide")).to_have_count(0)
        refused = await page.request.post("/api/run/answer/two-people", data=YES, headers=own(console))
        assert (refused.status, (await refused.json())["error"]["code"]) == (422, "ALREADY_ANSWERED")
    async with signed_in(console, DI, "/runs/two-people") as page:
        await expect(page.get_by_text("1 of 2 have answered")).to_be_visible()
        await page.get_by_role("radio", name="Yes").check()
        await page.get_by_role("button", name="Decide").click()
        await expect(page.get_by_text("sign_off is answered")).to_be_visible()
    data = (await asyncio.wait_for(handle.result(), 30))["data"]
    assert (data["approved"], data["ordered"]) == (True, True)
    assert [each["by"] for each in data["answers"]] == ["bo", "di"]
    assert data["answers"][0]["answer"] == {
        "approved": True,
        "account": "tools",
        "note": "We need it",
        "from": "2026-12-01T08:30:00.000Z",
    }


async def test_who_is_not_asked_cannot_answer_and_an_operator_can(console: House) -> None:
    handle = await console.start("purchase", {"item": "a drill", "price": 120}, name="not-asked")
    [item] = await console.until_waiting("not-asked", 1)
    async with signed_in(console, ED, "/inbox?id=not-asked") as page:
        await page.locator(".question").click()
        await expect(page.get_by_text("This is for others. You may look, and not answer.")).to_be_visible()
        refused = await page.request.post("/api/run/answer/not-asked", data=YES, headers=own(console))
        assert (refused.status, (await refused.json())["error"]) == (
            403,
            {
                "code": "NOT_ASSIGNED",
                "message": "the approval is for 'bo', the group 'finance', and 'ed' is none of them",
                "place": "node 'sign_off'",
                "suggestion": "let one of them answer, or an operator",
            },
        )
        place = {"workflow_id": "not-asked", "run_id": item["run_id"], "node": "sign_off"}
        many = {"verb": "answer", "value": YES["value"], "items": [place]}
        told = await (await page.request.post("/api/inbox/tell", data=many, headers=own(console))).json()
        assert [each["code"] for each in told["refused"]] == ["NOT_ASSIGNED"]
        await page.goto("/inbox?id=not-asked&for=mine")
        await expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
        await page.get_by_label("For").select_option("group:finance")
        await expect(page.locator(".question")).to_have_count(1)
    async with signed_in(console, ADA, "/runs/not-asked") as page:
        await page.get_by_role("radio", name="No", exact=True).check()
        await page.get_by_role("button", name="Decide").click()
        await expect(page.get_by_text("sign_off is answered")).to_be_visible()
    assert (await asyncio.wait_for(handle.result(), 30))["data"]["approved"] is False


@pytest.mark.parametrize("size", [WIDE, pytest.param(NARROW, marks=pytest.mark.slow)])
async def test_axe_finds_nothing_on_a_question_to_several(console: House, size: tuple[int, int]) -> None:
    name = f"several-{size[0]}"
    handle = await console.start("purchase", {"item": "a saw", "price": 80}, name=name)
    await console.until_waiting(name, 1)
    said = {"node": "sign_off", "answer": {"approved": True, "note": "fine"}, "by": "bo"}
    await handle.execute_update("complete_task", said)
    async with console.page("/", size) as page:
        for path, question in ((f"/inbox?id={name}", ".question"), (f"/runs/{name}", None)):
            await page.goto(path)
            if question is not None:
                await page.locator(question).click()
            await expect(page.get_by_text("1 of 2 have answered")).to_be_visible()
            found = await Axe().run(page)
            assert found.violations_count == 0, f"{path}: {found.generate_report()}"
            assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
            if SCREENSHOTS:
                await page.screenshot(
                    path=f"{SCREENSHOTS}/{name}{path.partition('?')[0].replace('/', '-')}.png", full_page=True
                )


PICTURES = (
    ("console-runs", "/", WIDE, "light", None),
    ("console-inbox", "/inbox?id=order&kind=approval", WIDE, "light", ".question"),
    ("console-inbox-narrow", "/inbox?kind=conflict", NARROW, "dark", ".question"),
    ("console-graph", "/graphs/refund", (1440, 1250), "light", None),
    ("console-start", "/graphs/refund", WIDE, "light", "button.primary"),
    ("console-events", "/inbox?kind=event", WIDE, "light", ".question"),
)


if SCREENSHOTS is not None:

    async def test_pictures_of_the_documentation_are_taken(console: House) -> None:
        await console.refunds("order", 4)
        await console.start("purchase", {"item": "a saw", "price": 80}, name="order-saw")
        for number in range(3):
            await console.start("pricing", name=f"price-list-{number}")
            await console.start("pickup", name=f"parcel-{number}")
            await console.start("shipping", name=f"ship-{number}")
        await console.until_waiting("order", 5)
        await console.until_waiting("price-list", 3)
        await failed(console, "late", 2)
        for name, path, size, scheme, click in PICTURES:
            async with console.page(path, size, scheme) as page:
                await page.locator("tbody tr, .question, .drawing").first.wait_for()
                if click is not None:
                    await page.locator(click).first.click()
                await page.wait_for_timeout(1500)  # what is read meanwhile comes
                await page.screenshot(path=f"{SCREENSHOTS}/{name}.png")


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus begins with a name."""
    said = "[...(document.activeElement.labels ?? []), document.activeElement][0].textContent"
    for _ in range(40):
        await page.keyboard.press("Tab")
        if str(await page.evaluate(said)).strip().startswith(name):
            return
    raise AssertionError(f"no way to {name!r} by the keyboard")


@asynccontextmanager
async def signed_in(console: House, token: str, path: str) -> AsyncGenerator[Page]:
    """A page of somebody who has signed in with a token."""
    async with console.page("/sign-in", url=console.closed_url) as page:
        await page.get_by_label("Token").fill(token)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{console.closed_url}/")
        await page.goto(path)
        yield page


def own(console: House) -> dict[str, str]:
    """What a request of the console's own page brings."""
    return {"Origin": console.closed_url}
