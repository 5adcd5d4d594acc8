"""Lists and segments: who always meets the new version and who never does, while there is one to meet."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagserver.auth import Role
from flagserver.lists import HELD_IN, targeting
from flagserver.publish import publish
from flagserver.store.cohorts import Cohorting, Segment
from flagserver.store.flags import Lists, UserList
from flagserver.views.said import counts
from flagserver.wire import decode
from rampgate.client.answers import answer as client_answer
from rampgate.client.snapshot import NOTHING
from rampgate.client.workshop import Workshop
from rampgate.machine.events import RetirementBegun
from rampgate.machine.state import Deadline, Due, Order, Phase
from rampgate.plan import Policy, Strategy
from rampgate.rollout import Rollout
from tests.flagserver.inside import PLAN, Inside, new_rollout
from tests.flagserver.test_flagserver_publish import NOW, SHOP, held, ramping
from tests.rampgate.oracle.reference import answer, theirs

ON_EACH_DATABASE = pytest.mark.parametrize("server", ["sqlite_url", "postgres_url"], indirect=True)
LISTS = {"canary": {"users": ["ada"], "segments": []}, "stable": {"users": ["bob"], "segments": []}}


def put_lists(server: Inside, body: object, key: str = "shop") -> int:
    return server.call("PUT", f"/v1/production/flags/{key}/lists", body).status_code


def put_segment(server: Inside, name: str, body: object) -> int:
    return server.call("PUT", f"/v1/production/segments/{name}", body).status_code


def served(server: Inside, user: str, **attributes: Any) -> tuple[Any, Any]:
    """The variant of this user over OFREP, and whether it counts as evidence."""
    body = {"context": {"targetingKey": user, **attributes}}
    reply = server.call("POST", "/ofrep/v1/evaluate/flags/shop", body, role=Role.SDK).get_json()
    return reply["variant"], reply["metadata"].get("counted", True)


@pytest.fixture
def listed(server: Inside) -> Rollout:
    """A rollout that nobody drives yet, with ada and bob on its lists."""
    rollout = server.create(new_rollout())
    assert put_lists(server, LISTS) == 200
    return rollout


@ON_EACH_DATABASE
def test_lists_and_segments_are_kept_shown_and_in_the_audit_log(server: Inside) -> None:
    server.create(new_rollout())
    nobody = {"users": [], "segments": []}
    assert server.call("GET", "/v1/production/flags/shop/lists").get_json() == {"canary": nobody, "stable": nobody}
    assert put_segment(server, "beta", {"users": ["eve"], "rule": {"==": [{"var": "tier"}, "beta"]}}) == 201
    assert put_segment(server, "beta", {"users": ["eve", "fay"]}) == 200
    assert put_segment(server, "staff", {"rule": {"ends_with": [{"var": "email"}, "@shop.example"]}}) == 201
    both = {"canary": {"users": ["ada"], "segments": ["staff"]}, "stable": {"users": [], "segments": ["beta"]}}
    assert put_lists(server, both) == 200
    assert server.call("GET", "/v1/production/flags/shop/lists").get_json() == both
    every = server.call("GET", "/v1/production/segments").get_json()["segments"]
    assert [(one["name"], one["users"], one["rule"] is None) for one in every] == [
        ("beta", ["eve", "fay"], True), ("staff", [], False),
    ]  # fmt: skip
    assert server.call("GET", "/v1/production/segments/beta").get_json()["users"] == ["eve", "fay"]
    refusal = server.call("DELETE", "/v1/production/segments/beta")
    assert (refusal.status_code, refusal.get_json()["error"]) == (409, "segment_used")
    assert put_lists(server, LISTS) == 200
    assert server.call("DELETE", "/v1/production/segments/beta").status_code == 204
    assert server.call("GET", "/v1/production/segments/beta").status_code == 404
    lines = server.call("GET", "/v1/audit?limit=100", role=Role.ADMIN).get_json()["entries"]
    said = [(one["action"], one["subject"]) for one in lines if one["action"].startswith(("segment", "flag.lists"))]
    assert said == [
        ("segment.written", "beta"), ("segment.written", "beta"), ("segment.written", "staff"),
        ("flag.lists_written", "shop"), ("flag.lists_written", "shop"), ("segment.deleted", "beta"),
    ]  # fmt: skip


def test_listed_users_meet_the_new_version_from_the_first_widening_and_never_after_a_revert(
    server: Inside, listed: Rollout
) -> None:
    assert served(server, "ada")[0] == "blue", "while it deploys, nobody meets it"
    fence = server.to_step(listed, 0)
    assert served(server, "ada")[0] == "blue", "in the dark nobody does, listed or not"
    server.judge(listed, fence)
    assert server.look(listed).share == 10_000
    assert served(server, "ada") == ("green", False), "listed users are no evidence"
    assert served(server, "bob") == ("blue", False)
    server.tell(listed, Order.REVERT)
    assert served(server, "ada")[0] == "blue"
    assert "targeting" not in server.snapshot()["flags"]["shop"]


def test_a_lapsed_lease_takes_listed_users_back_before_it_is_recorded(server: Inside, listed: Rollout) -> None:
    server.to_step(listed)
    assert served(server, "ada")[0] == "green"
    server.clock.go(PLAN.lease + 0.001)
    assert served(server, "ada")[0] == "blue"


def test_those_who_never_do_leave_when_the_old_version_is_about_to_go(server: Inside, listed: Rollout) -> None:
    fence = server.to_step(listed)
    server.judge(listed, fence)
    assert served(server, "bob")[0] == "blue"
    server.tell(listed, Order.COMPLETE)
    assert server.look(listed).state.phase is Phase.COMPLETING
    assert served(server, "bob")[0] == "green", "nobody may be on a slot that is taken away"
    for _ in range(int(PLAN.scale_down_delay / 30)):
        server.clock.go(30)
        server.judge(listed, fence)
    server.say(listed, RetirementBegun(fence=fence))
    assert served(server, "bob")[0] == "green"


def test_under_blue_green_they_stay_through_the_switch_until_it_completes() -> None:
    plan = replace(PLAN, strategy=Strategy.BLUE_GREEN, steps=PLAN.steps[-1:], hold_back=0)
    flag = replace(SHOP, lists=Lists(stable=UserList(users=("bob",))))
    published = publish(held(ramping(plan=plan), flag=flag), NOW)
    assert published.flags["shop"]["defaultVariant"] == "green"
    compiled = published.compiled("shop")
    assert compiled is not None
    assert [compiled.variant_for(user) for user in ("bob", "ada", "")] == ["blue", "green", "green"]


@pytest.mark.parametrize("phase", list(Phase))
def test_lists_hold_while_somebody_is_on_the_canary_and_stable_stays(phase: Phase) -> None:
    flag = replace(SHOP, lists=Lists(canary=UserList(users=("ada",)), stable=UserList(users=("bob",))))
    published = publish(held(ramping(phase), flag=flag), NOW)
    compiled = published.compiled("shop")
    assert compiled is not None
    everybody = phase in (Phase.COMPLETING, Phase.PROMOTED)
    assert compiled.variant_for("ada") == ("green" if everybody or phase in HELD_IN else "blue")
    assert compiled.variant_for("bob") == ("green" if everybody else "blue")


def test_lists_change_in_mid_ramp_and_segments_reach_every_flag_that_names_them(server: Inside) -> None:
    server.to_step(server.create(new_rollout()))
    assert put_segment(server, "staff", {"rule": {"ends_with": [{"var": "email"}, "@shop.example"]}}) == 201
    assert put_lists(server, {"canary": {"segments": ["staff"]}}) == 200
    version = server.snapshot()["version"]
    assert served(server, "user-1", email="eve@shop.example") == ("green", False)
    assert put_segment(server, "staff", {"users": ["user-1"]}) == 200
    assert server.snapshot()["version"] != version
    assert served(server, "user-1") == ("green", False)
    assert put_lists(server, {"stable": {"users": ["user-1"]}}) == 200
    assert served(server, "user-1") == ("blue", False)


def test_a_user_on_both_sides_by_segment_stays_on_stable() -> None:
    lists = Lists(canary=UserList(segments=("staff",)), stable=UserList(segments=("vip",)))
    segments = {"staff": Segment(name="staff", users=("ada",)), "vip": Segment(name="vip", users=("ada",))}
    published = publish(
        replace(held(ramping(), flag=replace(SHOP, lists=lists)), cohorting=Cohorting(segments=segments)), NOW
    )
    compiled = published.compiled("shop")
    assert compiled is not None
    assert compiled.variant_for("ada") == "blue"


def test_a_segment_that_is_gone_and_a_user_without_a_key_are_nobody() -> None:
    lists = Lists(canary=UserList(segments=("gone", "all")))
    segments = {"all": Segment(name="all", rule={"==": [1, 1]})}
    cohorting = Cohorting(segments=segments)
    published = publish(replace(held(ramping(), flag=replace(SHOP, lists=lists)), cohorting=cohorting), NOW)
    compiled = published.compiled("shop")
    assert compiled is not None
    assert compiled.evaluate({"targetingKey": "ada"}).variant == "green"
    assert compiled.evaluate({"country": "de"}).variant == "blue"


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"canary": {"users": ["a"], "segments": ["none"]}, "stable": {"users": ["a"]}},
         {"canary.segments[0]", "stable.users"}),
        ({"canary": {"users": [""]}}, {"canary.users[0]"}),
        ({"canary": {"users": ["x" * 501]}}, {"canary.users[0]"}),
        ({"stable": {"users": [str(number) for number in range(10_001)]}}, {"stable.users"}),
        ({"stable": {"segments": ["s"] * 51}}, {"stable.segments"}),
        ({"canaries": {}}, {"canaries"}),
    ],
)  # fmt: skip
def test_lists_with_problems_are_refused_with_all_of_them(server: Inside, body: object, paths: set[str]) -> None:
    reply = server.call("PUT", "/v1/production/flags/shop/lists", body)
    assert reply.status_code == 422
    assert paths <= {one["path"] for one in reply.get_json()["problems"]}
    assert server.call("GET", "/v1/production/flags/shop/lists").get_json() == LISTS


@pytest.mark.parametrize(
    ("rule", "path"),
    [({"iff": []}, "rule.iff"), ({"$ref": "shared"}, "rule.$ref"), ({"==": [1]}, "rule.=="), ({}, "rule")],
)
def test_a_segments_rule_is_checked_at_the_door(server: Inside, rule: object, path: str) -> None:
    reply = server.call("PUT", "/v1/production/segments/odd", {"rule": rule})
    assert reply.status_code == 422
    assert [one["path"] for one in reply.get_json()["problems"]] == [path]


def test_what_is_sound_alone_and_too_much_together_is_refused_where_it_becomes_so(server: Inside) -> None:
    server.create(new_rollout())
    large = {"or": [{"==": [{"var": "a"}, number]} for number in range(2400)]}
    for name in ("one", "two"):
        assert put_segment(server, name, {"rule": large}) == 201
    assert put_lists(server, {"canary": {"segments": ["one", "two"]}}) == 200
    assert put_segment(server, "two", {"rule": {"or": [large, large]}}) == 422, "the flag that names both"
    assert put_segment(server, "three", {"rule": {"or": [large, large]}}) == 201
    assert put_lists(server, {"canary": {"segments": ["one", "three"]}}) == 422


def test_a_plain_flag_has_no_lists_and_an_unknown_one_none_either(server: Inside) -> None:
    plain = {"flag": {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}}
    server.call("PUT", "/v1/production/flags/plain", plain)
    assert put_lists(server, LISTS, "plain") == 409
    assert put_lists(server, LISTS, "none") == 404
    assert server.call("GET", "/v1/production/flags/none/lists").status_code == 404


def test_lists_outlive_their_rollout_and_hold_in_the_next(server: Inside, listed: Rollout) -> None:
    server.tell(listed, Order.REVERT)
    server.undo(listed, server.attach(listed))
    server.call("PUT", "/v1/production/flags/shop", {"flag": {"metadata": {"team": "a"}}})
    server.clock.go(3600)
    server.to_step(server.create(new_rollout("v3")))
    assert [served(server, user)[0] for user in ("ada", "bob")] == ["green", "blue"]


def test_a_ramp_with_ten_thousand_listed_users_is_served_by_a_table() -> None:
    users = tuple(f"user-{number}" for number in range(10_000))
    flag = replace(SHOP, lists=Lists(canary=UserList(users=users)))
    compiled = publish(held(ramping(), flag=flag), NOW).compiled("shop")
    assert compiled is not None
    assert compiled.cut is not None
    assert len(compiled.cut.listed) == 10_000


names = st.sampled_from([f"user-{number}" for number in range(12)])
rules = st.sampled_from(
    [None, {"==": [{"var": "tier"}, "gold"]}, {"starts_with": [{"var": "targetingKey"}, "user-1"]}, {"!": [True]}]
)
sides = st.builds(
    UserList, users=st.lists(names, max_size=4).map(tuple),
    segments=st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True).map(tuple),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    share=st.sampled_from([1, 10_000, 50_000, 95_000, 100_000]), lists=st.builds(Lists, canary=sides, stable=sides),
    salt=st.sampled_from([None, "spring", "a.b-c"]), first=st.lists(names, max_size=3).map(tuple), rule=rules,
    users=st.lists(names | st.sampled_from(["", "Zoë", "名前"]), min_size=1, max_size=6),
    tier=st.sampled_from(["gold", ""]),
)  # fmt: skip
def test_a_ramp_with_lists_and_salt_is_the_same_to_the_server_the_client_and_flagd(
    share: int, lists: Lists, salt: str | None, first: tuple[str, ...], rule: Any, users: list[str], tier: str
) -> None:
    plan = replace(PLAN, salt=salt, hold_back=0, steps=(replace(PLAN.steps[0], share=share),))
    segments = {"a": Segment(name="a", users=first, rule=rule), "b": Segment(name="b", users=("user-3",))}
    record = ramping(plan=plan, deadlines={Deadline.STEP: Due(at=NOW + 9e5, then=Policy.REVERT)})
    cohorting = Cohorting(segments=segments)
    published = publish(replace(held(record, flag=replace(SHOP, lists=lists)), cohorting=cohorting), NOW)
    flag = published.compiled("shop")
    assert flag is not None
    snapshot = Workshop(clock=lambda: 0.0, counts=None).from_document(decode(published.body), 0.0, NOTHING)
    for user in users:
        context = {"targetingKey": user, "tier": tier}
        found = flag.evaluate(context)
        assert answer(found) == theirs({"flags": published.flags}, "shop", context, NOW)
        told = client_answer(snapshot, "shop", context, None, 0.0)
        assert (told.resolution.value, told.resolution.variant) == (found.value, found.variant)
        assert told.counted is counts(found)
        if flag.cut is not None:
            assert flag.variant_for(user) == found.variant
            assert user == "" or snapshot.strings["shop"](user) == found.variant
        denied = {*lists.stable.users, *(one for name in lists.stable.segments for one in segments[name].users)}
        assert not (user in denied and user and found.variant != "blue")


def test_targeting_without_lists_is_the_plain_ramp() -> None:
    rule = targeting("s:", "green", "blue", 10, Lists(), {})
    split = [{"cat": ["s:", {"var": "targetingKey"}]}, ["green", 10], ["blue", 99_990]]
    assert rule == {"if": [{"var": "targetingKey"}, {"fractional": split}]}
    assert targeting("s:", "green", "blue", 100_000, Lists(), {}) is None
