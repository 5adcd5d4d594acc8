"""The dashboard in a real Chromium, on a phone and on a wide screen, before a real server with a ramp under way."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from rampgate.evidence import Counters, Look, Reading, Sample, Verdict, VerdictReason, VerdictWord
from rampgate.machine.events import Judged, Told
from rampgate.machine.state import Order, Phase
from rampgate.plan import Step
from rampgate.rollout import Rollout
from tests.flagserver.callers import Gate
from tests.flagserver.conftest import Postgres
from tests.flagserver.inside import PLAN
from tests.flagserver.process import FlagServer

PATIENCE = 30_000.0
"""Milliseconds within which a busy machine shows what must come."""

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
SCREENS = {"phone": (390, 844), "wide": (1280, 900)}

# A lease that outlasts a slow machine: nobody plays the gate while a browser is looked at.
SLOW = replace(
    PLAN, lease=600.0, poll=15.0, stale_after=600.0, heartbeat=15.0, scale_down_delay=1200.0,
    steps=(Step(share=10_000, bake=600.0), Step(share=50_000, bake=600.0), Step(share=100_000, bake=600.0)),
)  # fmt: skip

pytestmark = pytest.mark.timeout(300)


@dataclass
class Eyes:
    """A browser's window, and everything that it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def fits(self) -> bool:
        """Nothing sticks out sideways."""
        wide = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        return bool(wide[0] <= wide[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlagServer]:
    with FlagServer(tmp_path_factory.mktemp("dashboard")) as server:
        yield server


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, FlagServer]]:
    """A server whose database can be made to hang."""
    with tempfile.TemporaryDirectory(prefix="rg-pg-", ignore_cleanup_errors=True) as folder:
        database = Postgres(folder)
        with FlagServer(tmp_path_factory.mktemp("fragile"), database_url=database.url) as server:
            yield database, server
        database.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture(params=SCREENS)
def eyes(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Eyes]:
    width, height = SCREENS[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=request.param == "phone",
        color_scheme="dark" if request.param == "phone" else "light",
    )  # fmt: skip
    yield Eyes(context.new_page())
    context.close()


@pytest.fixture
def gate(server: FlagServer, tmp_path: Path) -> Gate:
    """An operator of an environment that no other test has."""
    return Gate(server, environment=tmp_path.name.replace("_", "-"))


def ramp(gate: Gate, flag: str = "shop") -> Rollout:
    return gate.to_ten_percent(gate.create(flag, version="0f" * 20, plan=replace(SLOW, flag=flag)))


def look(gate: Gate, rollout: Rollout, errors: int, log_e: float) -> None:
    """Another look at the canary, as the gate would post it."""
    now = gate.read(rollout)
    assert now.state.lease is not None
    nothing = Counters(requests=0, errors=0)
    seen = Look(
        at=now.now, step=now.state.step, share=now.share, reading=Reading(at=now.now, stable=nothing, canary=nothing),
        stable=Sample(requests=900, errors=3), canary=Sample(requests=100, errors=errors),
        verdict=Verdict(
            word=VerdictWord.INCONCLUSIVE, reason=VerdictReason.COLLECTING, text="Not enough data yet.", log_e=log_e,
            threshold=3.0, no_harm=log_e < 0,
        ),
    )  # fmt: skip
    event = Judged(fence=now.state.lease.fence, revision=now.state.revision, attempt=now.state.attempt, look=seen)
    assert gate.say(rollout, event).refusal is None


def login(eyes: Eyes, gate: Gate, path: str = "/") -> None:
    page = eyes.page
    page.goto(gate.server.url + path)
    page.fill("[name=key]", gate.key["Authorization"].removeprefix("Bearer "))
    page.fill("[name=name]", "Ada Lovelace")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_a_ramp_changes_before_ones_eyes_and_is_paused_and_aborted_by_thumb(eyes: Eyes, gate: Gate) -> None:
    rollout = ramp(gate)
    login(eyes, gate)
    page, heading = eyes.page, eyes.page.locator("h1")
    expect(heading).to_have_text(f"10 % of users are on {rollout.version[:9]}")
    page.evaluate("window.same = true")
    look(gate, rollout, errors=1, log_e=-0.5)
    expect(page.get_by_text("No sign of harm", exact=True)).to_be_visible()
    look(gate, rollout, errors=9, log_e=2.4)
    expect(page.get_by_text("Harm is building")).to_be_visible()
    gate.say(rollout, Told(order=Order.ADVANCE, by="grace"))
    expect(heading).to_contain_text("50 %")
    page.get_by_role("button", name="Pause").click()
    expect(heading).to_contain_text("paused")
    assert gate.read(rollout).state.text.startswith("Ada Lovelace paused")
    page.evaluate("window.same = true")
    page.locator(".order.abort summary").click()
    box = page.get_by_role("button", name="Yes, send everybody back").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    page.get_by_role("button", name="Yes, send everybody back").click()
    expect(heading).to_contain_text("verybody is back on")
    assert gate.read(rollout).state.phase is Phase.REVERTING
    assert eyes.complaints == []
    assert eyes.fits()


