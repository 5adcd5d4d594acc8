"""`rampgate cohort` and `rampgate tester-link`, as typed, against a real flag server."""

import time
from collections.abc import Iterator, Mapping

import pytest
from click.testing import CliRunner

from gate.cli import main
from gate.cli_cohorts import linked
from gate.flagserver_api import FlagServer as Api
from rampgate import FlagClient
from rampgate.bucketing import first_share
from rampgate.evidence import ArmName
from rampgate.forcing import NAME, claims
from rampgate.machine.events import Attached, Deployed, Verified
from rampgate.machine.state import ActionKind
from rampgate.plan import percent
from rampgate.rollout import NewRollout, Rollout, Slot
from tests.contracts.driver_contract import PATIENT
from tests.flagserver.process import FlagServer
from tests.rampgate.client.scripted import until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    with FlagServer(tmp_path_factory.mktemp("cohorts"), log_level="warning") as server:
        yield server


@pytest.fixture(scope="module")
def environ(server: FlagServer) -> Mapping[str, str]:
    return {"RAMPGATE_URL": server.url, "RAMPGATE_KEY": server.key("operator")}


@pytest.fixture(scope="module")
def rollout(environ: Mapping[str, str]) -> Rollout:
    """A rollout in the dark."""
    api = Api(environ["RAMPGATE_URL"], environ["RAMPGATE_KEY"], timeout=30.0)
    made = api.create(
        NewRollout(
            key="k", plan=PATIENT, version="v2", stable=Slot(name="blue", version="v1"), baseline=True, by="a test"
        )
    )
    state = api.post(made.id, Attached(holder="a test"), "1").rollout.state
    assert state.lease is not None
    fence = state.lease.fence
    for number, (kind, event) in enumerate(((ActionKind.DEPLOY, Deployed), (ActionKind.VERIFY, Verified)), start=2):
        action = next(one.number for one in api.rollout(made.id).state.actions if one.kind is kind)
        api.post(made.id, event(fence=fence, action=action), str(number))
    return api.rollout(made.id)


def run(environ: Mapping[str, str], *words: str) -> tuple[int, str, str]:
    ran = CliRunner().invoke(main, [*words, "--flag", PATIENT.flag, "--environment", PATIENT.environment], env=environ)
    return ran.exit_code, ran.stdout, ran.stderr


def test_cohort_says_who_is_in_and_from_when_on(environ: Mapping[str, str], rollout: Rollout) -> None:
    code, said, _ = run(environ, "cohort", "ada", "user-17")
    assert code == 0
    start = percent(first_share(f"{rollout.id}:", "ada"))
    assert said.splitlines() == [
        f"{PATIENT.flag} in {PATIENT.environment}: 0 % of the users, by the salt {rollout.id}",
        f"  ada      blue, in from {start} on",
        f"  user-17  blue, in from {percent(first_share(f'{rollout.id}:', 'user-17'))} on",
    ]
    code, said, _ = run(environ, "cohort", "ada", "--salt", "spring")
    assert (code, said.splitlines()[-1]) == (0, f"  ada  in from {percent(first_share('spring:', 'ada'))} on")


def test_a_testers_link_opens_the_dark_version_in_an_app(
    environ: Mapping[str, str], rollout: Rollout, server: FlagServer
) -> None:
    code, said, more = run(environ, "tester-link", "https://shop.example/cart?page=2#top", "--for", "30m")
    assert code == 0
    head, _, text = said.strip().removesuffix("#top").partition(f"{NAME}=")
    assert (head, said.strip()[-4:]) == ("https://shop.example/cart?page=2&", "#top")
    _, token = claims(text)[rollout.plan.flag]
    assert token.arm is ArmName.CANARY
    assert 0 < token.expires - time.time() <= 1830
    assert "meets" in more
    with FlagClient(server.url, server.key("sdk"), environment=PATIENT.environment) as client:
        assert client.ready(30)
        until(lambda: client.assign(PATIENT.flag, "ada", tokens=text).value == "green")
        assert client.string(PATIENT.flag, "", "ada") == "blue"


def test_without_a_url_the_bare_token_is_printed(environ: Mapping[str, str], rollout: Rollout) -> None:
    code, said, _ = run(environ, "tester-link", "--arm", "stable")
    assert code == 0
    assert claims(said.strip())[rollout.plan.flag][1].arm is ArmName.STABLE


@pytest.mark.parametrize("words", [("--for", "8"), ("--for", "31s"), ("ftp://shop.example",), ("--for", "40000h")])
@pytest.mark.usefixtures("rollout")
def test_what_cannot_be_is_refused(environ: Mapping[str, str], words: tuple[str, ...]) -> None:
    code, said, more = run(environ, "tester-link", *words)
    assert (code != 0, said) == (True, "")
    assert more


def test_a_link_to_a_bare_host_has_a_path() -> None:
    assert linked("https://shop.example", "t") == f"https://shop.example/?{NAME}=t"
