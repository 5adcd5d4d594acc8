"""The abort button while the database is gone: the API's own way, for whoever this server has seen lately."""

import pytest

from flagserver.auth import Role, Wish, logins
from flagserver.auth.logins import SEEN_FOR
from rampgate.machine.events import RetirementBegun, Told
from rampgate.machine.state import Order, Phase, Reason
from rampgate.rollout import Rollout
from tests.flagserver.dashboard.visitor import Visitor, text_of
from tests.flagserver.inside import Inside, gone, new_rollout


@pytest.fixture
def rollout(inside: Inside) -> Rollout:
    """At 10 %."""
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    return rollout


def visitor_of(inside: Inside, name: str = "ada") -> Visitor:
    visitor = Visitor(inside)
    visitor.login(inside.keys[Role.OPERATOR], name)
    return visitor


def ramps(inside: Inside) -> bool:
    return "targeting" in inside.snapshot()["flags"]["shop"]


def test_the_abort_of_an_open_page_is_obeyed_without_the_database_and_recorded_first_when_it_is_back(
    inside: Inside, rollout: Rollout
) -> None:
    visitor = visitor_of(inside)
    path = f"/ui/rollouts/{rollout.id}"
    page = visitor.get(path)
    with gone(inside.services.store):
        for word in ("pause", "promote"):
            reply = visitor.send(page, f"{path}/{word}")
            assert (reply.status_code, "Nothing was done." in text_of(reply)) == (503, True)
        assert ramps(inside)
        reply = visitor.send(page, f"{path}/abort", reason="checkout is down")
        assert reply.status_code == 202
        assert "Users of this server are on stable. Not recorded yet" in text_of(reply)
        assert f'data-live="{path}"' in reply.text
        assert not ramps(inside)
        assert visitor.send(page, f"{path}/abort", reason="checkout is down").status_code == 202
        assert inside.services.aborts.waiting == 1
    inside.services.steward.turn()
    state = inside.look(rollout).state
    assert (state.phase, state.reason, inside.services.aborts.waiting) == (Phase.REVERTING, Reason.ABORTED, 0)
    told = [one.event for one in inside.services.rollouts.history(rollout.id, 0, 100) if isinstance(one.event, Told)]
    assert [(one.by, one.text) for one in told if one.order is Order.REVERT] == [("ada", "checkout is down")]
    assert visitor.get(path).status_code == 200


def test_without_the_database_only_a_login_that_this_server_has_seen_lately_aborts(
    inside: Inside, rollout: Rollout
) -> None:
    path = f"/ui/rollouts/{rollout.id}"
    url = inside.services.store.url.render_as_string()
    early, bob, gone_home, beyond = (visitor_of(inside, name) for name in ("eve", "bob", "cy", "dan"))
    pages = {one: one.get(path) for one in (early, bob, gone_home, beyond)}
    inside.clock.go(SEEN_FOR - 1)
    left = gone_home.client.get_cookie("rampgate_login")
    assert left is not None
    gone_home.send(gone_home.get("/ui/"), "/ui/logout")
    gone_home.client.set_cookie("rampgate_login", left.value)
    bob.get(path)
    inside.clock.go(2)
    with Inside(url, inside.clock) as replica:
        beyond.client = Visitor(replica).client
        beyond.client.set_cookie("rampgate_login", "A" * 43)
        with gone(inside.services.store), gone(replica.services.store):
            for one in (early, gone_home, beyond):
                reply = one.send(pages[one], f"{path}/abort")
                assert (reply.status_code, "has not seen your login lately" in text_of(reply)) == (503, True)
            assert inside.services.aborts.waiting == 0
            assert bob.send(pages[bob], f"{path}/abort").status_code == 202


def test_this_server_remembers_so_many_logins_and_no_more(
    inside: Inside, rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "MOST_SEEN", 2)
    path = f"/ui/rollouts/{rollout.id}"
    pages = {one: one.get(path) for one in (visitor_of(inside, name) for name in ("ada", "bob", "cy"))}
    with gone(inside.services.store):
        codes = [one.send(page, f"{path}/abort").status_code for one, page in pages.items()]
    assert codes == [503, 202, 202]


def test_a_login_is_not_believed_beyond_its_key_and_its_environment(inside: Inside, rollout: Rollout) -> None:
    path = f"/ui/rollouts/{rollout.id}"
    keyring = inside.services.keyring
    made = keyring.create(Wish(role=Role.OPERATOR, environment="production", name="bob"), by="test")
    foreign = keyring.create(Wish(role=Role.OPERATOR, environment="staging", name="eve"), by="test")
    bob, eve = Visitor(inside), Visitor(inside)
    bob.login(made.text)
    eve.login(foreign.text)
    page = bob.get(path)
    keyring.revoke(made.record.selector, by="test")
    with gone(inside.services.store):
        assert bob.send(page, f"{path}/abort").status_code == 303
        token = eve.get("/ui/").text
        assert eve.post(f"{path}/abort", {"token": token}).status_code == 403
        assert inside.services.aborts.waiting == 0
    own = eve.get("/ui/")
    form = {"token": own.text.split('name="token" value="')[1].split('"')[0]}
    with gone(inside.services.store):
        assert eve.post(f"{path}/abort", form).status_code == 503
        assert inside.services.aborts.waiting == 0


def test_an_abort_that_comes_too_late_is_refused_in_its_own_words_without_the_database(inside: Inside) -> None:
    rollout = inside.create(new_rollout())
    fence = inside.to_step(rollout)
    inside.tell(rollout, Order.COMPLETE)
    visitor = visitor_of(inside)
    path = f"/ui/rollouts/{rollout.id}"
    page = visitor.get(path)
    for _ in range(4):
        inside.clock.go(30.0)
        inside.judge(rollout, fence)
    inside.say(rollout, RetirementBegun(fence=fence))
    with gone(inside.services.store):
        reply = visitor.send(page, f"{path}/abort")
        assert (reply.status_code, "rollback" in text_of(reply)) == (409, True)
