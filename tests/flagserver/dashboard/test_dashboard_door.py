"""Who gets in, for how long, and what a foreign page can do: nothing."""

import re

import pytest

from flagserver.app import create_app
from flagserver.auth import Role, Wish
from flagserver.auth.guards import BURST
from flagserver.auth.logins import LASTS
from flagserver.errors import StoreGoneError
from flagserver.services import assemble
from flagserver.settings import Settings
from flagserver.store import Store
from flagserver.views.dashboard.door import safe_target
from flagserver.views.dashboard.rendering import assets
from rampgate.machine.state import Phase
from tests.flagserver.dashboard.visitor import OURS, Forms, Visitor, text_of
from tests.flagserver.inside import Clock, Inside, new_rollout

PAGES = ("/ui/", "/ui/history", "/ui/flags", "/ui/flags/production/shop", "/ui/audit", "/ui/rollouts/ro_x")


@pytest.fixture
def visitor(inside: Inside) -> Visitor:
    return Visitor(inside)


def key_of(inside: Inside, role: Role) -> str:
    return inside.keys[role]


def test_without_a_login_every_page_leads_to_the_form_and_back(visitor: Visitor) -> None:
    for path in PAGES:
        reply = visitor.get(path)
        assert reply.status_code == 303
        assert reply.location == f"/ui/login?next={path.replace('/', '%2F')}"
    assert visitor.get("/").location == "/ui/"


def test_operators_and_admins_get_in_and_land_where_they_wanted_to_go(inside: Inside) -> None:
    for role in (Role.OPERATOR, Role.ADMIN):
        visitor = Visitor(inside)
        reply = visitor.login(key_of(inside, role), target="/ui/history?flag=shop")
        assert (reply.status_code, reply.location) == (303, "/ui/history?flag=shop")
        assert visitor.get("/ui/history").status_code == 200


def test_keys_of_apps_do_not_open_it(inside: Inside, visitor: Visitor) -> None:
    for role in (Role.SDK, Role.CLIENT):
        reply = visitor.login(key_of(inside, role))
        assert reply.status_code == 403
        assert f"role is {role}" in text_of(reply)
        assert visitor.get("/ui/").status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(inside: Inside, visitor: Visitor) -> None:
    cookie = visitor.login(key_of(inside, Role.OPERATOR)).headers["Set-Cookie"]
    assert cookie.startswith("rampgate_login=")
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={int(LASTS)}"):
        assert part in cookie
    assert "Domain" not in cookie
    headers = OURS | {"X-Forwarded-Proto": "https"}
    safe = visitor.post("/ui/login", {"key": key_of(inside, Role.OPERATOR)}, headers).headers["Set-Cookie"]
    assert safe.startswith("__Host-rampgate_login=")
    assert "Secure" in safe


def test_the_database_never_sees_what_the_browser_has(inside: Inside, visitor: Visitor) -> None:
    cookie = visitor.login(key_of(inside, Role.OPERATOR)).headers["Set-Cookie"]
    secret = cookie.split("=")[1].split(";")[0]
    path = inside.services.store.url.database
    assert path is not None
    with open(path, "rb") as database:
        held = database.read()
    assert secret.encode() not in held
    assert key_of(inside, Role.OPERATOR).split("_", 3)[3].encode() not in held


def test_a_login_ends_with_its_key_after_twelve_hours_and_when_the_person_leaves(inside: Inside) -> None:
    made = inside.services.keyring.create(Wish(role=Role.OPERATOR, environment="production", name="ada"), by="test")
    first, second, third = (Visitor(inside) for _ in range(3))
    for one in (first, second, third):
        one.login(made.text)
    assert first.send(first.get("/ui/"), "/ui/logout").status_code == 303
    assert [one.get("/ui/").status_code for one in (first, second)] == [303, 200]
    inside.clock.go(LASTS - 1)
    assert second.get("/ui/").status_code == 200
    inside.clock.go(2)
    assert second.get("/ui/").status_code == 303
    third.login(made.text)
    assert third.get("/ui/").status_code == 200
    inside.services.keyring.revoke(made.record.selector, by="test")
    assert third.get("/ui/").status_code == 303


def test_a_login_is_good_on_every_replica_and_ends_when_the_servers_own_admin_key_is_changed(
    sqlite_url: str, clock: Clock
) -> None:
    key = "a-secret-of-more-than-thirty-two-characters"
    one, other, changed = (
        assemble(Settings(database_url=sqlite_url, admin_key=text), clock=clock) for text in (key, key, key + "!")
    )
    browser = create_app(one).test_client()
    cookie = browser.post("/ui/login", data={"key": key}, headers=OURS).headers["Set-Cookie"].split(";")[0]
    codes = [
        create_app(each).test_client(use_cookies=False).get("/ui/", headers={"Cookie": cookie}).status_code
        for each in (other, changed)
    ]
    assert codes == [200, 303]
    for each in (one, other, changed):
        each.store.close()


def test_whoever_guesses_must_wait_and_whoever_has_a_key_never(inside: Inside, visitor: Visitor) -> None:
    wrong = f"rg_admin_{'0' * 12}_{'A' * 43}"
    codes = [visitor.login(wrong).status_code for _ in range(BURST + 1)]
    assert codes == [401] * BURST + [429]
    reply = visitor.login(wrong)
    assert int(reply.headers["Retry-After"]) > 0
    assert visitor.login(key_of(inside, Role.OPERATOR)).status_code == 303


FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost.evil.example"},
)


def test_forms_of_other_sites_are_refused(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    visitor.login(key_of(inside, Role.OPERATOR))
    path = f"/ui/rollouts/{rollout.id}/abort"
    form = Forms(visitor.get(f"/ui/rollouts/{rollout.id}").text).found[path]
    for headers in FOREIGN:
        assert visitor.post("/ui/login", {"key": key_of(inside, Role.OPERATOR)}, headers).status_code == 403
        assert visitor.post(path, form, headers).status_code == 403
    assert inside.look(rollout).state.phase is Phase.DEPLOYING
    assert visitor.post(path, form).status_code == 303


def test_a_form_without_its_logins_token_is_refused(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    visitor.login(key_of(inside, Role.OPERATOR))
    for token in ("", "0" * 64, "ü"):
        for word in ("abort", "pause", "promote"):
            form = {"token": token, "revision": "1"}
            assert visitor.post(f"/ui/rollouts/{rollout.id}/{word}", form).status_code == 403
    other = Visitor(inside)
    other.login(key_of(inside, Role.ADMIN))
    theirs = Forms(other.get("/ui/").text).found["/ui/logout"]
    assert visitor.post("/ui/logout", theirs).status_code == 403
    assert inside.look(rollout).state.phase is Phase.DEPLOYING


def test_orders_are_never_taken_from_a_link(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    visitor.login(key_of(inside, Role.OPERATOR))
    assert visitor.get(f"/ui/rollouts/{rollout.id}/abort").status_code == 404
    assert visitor.get("/ui/logout").status_code == 404
    assert inside.look(rollout).state.phase is Phase.DEPLOYING


def test_every_page_forbids_scripts_frames_and_guesses_and_is_not_stored(inside: Inside, visitor: Visitor) -> None:
    visitor.login(key_of(inside, Role.OPERATOR))
    for path in (*PAGES, "/ui/login", "/ui/nothing", "/"):
        headers = visitor.get(path).headers
        policy = headers["Content-Security-Policy"]
        for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"):
            assert part in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_no_page_holds_a_script_or_a_style_of_its_own(inside: Inside, visitor: Visitor) -> None:
    rollout = inside.create(new_rollout())
    inside.to_step(rollout)
    visitor.login(key_of(inside, Role.OPERATOR))
    for path in (*PAGES[:-1], f"/ui/rollouts/{rollout.id}", "/ui/login"):
        page = visitor.get(path).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", page)
        for address in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert address.startswith(("/ui", "#", "https://"))


def test_files_are_named_by_their_content_and_kept_for_ever(visitor: Visitor) -> None:
    for name, asset in assets().items():
        reply = visitor.get(f"/ui/static/{asset.version}/{name}")
        assert (reply.status_code, reply.data) == (200, asset.body)
        assert "immutable" in reply.headers["Cache-Control"]
    assert visitor.get("/ui/static/000000000000/live.js").status_code == 404
    assert visitor.get("/ui/static/x/..%2f..%2fapp.py").status_code == 404


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/ui//evil.example", "/\\evil.example", "/ui/../v1/keys", "/v1"],
)
def test_a_login_leads_to_pages_of_the_dashboard_alone(target: str) -> None:
    assert safe_target(target) == "/ui/"
    assert safe_target("/ui/rollouts/ro_1?x=1") == "/ui/rollouts/ro_1?x=1"


def test_a_link_from_elsewhere_is_followed_a_second_time_with_the_cookie(visitor: Visitor) -> None:
    """A strict cookie is not sent when a comment on another site links here."""
    reply = visitor.get("/ui/rollouts/ro_1", Sec_Fetch_Site="cross-site")
    assert reply.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/ui/rollouts/ro_1">' in reply.text
    assert visitor.get("/ui/rollouts/ro_1", Sec_Fetch_Site="same-origin").status_code == 303


def test_a_name_that_would_not_show_and_a_form_too_large_are_refused(inside: Inside, visitor: Visitor) -> None:
    key = key_of(inside, Role.OPERATOR)
    assert visitor.login(key, name="x" * 81).status_code == 422
    assert visitor.login(key, name="a\u202eb").status_code == 422
    assert visitor.login(key, name="x" * 20_000).status_code == 413


def test_without_the_database_the_page_says_what_is_served_and_what_works(
    inside: Inside, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.login(key_of(inside, Role.OPERATOR))

    def gone(_store: Store) -> None:
        raise StoreGoneError("The database cannot be reached.")

    monkeypatch.setattr(Store, "read", gone)
    reply = visitor.get("/ui/")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "5")
    assert "An abort works all the same" in text_of(reply)


def test_a_fault_tells_a_browser_nothing(inside: Inside, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.login(key_of(inside, Role.OPERATOR))

    def broken(_store: Store) -> None:
        raise RuntimeError("secret-of-the-house")

    monkeypatch.setattr(Store, "read", broken)
    reply = visitor.get("/ui/")
    assert reply.status_code == 500
    assert "secret-of-the-house" not in reply.text
