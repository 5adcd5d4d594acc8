"""The pictures, line by line. `RAMPGATE_UPDATE_GOLDEN=1 pytest tests/flagserver/dashboard` makes the files anew."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagserver.views.dashboard.drawing import POINTS, Curve, Seen, evidence_picture, rates_picture, share_picture
from flagserver.views.dashboard.ramp import ramp
from rampgate.plan import WHOLE
from tests.agreed import hold_to
from tests.gate.report.story import NOON, STORIES

moments = st.floats(min_value=NOON - 10, max_value=NOON + 5000)
counted = st.none() | st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)).map(lambda pair: (max(pair), min(pair)))
looked = st.builds(Seen, at=moments, harm=st.none() | st.floats(-50, 50), stable=counted, canary=counted)
curves = st.builds(
    Curve,
    begins=st.just(NOON),
    ends=st.floats(min_value=NOON, max_value=NOON + 4000),
    now=st.none() | moments,
    shares=st.lists(st.tuples(moments, st.integers(0, WHOLE)), max_size=8).map(tuple),
    ahead=st.lists(st.tuples(moments, st.integers(0, WHOLE)), max_size=5).map(tuple),
    seen=st.lists(looked, max_size=5).map(tuple),
    marks=st.lists(st.integers(1, WHOLE), max_size=4).map(tuple),
)


def pictures(curve: Curve) -> list[str]:
    return [share_picture(curve, "v2"), evidence_picture(curve, reverts_at=20.0), rates_picture(curve)]


@pytest.mark.parametrize("name", ["ramping", "waiting", "completing", "reverted"])
def test_the_pictures_are_drawn_as_agreed(name: str) -> None:
    story = STORIES[name]()
    curve = ramp(story.rollout(), story.entries, None, story.now).curve
    hold_to(f"dashboard-{name}.svg.txt", "\n".join(pictures(curve)) + "\n")


@settings(max_examples=40)
@given(curve=curves)
def test_whatever_was_seen_the_pictures_are_sound_and_stay_in_their_frame(curve: Curve) -> None:
    for drawn in pictures(curve):
        root = ET.fromstring(drawn)
        assert root.get("aria-label")
        assert "nan" not in drawn
        assert "inf" not in drawn
        for one in root.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert 0.0 <= float((one.get(name) or "0").rstrip("%")) <= 100.0


def test_other_peoples_words_are_escaped_in_a_picture() -> None:
    curve = Curve(begins=NOON, ends=NOON + 60, now=NOON, shares=((NOON, 0),))
    drawn = share_picture(curve, '"><script>alert(1)</script>')
    assert "<script" not in drawn
    ET.fromstring(drawn)


def test_a_long_ramp_is_thinned_and_its_worst_moment_is_kept() -> None:
    seen = tuple(
        Seen(at=NOON + number, harm=0.9 if number == 777 else 0.1, stable=(100, 1), canary=(10, 0))
        for number in range(5000)
    )
    curve = Curve(begins=NOON, ends=NOON + 5000, now=None, shares=((NOON, 0),), seen=seen)
    alone = replace(curve, seen=seen[777:778])
    drawn, worst = evidence_picture(curve, reverts_at=20.0), evidence_picture(alone, reverts_at=20.0)
    assert drawn.count(" L") <= POINTS + 1
    assert worst.split('d="M')[1].split('"')[0] in drawn
