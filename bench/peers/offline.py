"""How each peer is set up without its vendor. Imports stand in the functions: one that is missing spoils no other."""

# ruff: noqa: PLC0415
import base64
import copy
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from peers import Ask, Stand

KEY = "bench"


def _folder(stand: Stand) -> Path:
    folder = tempfile.TemporaryDirectory()
    stand.endings.append(folder.cleanup)
    return Path(folder.name)


def statsig(stand: Stand) -> Ask:
    from statsig_python_core import FeatureGateEvaluationOptions, Statsig, StatsigOptions, StatsigUser

    rule = {"passPercentage": 10, "returnValue": True, "conditions": ["all"], "idType": "userID"}
    gates = {
        name: {
            "type": "feature_gate",
            "salt": name,
            "defaultValue": False,
            "enabled": True,
            "idType": "userID",
            "entity": "feature_gate",
            "rules": [{**rule, "name": "ten", "id": f"{name}:ten", "salt": f"{name}:ten"}],
        }
        for name in stand.names
    }
    anybody = {"type": "public", "targetValue": None, "operator": None, "field": None, "idType": "userID"}
    document = {
        "feature_gates": gates,
        "dynamic_configs": {},
        "layer_configs": {},
        "condition_map": {"all": {**anybody, "additionalValues": {}}},
        "experiment_to_layer": {},
        "has_updates": True,
        "time": 1,
    }
    stand.serve(f"/{stand.flags}/specs/secret-{KEY}.json", document)
    options = StatsigOptions(specs_url=f"{stand.url}/{stand.flags}/specs", disable_all_logging=True)
    options.output_log_level = "none"
    client = Statsig(f"secret-{KEY}", options)
    client.initialize().wait()
    stand.endings.append(lambda: client.shutdown().wait())
    users = [StatsigUser(user) for user in stand.users]
    asked, quiet = stand.asked, FeatureGateEvaluationOptions(disable_exposure_logging=True)
    return lambda user: client.check_gate(user, asked, quiet), users


def configcat(stand: Stand) -> Ask:
    import configcatclient
    from configcatclient.configcatoptions import ConfigCatOptions
    from configcatclient.localfiledatasource import LocalFileFlagOverrides
    from configcatclient.overridedatasource import OverrideBehaviour
    from configcatclient.user import User

    def option(share: int, value: bool) -> dict[str, Any]:
        return {"p": share, "v": {"b": value}, "i": str(value)}

    flag = {"t": 0, "v": {"b": False}, "i": "off", "p": [option(10, True), option(90, False)]}
    path = _folder(stand) / "config_v6.json"
    path.write_text(json.dumps({"p": {"s": "salt"}, "f": {name: {**flag, "a": "Identifier"} for name in stand.names}}))
    overrides = LocalFileFlagOverrides(str(path), OverrideBehaviour.LocalOnly)
    client = configcatclient.get(f"localhost/{stand.flags}", ConfigCatOptions(flag_overrides=overrides))
    stand.endings.append(client.close)
    users = [User(user) for user in stand.users]
    asked = stand.asked
    return lambda user: client.get_value(asked, False, user), users


def growthbook(stand: Stand) -> Ask:
    from growthbook import GrowthBook

    rule = {"force": True, "coverage": 0.1, "hashAttribute": "id", "hashVersion": 2}
    features = {name: {"defaultValue": False, "rules": [{**rule, "seed": name}]} for name in stand.names}
    read = GrowthBook(features=features)
    asked = stand.asked

    def kept(user: str) -> GrowthBook:
        """An instance for each user, as its documentation wants it, without reading all features for each."""
        mine = copy.copy(read)
        mine.set_attributes({"id": user})
        return mine

    return lambda client: client.is_on(asked), [kept(user) for user in stand.users]


def flipt(stand: Stand) -> Ask:
    from flipt_client import FliptClient
    from flipt_client.models import ClientOptions, ErrorStrategy

    ten = {"type": "THRESHOLD_ROLLOUT_TYPE", "rank": 1, "threshold": {"percentage": 10.0, "value": True}}
    moments = {"createdAt": "2025-01-01T00:00:00Z", "updatedAt": "2025-01-01T00:00:00Z"}
    flag = {"description": "", "enabled": False, "type": "BOOLEAN_FLAG_TYPE", **moments, "rules": [], "rollouts": [ten]}
    flags = [{"key": name, "name": name, **flag} for name in stand.names]
    document = {"namespace": {"key": "default"}, "flags": flags}
    stand.serve("/internal/v1/evaluation/snapshot/namespace/default", document)
    client = FliptClient(
        ClientOptions(
            url=stand.url,
            error_strategy=ErrorStrategy.FALLBACK,
            snapshot=base64.b64encode(json.dumps(document).encode()).decode(),
            update_interval=86400,
        )
    )
    stand.endings.append(client.close)
    asked, nothing = stand.asked, dict[str, str]()
    return lambda user: client.evaluate_boolean(asked, user, nothing).enabled, stand.users