def test_an_abort_is_obeyed_while_the_database_hangs_and_the_page_goes_on_when_it_is_back(
    eyes: Eyes, fragile: tuple[Postgres, FlagServer], tmp_path: Path
) -> None:
    database, server = fragile
    gate = Gate(server, environment=tmp_path.name.replace("_", "-"))
    rollout = ramp(gate)
    login(eyes, gate, f"/ui/rollouts/{rollout.id}")
    page, heading = eyes.page, eyes.page.locator("h1")
    expect(heading).to_contain_text("10 %")
    with database.hung():
        page.locator(".order.abort summary").click()
        page.get_by_role("button", name="Yes, send everybody back").click()
        expect(heading).to_contain_text("Aborted: shop")
        expect(page.get_by_role("alert")).to_contain_text("Not recorded yet")
        expect(page.get_by_text("No word from the database since")).to_be_visible()
        assert eyes.fits()
        page.screenshot(path=tmp_path / "aborted.png")
        assert "targeting" not in gate.snapshot()["flags"]["shop"]
    expect(heading).to_contain_text("verybody is back on")
    assert gate.read(rollout).state.text.startswith("Ada Lovelace")
    assert [one for one in eyes.complaints if "status of 503" not in one] == []


def test_what_a_person_is_about_to_order_stays_as_they_saw_it(eyes: Eyes, gate: Gate) -> None:
    rollout = ramp(gate)
    login(eyes, gate, f"/ui/rollouts/{rollout.id}")
    page = eyes.page
    page.locator(".order.promote summary").click()
    gate.say(rollout, Told(order=Order.ADVANCE, by="grace"))
    expect(page.locator("h1")).to_contain_text("50 %")
    yes = page.get_by_role("button", name="Yes, promote to 50 %")
    expect(yes).to_be_visible()
    yes.click()
    expect(page.get_by_role("alert")).to_contain_text("it has moved on since you looked")
    assert gate.read(rollout).share == 50_000
    # The answer itself is a 409, which a browser notes.
    assert all("409" in one for one in eyes.complaints)


def test_every_page_fits_the_screen_and_breaks_no_rule_of_its_own(eyes: Eyes, gate: Gate) -> None:
    first, second = ramp(gate), ramp(gate, "a-flag-with-a-rather-long-name-that-somebody-found-helpful")
    login(eyes, gate)
    environment = gate.environment
    for path in (
        "/ui/", f"/ui/rollouts/{first.id}", f"/ui/rollouts/{second.id}", "/ui/history", "/ui/flags",
        f"/ui/flags/{environment}/shop", "/ui/audit",
    ):  # fmt: skip
        eyes.page.goto(gate.server.url + path)
        expect(eyes.page.locator("h1").first).to_be_attached()
        assert eyes.fits(), path
    eyes.page.goto(f"{gate.server.url}/ui/flags/{environment}/shop")
    eyes.page.fill("[name=user]", "ada@example.com")
    eyes.page.get_by_role("button", name="Look up").click()
    expect(eyes.page.locator(".preview")).to_contain_text("In from")
    assert eyes.complaints == []


def test_a_link_from_another_site_finds_the_login_that_is_there(eyes: Eyes, gate: Gate) -> None:
    rollout = ramp(gate)
    login(eyes, gate)
    page = eyes.page
    # For a browser, localhost is another site than 127.0.0.1.
    page.goto(gate.server.url.replace("127.0.0.1", "localhost") + "/ui/login")
    target = f"{gate.server.url}/ui/rollouts/{rollout.id}"
    page.evaluate(
        "(url) => { const a = document.createElement('a'); a.href = url; document.body.append(a); a.click(); }", target
    )
    expect(page.locator("h1")).to_contain_text("of users are on")
    assert page.url == target


def test_without_scripts_all_works_but_the_watching(browser: Browser, gate: Gate) -> None:
    rollout = ramp(gate)
    context = browser.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    eyes = Eyes(context.new_page())
    login(eyes, gate)
    eyes.page.locator(".order.abort summary").click()
    eyes.page.fill(".order.abort [name=reason]", "checkout is down")
    eyes.page.get_by_role("button", name="Yes, send everybody back").click()
    expect(eyes.page.locator("h1")).to_contain_text("verybody is back on")
    assert gate.read(rollout).state.text == "Ada Lovelace aborted: checkout is down"
    assert eyes.complaints == []
    context.close()


def test_a_server_that_is_gone_is_told_of_and_the_page_goes_on_when_it_is_back(eyes: Eyes, tmp_path: Path) -> None:
    with FlagServer(tmp_path) as server:
        gate = Gate(server)
        ramp(gate)
        login(eyes, gate)
        server.kill()
        expect(eyes.page.locator(".contact")).to_contain_text("No contact with the flag server since")
        server.start()
        expect(eyes.page.locator(".contact")).to_be_hidden()
        expect(eyes.page.locator("h1")).to_contain_text("of users are on")
