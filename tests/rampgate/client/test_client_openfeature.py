"""The OpenFeature provider, through OpenFeature's own SDK, held to its specification and provider conformance suite.

Numbers in brackets are requirements of the OpenFeature specification; the flags are the conformance suite's kinds.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from rampgate import FlagClient
from rampgate.client.openfeature import RampgateProvider
from rampgate.client.testing import FixedFlags
from tests.rampgate.client.scripted import Scripted

KEY = "rg_sdk_a_b"
ROOT = Path(__file__).parents[3]


GETTERS = {bool: "boolean", str: "string", int: "integer", float: "float", dict: "object", list: "object"}


def details(client: OpenFeatureClient, flag: str, default: Any, context: EvaluationContext | None = None) -> Any:
    """What the SDK says, the same whether asked synchronously or not."""
    name = f"get_{GETTERS[type(default)]}_details"
    found = getattr(client, name)(flag, default, context)
    assert asyncio.run(getattr(client, f"{name}_async")(flag, default, context)) == found
    return found


@pytest.mark.parametrize(
    ("flag", "default", "value", "variant"),
    [
        ("boolean", False, True, "on"),
        ("string", "bye", "hi", "greeting"),
        ("integer", 1, 10, "ten"),
        ("float", 0.1, 0.5, "half"),
        ("zero-boolean", True, False, "zero"),
        ("zero-integer", 1, 0, "zero"),
        ("zero-string", "fallback", "", "zero"),
        ("large", 1, 2147483647, "max-int32"),
        ("huge", 1, 9007199254740991, "max-safe"),
        ("whole-float", 1, 10, "ten"),
        ("integer", 0.1, 10.0, "ten"),
        ("object", {}, {"showImages": True, "title": "pics", "imagesPerPage": 100}, "template"),
        ("object", [], {"showImages": True, "title": "pics", "imagesPerPage": 100}, "template"),
    ],
)
def test_a_value_comes_with_its_variant_and_reason_and_no_error(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient], flag: str, default: Any, value: Any, variant: str
) -> None:
    """[2.2.3 to 2.2.6, 2.3.2] falsy values, whole floats and large integers too."""
    found = details(provide(conforming), flag, default)
    assert (found.value, type(found.value)) == (value, type(value))
    assert (found.variant, found.reason, found.error_code, found.error_message) == (variant, Reason.STATIC, None, None)


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        *(("string", default) for default in (False, 1, 0.1, {})),
        *(("boolean", default) for default in ("fallback", 1, 0.1, {})),
        *(("integer", default) for default in (False, "fallback", {})),
        *(("float", default) for default in (False, "fallback", 1)),
        *(("object", default) for default in (False, "fallback", 1, 0.1)),
    ],
)
def test_another_type_gives_the_apps_default_and_says_so(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient], flag: str, default: Any
) -> None:
    """[2.2.7] and 0.5 is never narrowed to a whole number."""
    found = details(provide(conforming), flag, default)
    assert (found.value, found.reason, found.error_code) == (default, Reason.ERROR, ErrorCode.TYPE_MISMATCH)


@pytest.mark.parametrize("default", [False, "fallback", 1, 0.1, {"a": 1}, [1]])
def test_an_unknown_flag_gives_the_apps_default_and_says_so(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient], default: Any
) -> None:
    """[2.2.7]"""
    found = details(provide(conforming), "missing", default)
    assert (found.value, found.reason, found.error_code) == (default, Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)
    assert found.variant is None


@pytest.mark.parametrize(("flag", "reason"), [("disabled", Reason.DISABLED), ("codeless", Reason.DEFAULT)])
def test_a_disabled_flag_and_one_without_a_default_leave_the_app_its_own(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient], flag: str, reason: Reason
) -> None:
    found = details(provide(conforming), flag, False)
    assert (found.value, found.variant, found.reason, found.error_code) == (False, None, reason, None)


def test_the_context_reaches_the_rules(conforming: Scripted, provide: Callable[..., OpenFeatureClient]) -> None:
    """[2.2.1] with attributes or without, and without a context too."""
    client = provide(conforming)
    hit = details(client, "targeted", "", EvaluationContext("ada"))
    assert (hit.value, hit.reason) == ("hit", Reason.TARGETING_MATCH)
    assert details(client, "targeted", "", EvaluationContext("ada", {"plan": "free"})).value == "hit"
    assert details(client, "targeted", "", EvaluationContext(None, {"targetingKey": "ada"})).value == "hit"
    for other in (EvaluationContext("bob"), EvaluationContext(attributes={"plan": "free"}), None):
        missed = details(client, "targeted", "", other)
        assert (missed.value, missed.reason, missed.error_code) == ("miss", Reason.DEFAULT, None)


def test_contexts_are_merged_the_nearest_wins_and_outcomes_are_the_merged_users(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient]
) -> None:
    """[3.2.3] API, transaction, client, invocation, in this order."""
    provide(conforming)
    client = OpenFeatureClient(None, None, context=EvaluationContext(attributes={"joined": "2025-07-03"}))
    try:
        api.set_evaluation_context(EvaluationContext("bob", {"joined": "2025-01-01"}))
        assert details(client, "since", "").value == "late", "the client's context is nearer than the API's"
        assert details(client, "targeted", "").value == "miss"
        assert details(client, "targeted", "", EvaluationContext("ada")).value == "hit", "the invocation's is nearest"
        assert details(client, "since", "", EvaluationContext(attributes={"joined": "2025-01-01"})).value == "early"
        variant = details(client, "shop", "").variant
        client.track("shop", tracking_event_details=TrackingEventDetails(attributes={"ok": False}))
        api.shutdown()
        assert conforming.counted("errors", variant=variant) == conforming.counted("errors") == 1
    finally:
        api.set_evaluation_context(EvaluationContext())


def test_a_domain_has_its_own_provider_and_the_rest_share_the_default(conforming: Scripted) -> None:
    """[1.1.3]"""
    with FixedFlags({"boolean": False}) as ours, FlagClient(conforming.url, KEY) as theirs:
        try:
            api.set_provider_and_wait(RampgateProvider(ours))
            api.set_provider_and_wait(RampgateProvider(theirs), "payments")
            assert details(api.get_client("payments"), "boolean", False).value is True
            assert details(api.get_client("elsewhere"), "boolean", True).value is False
        finally:
            api.clear_providers()


def test_a_moment_in_the_context_is_compared_as_text(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient]
) -> None:
    """[3.1.2] a context may hold datetimes, nested ones too, which JSON logic does not know."""
    joined = {"joined": datetime(2025, 7, 1, tzinfo=UTC), "visits": [datetime(2025, 7, 2, tzinfo=UTC)], "at": {"x": 1}}
    client = provide(conforming)
    assert details(client, "targeted", "", EvaluationContext("ada", joined)).value == "hit"
    assert details(client, "since", "", EvaluationContext("ada", joined)).value == "late"


def test_flag_metadata_is_passed_on(conforming: Scripted, provide: Callable[..., OpenFeatureClient]) -> None:
    """[2.2.9, 2.2.10]"""
    found = details(provide(conforming), "described", False)
    assert dict(found.flag_metadata) == {"owner": "checkout", "tier": 1, "ratio": 0.5, "live": True}


def test_the_provider_says_its_name(conforming: Scripted, provide: Callable[..., OpenFeatureClient]) -> None:
    """[2.1.1]"""
    provide(conforming)
    assert api.get_provider_metadata().name == "rampgate"


def test_the_apps_own_client_stays_open_and_has_handed_in_what_it_counted(conforming: Scripted) -> None:
    """[2.7.1] tracking data is flushed before shutdown."""
    with FlagClient(conforming.url, KEY) as client:
        api.set_provider_and_wait(RampgateProvider(client))
        api.get_client().track("shop", EvaluationContext("ada"), TrackingEventDetails(attributes={"ok": False}))
        api.shutdown()
        assert conforming.counted("requests") == conforming.counted("errors") == 1
        assert client.boolean("boolean", False, "ada") is True


def test_a_lookup_counts_an_exposure_and_a_tracking_event_an_outcome(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient]
) -> None:
    """[6.1.1, 2.7.1] by flag, or by the app's own event names."""
    client = provide(conforming, outcomes={"paid": ["shop"]})
    ada = EvaluationContext("ada", {"plan": "free"})
    variant = client.get_string_details("shop", "", ada).variant
    slow = TrackingEventDetails(99.5, {"ms": 12, "variant": str(variant)})
    client.track("paid", ada, slow)
    client.track("shop", ada, TrackingEventDetails(attributes={"ok": False, "ms": "long", "variant": 7}))
    client.track("shop", ada)
    client.track("nobody asked", ada)
    api.shutdown()
    counted = {what: conforming.counted(what, variant=variant) for what in ("exposures", "requests", "errors")}
    assert counted == {"exposures": 1, "requests": 3, "errors": 1}
    assert conforming.counted("requests") == 3
    timed = [entry["latency_ms"] for batch in conforming.applied.values() for entry in batch["counts"]]
    assert sum(sum(each["counts"]) for each in timed if each) == 1