def launchdarkly(stand: Stand) -> Ask:
    from ldclient import Context, LDClient
    from ldclient.config import Config
    from ldclient.integrations import Files

    logging.getLogger("ldclient").setLevel(logging.CRITICAL)
    rollout = {"variations": [{"variation": 0, "weight": 10_000}, {"variation": 1, "weight": 90_000}]}
    flag = {"on": True, "variations": [True, False], "offVariation": 1, "fallthrough": {"rollout": rollout}}
    flags = {name: {"key": name, "version": 1, "salt": name, **flag} for name in stand.names}
    path = _folder(stand) / "flags.json"
    path.write_text(json.dumps({"flags": flags}))
    source = Files.new_data_source(paths=[str(path)])
    client = LDClient(Config(KEY, update_processor_class=source, send_events=False))
    stand.endings.append(client.close)
    users = [Context.create(user) for user in stand.users]
    asked = stand.asked
    return lambda user: client.variation(asked, user, False), users


def unleash(stand: Stand) -> Ask:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    split = {"rollout": "10", "stickiness": "default"}
    features = [
        {
            "name": name,
            "type": "release",
            "enabled": True,
            "strategies": [{"name": "flexibleRollout", "parameters": {**split, "groupId": name}}],
        }
        for name in stand.names
    ]
    cache = FileCache(f"bench-{stand.flags}", str(_folder(stand)))
    cache.bootstrap_from_dict({"version": 2, "features": features})
    client = UnleashClient(
        url=stand.url,
        app_name=f"bench-{stand.flags}",
        cache=cache,
        disable_metrics=True,
        disable_registration=True,
    )
    client.initialize_client(fetch_toggles=False)
    stand.endings.append(client.destroy)
    users = [{"userId": user} for user in stand.users]
    asked = stand.asked
    return lambda user: client.is_enabled(asked, user), users


def flagd(stand: Stand) -> Ask:
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"fractional": [["on", 10], ["off", 90]]},
    }
    core = FlagdCore()
    core.set_flags(json.dumps({"flags": dict.fromkeys(stand.names, flag)}))
    users = [EvaluationContext(user) for user in stand.users]
    asked = stand.asked
    return lambda user: core.resolve_boolean_value(asked, False, user).value, users


def posthog(stand: Stand) -> Ask:
    from posthog import Posthog

    filters = {"groups": [{"properties": [], "rollout_percentage": 10}]}
    flags = [{"id": number, "key": name, "active": True, "filters": filters} for number, name in enumerate(stand.names)]
    document = {"flags": flags, "group_type_mapping": {}, "cohorts": {}}
    for path in ("/api/feature_flag/local_evaluation", "/api/feature_flag/local_evaluation/", "/flags/definitions"):
        stand.serve(path, document)
    logging.getLogger("posthog").setLevel(logging.CRITICAL)
    client = Posthog(f"phc_{stand.flags}", host=stand.url, personal_api_key="phx_bench", poll_interval=86400)
    client.load_feature_flags()
    stand.endings.append(client.shutdown)
    asked = stand.asked

    def ask(user: str) -> object:
        return client.feature_enabled(asked, user, only_evaluate_locally=True, send_feature_flag_events=False)

    return ask, stand.users


def flagsmith(stand: Stand) -> Ask:
    from flagsmith import Flagsmith
    from flagsmith.offline_handlers import LocalFileHandler

    def state(number: int, enabled: bool) -> dict[str, Any]:
        feature = {"id": number, "name": f"flag-{number}", "type": "STANDARD"}
        return {
            "enabled": enabled,
            "feature_state_value": None,
            "feature": feature,
            "featurestate_uuid": f"{number:08x}-0000-4000-8000-{int(enabled):012x}",
            "multivariate_feature_state_values": [],
        }

    def segment(number: int) -> dict[str, Any]:
        split = {"operator": "PERCENTAGE_SPLIT", "property_": "", "value": "10"}
        rule = {"type": "ALL", "conditions": [], "rules": [{"type": "ANY", "conditions": [split], "rules": []}]}
        wins = {**state(number, True), "feature_segment": {"priority": 0}}
        return {"id": number + 1, "name": f"ten-{number}", "rules": [rule], "feature_states": [wins]}

    document = {
        "api_key": KEY,
        "name": "bench",
        "identity_overrides": [],
        "feature_states": [state(number, False) for number in range(stand.flags)],
        "project": {"id": 1, "name": "bench", "segments": [segment(number) for number in range(stand.flags)]},
    }
    path = _folder(stand) / "environment.json"
    path.write_text(json.dumps(document))
    client = Flagsmith(offline_mode=True, offline_handler=LocalFileHandler(str(path)))
    asked = stand.asked
    return lambda user: client.get_identity_flags(user).is_feature_enabled(asked), stand.users
