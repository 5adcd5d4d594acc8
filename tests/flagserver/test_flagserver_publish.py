"""What is served: the snapshot is pure, only ever narrows from memory, and goes on without the database."""

import threading
from dataclasses import replace
from itertools import count

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from flagserver.errors import StoreGoneError
from flagserver.hub import Hub, environment
from flagserver.live import CUT_OFF, Live
from flagserver.publish import Held, publish, salt, served_share
from flagserver.store.flags import FlagRecord, Kind
from flagserver.store.rollouts import RolloutRecord
from rampgate.bucketing import cohort
from rampgate.evaluation import Reason
from rampgate.machine.events import RetirementBegun
from rampgate.machine.state import Deadline, Due, Order, Phase, State
from rampgate.plan import OnGateLost, Policy
from rampgate.rollout import Slot, Slots
from tests.flagserver.inside import PLAN, Clock, Inside, new_rollout
from tests.rampgate.oracle.reference import theirs

NOW = 1_800_000_000.0
SHOP = FlagRecord(
    environment="production", key="shop", kind=Kind.ROLLOUT, document={}, updated_at=0.0,
    slots=Slots(stable=Slot(name="blue"), idle=Slot(name="green", version="v2")),
)  # fmt: skip


def ramping(
    phase: Phase = Phase.PROGRESSING, *, step: int = 1, plan: object = PLAN, **changes: object
) -> RolloutRecord:
    due = {Deadline.LEASE: Due(at=NOW + 45, then=Policy.REVERT)}
    state = State(phase=phase, step=step, up=True, exposed=True, deadlines=due)
    return RolloutRecord(
        id="ro_1", key="k", plan=plan, version="v2", canary=Slot(name="green", version="v2"),  # type: ignore[arg-type]
        stable=Slot(name="blue"), by="ada", created_at=NOW, attempt_at=NOW, updated_at=NOW,
        state=replace(state, **changes),  # type: ignore[arg-type]
    )  # fmt: skip


def held(*records: RolloutRecord, flag: FlagRecord = SHOP) -> Held:
    return Held(environment="production", revision=1, flags=(flag,), rollouts=records)


def test_a_ramp_is_a_fractional_with_the_canary_first() -> None:
    flag = publish(held(ramping()), NOW).flags["shop"]
    assert flag["variants"] == {"blue": "blue", "green": "green"}
    assert flag["defaultVariant"] == "blue"
    split = [{"cat": ["ro_1:", {"var": "targetingKey"}]}, ["green", 10_000], ["blue", 90_000]]
    assert flag["targeting"] == {"if": [{"var": "targetingKey"}, {"fractional": split}]}


def test_rollouts_with_one_salt_send_the_same_users_first_and_others_do_not() -> None:
    cart = replace(SHOP, key="cart")
    mine = ramping(plan=replace(PLAN, salt="spring"))
    others = replace(mine, id="ro_2", plan=replace(PLAN, flag="cart", salt="spring"))
    own = replace(others, plan=replace(PLAN, flag="cart"))
    users = [f"user-{number}" for number in range(2000)]

    def first(key: str, *records: RolloutRecord) -> list[str]:
        flag = publish(replace(held(*records), flags=(SHOP, cart)), NOW).compiled(key)
        assert flag is not None
        return [user for user in users if flag.value_for(user) == "green"]

    assert 100 < len(first("shop", mine, others)) < 300
    assert first("shop", mine, others) == first("cart", mine, others)
    assert len(set(first("shop", mine, own)) & set(first("cart", mine, own))) < 60


