"""What the shop shows."""

from django.http import HttpRequest, JsonResponse

from shop.flags import client


def average(version: str, items: int, total: float) -> float:
    if version == "green":
        # What a release gets wrong: an empty basket has no average.
        return total / items
    return total / items if items else 0.0


def basket(request: HttpRequest) -> JsonResponse:
    user = request.headers.get("X-User", "")
    items = int(request.GET.get("items", 1))
    total = float(request.GET.get("total", 0))
    version = client.string("shop", "blue", user)
    shipping = 0 if client.boolean("free-shipping", False, user) else 5
    return JsonResponse({"version": version, "average": average(version, items, total), "shipping": shipping})
