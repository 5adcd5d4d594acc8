"""What the pages show to whom, what an order does, and that nobody's text becomes markup."""

import re
from dataclasses import replace
from html import unescape

import pytest

from flagserver.auth import Role, Wish
from flagserver.views.dashboard import pages
from rampgate.bucketing import first_share
from rampgate.evidence import VerdictWord
from rampgate.machine.events import HookFailed
from rampgate.machine.state import ActionKind, HeldBy, Order, Phase
from rampgate.plan import Supersede, percent
from rampgate.rollout import Slot
from tests.flagserver.dashboard.visitor import Forms, Visitor, text_of
from tests.flagserver.inside import PLAN, Inside, new_rollout

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}"


@pytest.fixture
def visitor(inside: Inside) -> Visitor:
    """An operator of production, logged in."""
    visitor = Visitor(inside)
    assert visitor.login(inside.keys[Role.OPERATOR], name="Ada Lovelace").status_code == 303
    return visitor


def harmless(page: str) -> bool:
    return "<script>" not in page and "<img src=x" not in page and "onerror=alert(2)>" not in page.replace("&gt;", "")


def test_the_first_page_shows_the_one_ramp_whole_or_every_ramp_as_a_card_or_that_all_is_quiet(
    inside: Inside, visitor: Visitor
) -> None:
    assert "All quiet" in text_of(visitor.get("/ui/"))
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    page = visitor.get("/ui/")
    assert "10 % of users are on v2" in text_of(page)
    assert "What happened" in page.text
    inside.create(new_rollout("v9", plan=replace(PLAN, flag="search")))
    page = visitor.get("/ui/")
    assert "What happened" not in page.text
    assert {"10 % of users are on v2", "v9 is being deployed, and nobody is sent there yet"} <= set(
        re.findall(r"10 % of users are on v2|v9 is being deployed, and nobody is sent there yet", text_of(page))
    )


