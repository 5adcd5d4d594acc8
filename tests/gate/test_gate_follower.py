"""What a follower takes up, and whose hooks it has. How it drives: the scenarios."""

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from gate.errors import FlagServerRefusedError
from gate.flagserver_api import FlagServer
from gate.follower import Checkouts, Follower, is_free
from rampgate.followers import Following
from rampgate.machine.events import Attached, Detached, Event, Told
from rampgate.machine.state import Order, Phase
from tests.fakes.flag_server import FakeClock, FakeFlagServer
from tests.gate.drive.worlds import SECONDS

CONFIG = "flag: {flag}\nenvironment: production\ndeploy: {{none: true}}\nmetrics: [{{errors: flagserver}}]\n"


def checkout(folder: Path, flag: str = "shop", text: str = CONFIG) -> None:
    (folder / ".github").mkdir(parents=True, exist_ok=True)
    (folder / ".github/rampgate.yml").write_text(text.format(flag=flag))


def server_after(*events: Event) -> FakeFlagServer:
    server = FakeFlagServer(clock=FakeClock(), plan=SECONDS)
    for number, event in enumerate(events):
        server.post("r1", event, str(number))
    return server


def free(server: FakeFlagServer) -> bool:
    return is_free(server.rollout("r1"), lambda: server.entries("r1"))


def test_a_rollout_that_was_just_asked_for_is_its_own_gates() -> None:
    assert not free(server_after())
    assert not free(server_after(Attached(holder="job")))


def test_a_rollout_that_was_let_go_of_while_it_was_deployed_is_free() -> None:
    assert free(server_after(Attached(holder="job"), Detached(fence=1)))


def test_what_nobody_undoes_is_free_and_what_is_over_is_not() -> None:
    server = server_after(Attached(holder="job"), Told(order=Order.REVERT, by="@ann"))
    assert not free(server), "the job is about to undo it"
    server.clock.advance(SECONDS.lease + 1)
    assert free(server)
    state = replace(server.rollout("r1").state, phase=Phase.REVERTED, actions=())
    assert not is_free(replace(server.rollout("r1"), state=state), tuple)


def test_a_checkout_or_a_folder_of_them_is_followed_and_read_again_when_it_changes(tmp_path: Path) -> None:
    said: list[str] = []
    read = Checkouts(tmp_path, (), said.append)
    assert read() == {}
    assert "Nothing is followed" in said[0]
    checkout(tmp_path / "shop")
    checkout(tmp_path / "cart", "cart")
    assert set(read()) == {("production", "shop"), ("production", "cart")}
    assert read()["production", "cart"].folder == tmp_path / "cart"
    checkout(tmp_path / "cart", "basket")
    checkout(tmp_path / "copy", "shop")
    checkout(tmp_path / "broken", text="flag: [")
    assert set(read()) == {("production", "shop"), ("production", "basket")}
    read()
    assert len(said) == 3, "what is wrong with a file is said once"
    assert "followed by" in "".join(said)


def test_one_checkout_serves_each_environment_that_is_named(tmp_path: Path) -> None:
    checkout(tmp_path)
    read = Checkouts(tmp_path, ("staging", "production"), print)
    assert set(read()) == {("staging", "shop"), ("production", "shop")}


class Refusing(FlagServer):
    """A flag server that refuses followers, for each reason in turn."""

    def __init__(self, *codes: str) -> None:
        super().__init__("http://127.0.0.1:9", "key")
        self.codes = list(codes)

    def follow(self, environment: str, name: str, following: Following) -> None:
        text = f"{name} may not follow {following.flags} in {environment}."
        raise FlagServerRefusedError(code=self.codes.pop(0), message=text)


def unneeded(*_: object) -> NoReturn:
    raise AssertionError("nothing was to be driven")


def test_a_key_that_is_refused_ends_a_follower_at_once_but_a_twin_is_waited_for(tmp_path: Path) -> None:
    checkout(tmp_path)
    said: list[str] = []
    server = Refusing("follower_exists", "follower_exists", "role")
    follower = Follower(
        server=server, name="box-1", read=Checkouts(tmp_path, (), print), gate=unneeded, say=said.append,
        every=0.0,
    )  # fmt: skip
    with pytest.raises(FlagServerRefusedError):
        follower.run()
    assert (len(said), server.codes) == (1, [])
