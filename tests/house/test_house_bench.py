"""What is measured is what is served: the flags of the benchmarks are those that the flag server publishes."""

import runpy

from flagserver.lists import Lists, targeting
from tests.house.tree import ROOT


def test_the_flag_that_lookups_are_measured_with_is_the_one_that_the_server_publishes() -> None:
    flag = runpy.run_path(str(ROOT / "bench/lookup_bench.py"))["percentage"](10_000, "the rollout:")
    assert flag["targeting"] == targeting("the rollout:", "on", "off", 10_000, Lists(), {})
    assert flag["defaultVariant"] == "off"