def test_within_observe_the_variant_is_kept(conforming: Scripted) -> None:
    with FlagClient(conforming.url, KEY) as native:
        api.set_provider_and_wait(RampgateProvider(native), "pinned")
        client = api.get_client("pinned")
        with native.observe("shop", "ada") as assignment:
            assert client.get_string_value("shop", "", EvaluationContext("ada")) == assignment.value
            client.track("shop", EvaluationContext("ada"), TrackingEventDetails(attributes={"ok": False}))
        assert native.flush()
        assert (conforming.counted("exposures"), conforming.counted("requests"), conforming.counted("errors")) == (
            1,
            1,
            1,
        )
        api.shutdown()


def test_whatever_a_context_holds_no_lookup_raises(
    conforming: Scripted, provide: Callable[..., OpenFeatureClient]
) -> None:
    client = provide(conforming)
    for attributes in (
        {"a": object()},
        {"targetingKey": 5},
        {"targetingKey": None},
        {"x": {1: {2}}},
        {"\ud800": "\ud800"},
    ):
        found = client.get_string_details("targeted", "mine", EvaluationContext(None, attributes))  # type: ignore[arg-type]
        assert found.value in ("miss", "mine")
    assert client.get_string_details("shop", "mine", EvaluationContext("\ud800")).value == "mine"