def test_a_page_that_nothing_happened_on_is_not_sent_again(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    first = visitor.get(f"/ui/rollouts/{rollout.id}")
    again = visitor.get(f"/ui/rollouts/{rollout.id}", If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    inside.tell(rollout, Order.PAUSE)
    assert visitor.get(f"/ui/rollouts/{rollout.id}", If_None_Match=first.headers["ETag"]).status_code == 200


def test_the_five_orders_do_what_they_say_in_the_persons_name(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout, 0)
    assert visitor.order(rollout.id, "promote").status_code == 303
    assert inside.look(rollout).share == 10_000
    visitor.order(rollout.id, "pause", reason="lunch")
    assert inside.look(rollout).state.held_by is HeldBy.PERSON
    visitor.order(rollout.id, "resume")
    assert inside.look(rollout).state.phase is Phase.PROGRESSING
    visitor.order(rollout.id, "promote-full")
    assert inside.look(rollout).state.phase is Phase.COMPLETING
    reply = visitor.order(rollout.id, "abort", reason="checkout\nis down")
    assert reply.location == f"/ui/rollouts/{rollout.id}"
    state = inside.look(rollout).state
    assert (state.phase, state.text) == (Phase.REVERTING, "Ada Lovelace aborted: checkout is down")
    lines = inside.call("GET", f"/v1/audit?rollout={rollout.id}", role=Role.ADMIN).get_json()["entries"]
    assert [one["action"] for one in lines][-1] == "rollout.revert"
    assert lines[-1]["why"] == "checkout is down"
    assert "Ada Lovelace" in lines[-1]["actor"]
    assert "operator (operator) at the dashboard" in lines[-1]["actor"]


def test_a_promotion_of_what_has_moved_on_is_refused_with_how_it_stands_now(inside: Inside, visitor: Visitor) -> None:
    plan = replace(PLAN, steps=(*PLAN.steps[:1], replace(PLAN.steps[0], share=50_000), *PLAN.steps[1:]))
    rollout = inside.create(new_rollout(plan=plan))
    inside.to_step(rollout)
    seen = visitor.get(f"/ui/rollouts/{rollout.id}")
    inside.tell(rollout, Order.ADVANCE)
    reply = visitor.send(seen, f"/ui/rollouts/{rollout.id}/promote")
    assert reply.status_code == 409
    assert "it has moved on since you looked" in text_of(reply)
    assert "50 % of users are on v2" in text_of(reply)
    assert inside.look(rollout).share == 50_000
    for word in ("pause", "promote-full"):
        assert visitor.send(seen, f"/ui/rollouts/{rollout.id}/{word}").status_code == 409


def test_an_abort_is_obeyed_whatever_the_page_showed(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    seen = visitor.get(f"/ui/rollouts/{rollout.id}")
    inside.tell(rollout, Order.PAUSE)
    for revision in ("1", "", "nonsense"):
        path = f"/ui/rollouts/{rollout.id}/abort"
        assert visitor.send(seen, path, revision=revision).status_code == 303
    assert inside.look(rollout).state.phase is Phase.REVERTING


def test_two_taps_are_one_order(inside: Inside, visitor: Visitor) -> None:
    plan = replace(PLAN, steps=(*PLAN.steps[:1], replace(PLAN.steps[0], share=50_000), *PLAN.steps[1:]))
    rollout = inside.create(new_rollout(plan=plan))
    inside.to_step(rollout)
    seen = visitor.get(f"/ui/rollouts/{rollout.id}")
    codes = [visitor.send(seen, f"/ui/rollouts/{rollout.id}/promote").status_code for _ in range(2)]
    assert codes == [303, 303]
    assert inside.look(rollout).share == 50_000


def test_an_order_without_a_revision_or_with_an_unknown_word_is_refused(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    seen = visitor.get(f"/ui/rollouts/{rollout.id}")
    form = Forms(seen.text).found[f"/ui/rollouts/{rollout.id}/promote"]
    for revision in ("", "-1", "1e3", "٣"):
        assert visitor.post(f"/ui/rollouts/{rollout.id}/promote", form | {"revision": revision}).status_code == 400
    assert visitor.post(f"/ui/rollouts/{rollout.id}/explode", form).status_code == 404
    assert inside.look(rollout).share == 10_000


def test_an_operator_sees_and_steers_its_own_environment_alone(inside: Inside) -> None:
    other = inside.services.keyring.create(Wish(role=Role.OPERATOR, environment="staging", name="s"), by="test").text
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    stranger = Visitor(inside)
    stranger.login(other)
    assert "All quiet" in text_of(stranger.get("/ui/?environment=production"))
    assert stranger.get(f"/ui/rollouts/{rollout.id}").status_code == 404
    for path in ("/ui/flags/production/shop", "/ui/flags?environment=production"):
        assert stranger.get(path).status_code == 404
    assert rollout.id not in stranger.get("/ui/audit?environment=production").text
    form = {"token": Forms(stranger.get("/ui/").text).found["/ui/logout"]["token"], "revision": "1"}
    assert stranger.post(f"/ui/rollouts/{rollout.id}/abort", form).status_code == 404
    assert inside.look(rollout).state.phase is Phase.PROGRESSING
    admin = Visitor(inside)
    admin.login(inside.keys[Role.ADMIN])
    assert admin.get(f"/ui/rollouts/{rollout.id}").status_code == 200


def test_history_is_filtered_and_paged(inside: Inside, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        rollout = inside.create(new_rollout(f"v{number}", plan=replace(PLAN, flag=f"flag-{number}")))
        fence = inside.attach(rollout)
        inside.tell(rollout, Order.REVERT)
        inside.undo(rollout, fence)

    def versions(path: str) -> list[str]:
        return re.findall(r"<code>(v\d)</code>", visitor.get(path).text)

    assert versions("/ui/history") == ["v2", "v1", "v0"]
    assert versions("/ui/history?flag=flag-1") == ["v1"]
    assert versions("/ui/history?outcome=failed") == []
    assert versions("/ui/history?outcome=reverted") == versions("/ui/history")
    assert visitor.get("/ui/history?outcome=exploded").status_code == 400
    monkeypatch.setattr(pages, "PAGE", 2)
    first = visitor.get("/ui/history").text
    older = unescape(re.findall(r'href="(/ui/history\?before=[^"]*)"', first)[0])
    assert versions(older) == ["v0"]


def test_a_flag_shows_who_gets_what_and_previews_a_user(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    flags = text_of(visitor.get("/ui/flags"))
    assert "10 % green v2" in flags
    assert "90 % blue" in flags
    lists = {"canary": {"users": ["vip"], "segments": []}, "stable": {"users": [], "segments": []}}
    assert inside.call("PUT", "/v1/production/flags/shop/lists", lists).status_code == 200
    page = visitor.get("/ui/flags/production/shop")
    assert "Listed first on the new version: 1 by key" in text_of(page)
    assert "By a list" in text_of(visitor.send(page, "/ui/flags/production/shop", user="vip"))
    found = {}
    for user in ("ada", "grace", "edsger", "barbara", "donald", "tony", "alan", "john"):
        shown = text_of(visitor.send(page, "/ui/flags/production/shop", user=user))
        first = first_share(f"{rollout.id}:", user)
        assert f"In from {percent(first)} on" in shown
        found[user] = ("so on the new version now" in shown, first <= 10_000)
    assert all(said is true for said, true in found.values())


def test_a_flag_names_its_live_colour_and_the_idle_one(inside: Inside, visitor: Visitor) -> None:
    slots = {"stable": {"name": "green", "version": "v7"}, "idle": {"name": "blue", "version": None}}
    inside.call("PUT", "/v1/production/flags/cart", {"kind": "rollout", "slots": slots})
    page = text_of(visitor.get("/ui/flags/production/cart"))
    assert "green default live v7" in page
    assert "blue idle –" in page


def test_plain_flags_are_shown_with_their_rules_and_no_share(inside: Inside, visitor: Visitor) -> None:
    rule = {"if": [{"ends_with": [{"var": "email"}, "@octo.example"]}, "on", "off"]}
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": rule}
    inside.call("PUT", "/v1/production/flags/search", {"flag": flag})
    page = visitor.get("/ui/flags/production/search")
    assert "By its rules, else off" in text_of(page)
    assert "off No rollout moves users of this flag" in text_of(
        visitor.send(page, "/ui/flags/production/search", user="ada")
    )
    assert visitor.get("/ui/flags/production/nothing").status_code == 404


def test_locks_are_shown_with_who_holds_them_and_stop_promotions_alone(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout, 0)
    until = inside.clock.now + 3600.0
    lock = {"reason": "black <b>friday", "by": "grace", "environment": "production", "until": until}
    assert inside.call("POST", "/v1/locks", lock).status_code == 201
    page = text_of(visitor.get("/ui/"))
    assert "held by grace: black <b>friday, until 09:00" in page
    assert visitor.order(rollout.id, "promote").status_code == 409
    assert inside.look(rollout).share == 0
    assert visitor.order(rollout.id, "abort").status_code == 303


def test_the_queue_is_shown_in_its_order_until_nobody_waits(inside: Inside, visitor: Visitor) -> None:
    queueing = replace(PLAN, supersede=Supersede.QUEUE)
    inside.create(new_rollout(plan=queueing))
    assert "In the queue" not in text_of(visitor.get("/ui/"))
    for version, number in (("v3", 41), ("v4", None)):
        inside.refused(new_rollout(version, plan=queueing, by="grace <b>", pull_request=number))
        inside.clock.go(1.0)
    page = visitor.get("/ui/")
    assert "In the queue shop v3 by grace <b>, #41, since 08:00 shop v4 by grace <b>, since 08:00" in text_of(page)
    assert re.findall(r'<li value="(\d)">', page.text) == ["1", "2"]
    other = inside.services.keyring.create(Wish(role=Role.OPERATOR, environment="staging", name="x"), by="test").text
    stranger = Visitor(inside)
    stranger.login(other)
    assert "In the queue" not in text_of(stranger.get("/ui/?environment=production"))


def test_followers_are_shown_with_their_flags_and_those_that_fell_silent_with_since_when(
    inside: Inside, visitor: Visitor
) -> None:
    assert "Followers" not in text_of(visitor.get("/ui/"))
    said = {"flags": [f"f{number}" for number in range(8)], "instance": "1"}
    assert inside.call("PUT", "/v1/followers/box <1>", said).status_code == 200
    line = "f0, f1, f2, f3, f4, f5 and 2 more production"
    assert f"Followers box <1> is there since 08:00 : {line}" in text_of(visitor.get("/ui/"))
    inside.clock.go(60.0)
    assert f"box <1> is silent since 08:00 : {line}" in text_of(visitor.get("/ui/"))
    inside.clock.go(600.0)
    assert "Followers" not in text_of(visitor.get("/ui/"))


def test_a_first_deploy_is_promised_no_version_to_go_back_to(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(replace(new_rollout(), baseline=False))
    inside.attach(rollout)
    page = text_of(visitor.get(f"/ui/rollouts/{rollout.id}"))
    assert "it is taken back, with no version before it" in page
    assert "goes back to stable" not in page


def test_the_audit_log_is_filtered_and_links_to_rollouts(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.tell(rollout, Order.REVERT)
    page = visitor.get("/ui/audit?action=rollout")
    assert f'href="/ui/rollouts/{rollout.id}"' in page.text
    assert "login.begun" not in page.text
    assert "login.begun" in visitor.get("/ui/audit?actor=operator").text
    assert "No line is like this" in text_of(visitor.get("/ui/audit?actor=nobody"))


def test_nobodys_text_becomes_markup(inside: Inside) -> None:
    visitor = Visitor(inside)
    visitor.login(inside.keys[Role.OPERATOR], name=HOSTILE[:80])
    new = new_rollout(
        HOSTILE, key="hostile", by=HOSTILE, repository=HOSTILE[:60], run_url=f"javascript:{HOSTILE}", sha=HOSTILE[:90],
        stable=Slot(name="blue", version=HOSTILE),
    )  # fmt: skip
    rollout = inside.create(new)
    fence = inside.to_step(rollout)
    inside.judge(rollout, fence, VerdictWord.INCONCLUSIVE)
    visitor.order(rollout.id, "pause", reason=HOSTILE)
    flag = {"state": "ENABLED", "variants": {"a": HOSTILE}, "defaultVariant": "a", "metadata": {"note": HOSTILE}}
    inside.call("PUT", "/v1/production/flags/plain", {"flag": flag})
    visitor.order(rollout.id, "abort", reason=HOSTILE)
    undo = inside.action(rollout, ActionKind.UNDO)
    inside.say(rollout, HookFailed(fence=fence, action=undo, text=HOSTILE))
    page = visitor.get("/ui/flags/production/plain")
    shown = [visitor.get(path).text for path in (
        "/ui/", f"/ui/rollouts/{rollout.id}", "/ui/history", "/ui/flags", "/ui/flags/production/shop", "/ui/audit",
        f"/ui/audit?actor={HOSTILE}", f"/ui/history?flag={HOSTILE}", f"/ui/{HOSTILE}", f"/ui/login?next={HOSTILE}",
    )]  # fmt: skip
    shown.append(visitor.send(page, "/ui/flags/production/plain", user=HOSTILE).text)
    assert all(harmless(one) for one in shown)
    assert not any("javascript:" in address for one in shown for address in re.findall(r'href="([^"]*)"', one))
    assert "49" not in re.findall(r"aborted: [^<]*", shown[1])[0]
    assert "&lt;script&gt;alert(1)" in shown[1]
