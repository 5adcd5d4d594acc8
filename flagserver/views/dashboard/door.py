"""The dashboard's door: cookies, forms that only our own pages can send, and what every answer forbids a browser.

A login is `flagserver.auth.logins`'; this is how it travels.
"""

import hmac
import re
from urllib.parse import quote, urlsplit

from flask import Request, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from flagserver.auth import Login
from flagserver.auth.logins import LASTS
from flagserver.errors import NotAllowedError

COOKIE = "rampgate_login"
SAFE_COOKIE = f"__Host-{COOKIE}"
"""Over https: a browser takes this name only with Secure, for the whole host, and from no other host."""

MOST_FORM = 16 * 1024
"""Bytes of the largest form."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it a browser sends `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_HERE = re.compile(r"/ui(/[A-Za-z0-9._~%/-]*)?(\?[A-Za-z0-9._~%&=+-]*)?")


def guarded(response: Response) -> Response:
    """The response with everything that it forbids."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def over_https(asked: Request) -> bool:
    """Whether the browser came by https. A proxy says so; who lies about it keeps its own cookie from working."""
    return asked.is_secure or asked.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() == "https"


def secret_of(asked: Request) -> str:
    """The login's secret that the browser has; empty: none."""
    return asked.cookies.get(SAFE_COOKIE if over_https(asked) else COOKIE, "")


def let_in(response: Response, login: Login) -> Response:
    """Hand the browser its cookie."""
    secure = over_https(request)
    response.set_cookie(
        SAFE_COOKIE if secure else COOKIE, login.secret, max_age=int(LASTS), path="/", httponly=True, samesite="Strict",
        secure=secure,
    )  # fmt: skip
    return response


def let_out(response: Response) -> Response:
    """Take the cookie away."""
    secure = over_https(request)
    name = SAFE_COOKIE if secure else COOKIE
    response.delete_cookie(name, path="/", httponly=True, samesite="Strict", secure=secure)
    return response


def from_our_own_page(asked: Request) -> None:
    """Refuse a form that another site sent.

    Raises:
        NotAllowedError: the browser says that it did, or says nothing.
    """
    site, origin = asked.headers.get("Sec-Fetch-Site"), asked.headers.get("Origin")
    foreign = (site is not None and site != "same-origin") or (
        origin is not None and urlsplit(origin).netloc.lower() != asked.host.lower()
    )
    if foreign or (site is None and origin is None):
        raise NotAllowedError("This form did not come from the dashboard's own page.", code="foreign_form")


def with_token(asked: Request, login: Login) -> None:
    """Refuse a form of ours that does not carry the login's token.

    Raises:
        NotAllowedError: it does not.
    """
    from_our_own_page(asked)
    if not hmac.compare_digest(asked.form.get("token", "").encode(), login.token.encode()):
        raise NotAllowedError("This page is of an earlier login. Load it again, and try once more.", code="token")


def safe_target(text: str) -> str:
    """Where to go after the login: a page of the dashboard, whatever was asked for."""
    return text if _HERE.fullmatch(text) and "//" not in text and ".." not in text else "/ui/"


def to_login(asked: Request) -> AnyResponse:
    """The way to the login form, and back."""
    here = asked.full_path.rstrip("?") if asked.method == "GET" else "/ui/"
    return redirect(f"/ui/login?next={quote(safe_target(here), safe='')}", 303)


def came_from_elsewhere(asked: Request) -> bool:
    """Whether a link on another site led here: then a strict cookie is not sent, although the browser may have it."""
    return asked.method == "GET" and asked.headers.get("Sec-Fetch-Site") == "cross-site"