@pytest.mark.parametrize("due", [False, True], ids=["its share", "its deadline"])
def test_a_rollout_that_cannot_be_worked_out_is_on_stable_and_the_others_go_on(
    due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise LookupError("no such step")

    monkeypatch.setattr("flagserver.publish.handle", fails)
    loud = structlog.wrap_logger(None, wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr("flagserver.publish.log", loud)
    cart = replace(SHOP, key="cart")
    other = replace(ramping(deadlines={}), id="ro_2", plan=replace(PLAN, flag="cart"))
    broken = ramping() if due else ramping(step=9, deadlines={})
    both = replace(held(broken, other), flags=(SHOP, cart))
    with capture_logs() as logs:
        flags = publish(both, NOW + 50).flags
    assert "targeting" not in flags["shop"]
    assert flags["shop"]["defaultVariant"] == "blue"
    assert "targeting" in flags["cart"]
    assert [(one["event"], one["rollout"]) for one in logs] == [("rollout_unreadable", "ro_1")]


@pytest.mark.parametrize("context", [{}, {"targetingKey": ""}, {"targetingKey": None}, {"tier": "gold"}])
def test_users_without_a_key_stay_on_stable_wherever_their_rollouts_salt_lies(context: dict[str, object]) -> None:
    early = next(one for n in count() if cohort(salt(one := replace(ramping(), id=f"ro_{n}")), "") < 1)
    published = publish(held(early), NOW)
    flag = published.compiled("shop")
    assert flag is not None
    found = flag.evaluate(context)
    assert (found.variant, found.reason) == ("blue", Reason.DEFAULT)
    assert theirs({"flags": published.flags}, "shop", context, NOW).variant == "blue"
    assert flag.cut is not None, "a ramp has the evaluator's fast path"


@pytest.mark.parametrize("phase", [Phase.DEPLOYING, Phase.VERIFYING, Phase.DARK, Phase.REVERTING])
def test_without_a_share_there_is_no_rule(phase: Phase) -> None:
    published = publish(held(ramping(phase)), NOW)
    assert published.flags["shop"]["defaultVariant"] == "blue"
    assert "targeting" not in published.flags["shop"]
    assert published.rollouts["shop"]["rollout"] == "ro_1"


def test_at_the_whole_share_the_canary_is_the_default() -> None:
    published = publish(held(ramping(Phase.COMPLETING)), NOW)
    assert published.flags["shop"]["defaultVariant"] == "green"
    assert "targeting" not in published.flags["shop"]


def test_once_retirement_has_begun_a_client_no_longer_falls_back_to_stable() -> None:
    published = publish(held(ramping(Phase.COMPLETING, retirement_begun=True)), NOW + 1e6)
    assert published.rollouts == {}
    assert published.flags["shop"]["defaultVariant"] == "green"


def test_a_flags_own_values_stay() -> None:
    flag = replace(SHOP, document={"variants": {"blue": {"pool": 1}, "green": {"pool": 2}}, "metadata": {"team": "a"}})
    served = publish(held(ramping(), flag=flag), NOW).flags["shop"]
    assert served["variants"]["green"] == {"pool": 2}
    assert served["metadata"] == {"team": "a"}


def test_the_version_changes_with_what_is_served_and_with_nothing_else() -> None:
    first = publish(held(ramping()), NOW)
    renewed = ramping(deadlines={Deadline.LEASE: Due(at=NOW + 90, then=Policy.REVERT)}, judged_at=NOW)
    assert publish(replace(held(renewed), revision=9), NOW, before=first).version == first.version
    assert publish(held(ramping(attempt=2)), NOW).version != first.version
    assert publish(held(ramping(step=2)), NOW).version != first.version


def test_a_change_names_what_changed_and_what_it_follows() -> None:
    other = replace(SHOP, key="other")
    first = publish(Held(environment="production", revision=1, flags=(SHOP, other)), NOW)
    second = publish(held(ramping()), NOW, before=first)
    assert (second.previous, set(second.changed), second.removed) == (first.version, {"shop"}, ("other",))


def test_the_shortest_heartbeat_of_any_rollout_is_kept() -> None:
    assert publish(held(), NOW).heartbeat == 15.0
    assert publish(held(ramping(plan=replace(PLAN, heartbeat=0.5))), NOW).heartbeat == 0.5


def test_a_snapshot_holds_until_its_first_deadline() -> None:
    published = publish(held(ramping()), NOW)
    assert published.valid_until == NOW + 45
    assert publish(held(ramping()), NOW + 45).flags["shop"]["defaultVariant"] == "blue"
    assert "targeting" not in publish(held(ramping()), NOW + 45).flags["shop"]


def test_a_policy_that_widens_is_not_carried_out_from_memory() -> None:
    waiting = ramping(
        Phase.WAITING,
        deadlines={
            Deadline.CONFIRM: Due(at=NOW + 10, then=Policy.PROMOTE),
            Deadline.LEASE: Due(at=NOW + 45, then=Policy.REVERT),
        },
    )
    assert served_share(waiting, NOW + 20) == 10_000


def test_a_gate_that_is_lost_under_hold_keeps_its_share_while_the_database_answers() -> None:
    due = {Deadline.LEASE: Due(at=NOW + 45, then=Policy.HOLD)}
    record = ramping(plan=replace(PLAN, on_gate_lost=OnGateLost.HOLD), deadlines=due)
    assert served_share(record, NOW + 50) == 10_000
    assert served_share(record, NOW + 50, cut_off=True) == 0


def test_cut_off_from_the_database_a_lapsed_lease_means_stable() -> None:
    assert served_share(ramping(), NOW + 44, cut_off=True) == 10_000
    assert served_share(ramping(), NOW + 45, cut_off=True) == 0


def test_cut_off_nobody_is_sent_to_a_version_that_may_be_retired() -> None:
    due = {
        Deadline.LEASE: Due(at=NOW + 45, then=Policy.REVERT),
        Deadline.RETIRE: Due(at=NOW + 120, then=Policy.COMPLETE),
    }
    completing = ramping(Phase.COMPLETING, deadlines=due)
    assert served_share(completing, NOW + 60, cut_off=True) == 0
    assert served_share(completing, NOW + 121, cut_off=True) == 100_000
    retiring = replace(completing, state=replace(completing.state, retirement_begun=True))
    assert served_share(retiring, NOW + 60, cut_off=True) == 100_000


deadlines = st.dictionaries(
    st.sampled_from([Deadline.LEASE, Deadline.STEP, Deadline.CONFIRM, Deadline.HOLD, Deadline.PAUSE]),
    st.builds(lambda at, then: Due(at=NOW + at, then=then), st.floats(-100, 100), st.sampled_from(Policy)),
    max_size=3,
)
shown = st.sampled_from([Phase.DARK, Phase.PROGRESSING, Phase.WAITING, Phase.PAUSED, Phase.COMPLETING])


@given(phase=shown, step=st.integers(0, 2), due=deadlines, later=st.floats(0, 200), cut_off=st.booleans())
def test_memory_never_serves_more_than_was_recorded(
    phase: Phase, step: int, due: dict[Deadline, Due], later: float, cut_off: bool
) -> None:
    record = ramping(phase, step=step, deadlines=due)
    recorded = record.rollout(NOW).share
    assert served_share(record, NOW + later, cut_off=cut_off) <= recorded


class Steps(Clock):
    """The steady clock of ages."""


def test_without_the_database_flags_outside_a_rollout_keep_their_value_and_others_go_to_stable(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    flag = {"state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a"}
    inside.call("PUT", "/v1/production/flags/plain", {"flag": flag})
    steady = Steps(100.0)
    live = Live(inside.services.store, Hub(), steady=steady)
    live.refresh()
    before = live.current("production")
    for seconds in (CUT_OFF + 1, PLAN.lease):
        steady.go(seconds)
        inside.clock.go(seconds)
    after = live.current("production")
    assert live.cut_off
    assert "targeting" in before.flags["shop"]
    assert "targeting" not in after.flags["shop"]
    assert after.flags["plain"] == before.flags["plain"]
    assert live.age() == pytest.approx(CUT_OFF + 1 + PLAN.lease)


def test_a_store_that_is_gone_leaves_what_is_served_and_comes_back_by_itself(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    steward = inside.services.steward

    def gone() -> object:
        raise StoreGoneError("The database cannot be used now: it is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(inside.services.store, "read", gone)
        patch.setattr(inside.services.store, "write", gone)
        assert steward.turn() > 0
        assert inside.snapshot()["flags"]["shop"]["targeting"]
        assert inside.call("GET", f"/v1/rollouts/{rollout.id}").status_code == 503
        inside.clock.go(PLAN.lease)
        assert "targeting" not in inside.snapshot()["flags"]["shop"]
    steward.turn()
    assert inside.look(rollout).state.phase is Phase.REVERTING


def test_whatever_goes_wrong_in_the_clocks_keeper_no_share_outlives_its_lease(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside.to_step(inside.create(new_rollout()))
    narrowed = threading.Event()
    inside.services.hub.listen(environment("production"), narrowed.set)

    def fault(_spare: float) -> float | None:
        inside.clock.go(PLAN.lease)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(inside.services.rollouts, "settle", fault)
        inside.services.steward.start()
        assert narrowed.wait(10)
        inside.services.steward.stop()
    assert "targeting" not in inside.snapshot()["flags"]["shop"]


def test_listeners_hear_of_a_change_once_and_only_of_changes(inside: Inside) -> None:
    heard: list[int] = []
    stop = inside.services.hub.listen(environment("production"), lambda: heard.append(1))
    rollout = inside.create(new_rollout())
    fence = inside.to_step(rollout)
    inside.judge(rollout, fence)
    count = len(heard)
    for _ in range(3):
        inside.services.live.refresh()
    assert count == len(heard)
    assert count >= 3
    stop()
    inside.tell(rollout, Order.REVERT)
    assert count == len(heard)


def test_a_revert_is_in_the_snapshot_before_its_answer_and_retirement_takes_the_flag_off_the_list(
    inside: Inside,
) -> None:
    rollout = inside.create(new_rollout())
    fence = inside.to_step(rollout)
    inside.tell(rollout, Order.COMPLETE)
    for _ in range(int(PLAN.scale_down_delay // 30)):
        inside.clock.go(30)
        inside.judge(rollout, fence)
    inside.say(rollout, RetirementBegun(fence=fence))
    assert inside.snapshot()["rollouts"] == {}
    assert inside.snapshot()["flags"]["shop"]["defaultVariant"] == "green"


@pytest.mark.parametrize(
    ("rule", "path"),
    [({"$ref": "gold"}, "flag.targeting.$ref"), ({"if": [{"$ref": "gold"}, "a"]}, "flag.targeting.if[0].$ref")],
)
def test_a_reference_to_a_shared_rule_is_refused_at_the_door_and_says_what_to_do(
    inside: Inside, rule: object, path: str
) -> None:
    flag = {
        "state": "ENABLED", "variants": {"a": 1}, "defaultVariant": "a", "targeting": rule,
        "$evaluators": {"gold": {"==": [{"var": "tier"}, "gold"]}},
    }  # fmt: skip
    reply = inside.call("PUT", "/v1/production/flags/plain", {"flag": flag})
    assert reply.status_code == 422
    (problem,) = reply.get_json()["problems"]
    assert (problem["path"], "flagserver import" in problem["allowed"]) == (path, True)
