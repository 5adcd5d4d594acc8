"""A shop on Flask whose release is ramped. Every request counts for the version that served it.

RAMPGATE_URL=https://flags.example.com RAMPGATE_KEY=rg_sdk_… flask --app examples/flask/app run
"""

from flask import Flask, request

from rampgate.client.flask import Flags


def user() -> str | None:
    """Who asks; your session knows."""
    return request.headers.get("X-User")


app = Flask(__name__)
flags = Flags(app, flags=["shop"], user=user)


def average(version: str, items: int, total: float) -> float:
    if version == "green":
        # What a release gets wrong: an empty basket has no average.
        return total / items
    return total / items if items else 0.0


@app.get("/basket")
def basket() -> dict[str, object]:
    items = request.args.get("items", 1, int)
    total = request.args.get("total", 0.0, float)
    version = flags.client.string("shop", "blue", user() or "")
    shipping = 0 if flags.client.boolean("free-shipping", False, user() or "") else 5
    return {"version": version, "average": average(version, items, total), "shipping": shipping}
