"""A shop on FastAPI whose release is ramped. Every request counts for the version that served it.

RAMPGATE_URL=https://flags.example.com RAMPGATE_KEY=rg_sdk_… uvicorn --app-dir examples/fastapi app:app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header

from rampgate import FlagClient
from rampgate.client.asgi import FlagMiddleware

client = FlagClient.from_env()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    # Servers may end without Python's own farewell: hand in here what was counted.
    client.close()


def user(scope: Any) -> str | None:
    """Who asks; your session knows."""
    found = dict(scope["headers"]).get(b"x-user")
    return None if found is None else found.decode("latin-1")


app = FastAPI(lifespan=lifespan)
app.add_middleware(FlagMiddleware, client=client, flag="shop", user=user)


def average(version: str, items: int, total: float) -> float:
    if version == "green":
        # What a release gets wrong: an empty basket has no average.
        return total / items
    return total / items if items else 0.0


@app.get("/basket")
async def basket(items: int = 1, total: float = 0.0, x_user: Annotated[str, Header()] = "") -> dict[str, object]:
    version = client.string("shop", "blue", x_user)
    shipping = 0 if client.boolean("free-shipping", False, x_user) else 5
    return {"version": version, "average": average(version, items, total), "shipping": shipping}
