"""The judge alone, as JSON lines."""

import json

import pytest

from gate.judge import lines


def spoken(*documents):
    begun, answers = None, []
    for document in documents:
        begun, said = lines.answer(begun, document if isinstance(document, str) else json.dumps(document))
        if said is not None:
            answers.append(said)
    return answers


def poll(number, canary, stable, *, stage=0, share=0.1, **more):
    arms = {"canary": canary, "stable": stable}
    counted = {
        name: None if one is None else {"requests": one[0], "errors": one[1], **more} for name, one in arms.items()
    }
    return {"t": 60.0 * number, "poll": number, "stage": stage, "share": share, **counted}


START = {"start": {"alpha": 0.05, "margin": 1.2, "planned_polls": 60, "stages": 3}}


def test_a_start_is_not_answered_and_every_poll_is_with_these_four():
    answers = spoken(START, *(poll(n, (600 * n, 6 * n), (5400 * n, 54 * n)) for n in range(9)))

    assert [list(one) for one in answers] == [["decision", "outcome", "reason", "e"]] * 9
    assert [one["decision"] for one in answers] == ["continue"] * 5 + ["promote"] * 4
    assert answers[-1]["outcome"] == "healthy"
    assert 0.0 < answers[-1]["e"] < 1.0


def test_a_bad_canary_is_reverted_and_stays_so_until_the_next_start():
    bad = [poll(n, (600 * n, 60 * n), (5400 * n, 54 * n)) for n in range(5)]
    answers = spoken(START, *bad, START, bad[0], bad[1])

    assert [one["decision"] for one in answers] == ["continue"] * 2 + ["revert"] * 3 + ["continue"] * 2
    assert answers[2]["e"] >= 20.0


def test_counters_may_start_again_repeat_or_be_missing_for_a_while():
    good = (600, 6), (5400, 54)
    answers = spoken(
        START,
        poll(0, (0, 0), (0, 0)),
        poll(1, *good),
        poll(1, *good),
        poll(2, None, None),
        {"t": 180.0, "stage": 0, "share": 0.1},
        {**poll(4, *good), "canary": {"requests": None}},
        poll(5, (1800, 18), (16200, 162)),
        poll(6, (500, 5), (4500, 45)),
        poll(7, (1100, 11), (9900, 99)),
    )

    assert {one["decision"] for one in answers} == {"continue"}


def test_a_share_of_one_has_no_baseline_and_is_judged_by_what_stable_was():
    before = [poll(n, (600 * n, 6 * n), (5400 * n, 54 * n)) for n in range(6)]
    after = [poll(6 + n, (3000 + 6000 * n, 30 + 900 * n), (27000, 270), stage=2, share=1.0) for n in range(6)]
    answers = spoken(START, *before, *after)

    assert (answers[-1]["decision"], answers[-1]["reason"]) == ("revert", "errors_higher")


def test_affected_users_are_judged_instead_of_errors_where_they_are_told():
    storm = [poll(n, (600 * n, 60 * n), (5400 * n, 54 * n), affected_users=n) for n in range(9)]
    for n, document in enumerate(storm):
        document["stable"]["affected_users"] = 9 * n

    assert "revert" not in {one["decision"] for one in spoken(START, *storm)}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ({"start": 3}, "start"),
        ({"start": {"alpha": 2}}, "alpha"),
        ({"start": {"exclude": [3]}}, "exclude"),
        ({"start": {"stages": 0}}, "stages"),
        ({"start": {"hold_back": 1}}, "hold_back"),
        ({**poll(1, (1, 0), (1, 0)), "t": None}, "t"),
        ({**poll(1, (1, 0), (1, 0)), "stage": 3}, "stage"),
        ({**poll(1, (1, 0), (1, 0)), "share": 10}, "share"),
        ({**poll(1, (1, 0), (1, 0)), "canary": [1]}, "canary"),
        (poll(1, (1.5, 0), (1, 0)), "canary.requests"),
        (poll(1, (1, -1), (1, 0)), "canary.errors"),
        ('{"t": NaN, "share": 0.1}', "t"),
    ],
)
def test_a_line_that_is_none_is_refused_with_what_is_wrong(line, named):
    with pytest.raises(lines.LineError, match=named):
        spoken(START, line)


def test_a_poll_that_cannot_be_read_is_answered_and_is_never_a_pass():
    begun, _ = lines.answer(None, json.dumps(START))
    for number in range(20):
        begun, said = lines.answer(
            begun, json.dumps(poll(number, (600 * number, 6 * number), (5400 * number, 54 * number)))
        )
    assert said["decision"] == "promote"
    with pytest.raises(lines.PollError) as caught:
        lines.answer(begun, "\x00 garbage")
    begun, said = lines.unread(begun, caught.value)
    assert (said["decision"], said["outcome"], said["reason"]) == ("continue", "source_down", "source_unreadable")


def test_harm_that_was_found_outlasts_a_line_that_cannot_be_read():
    begun, _ = lines.answer(None, json.dumps(START))
    for number in range(6):
        begun, said = lines.answer(
            begun, json.dumps(poll(number, (600 * number, 300 * number), (5400 * number, 54 * number)))
        )
    assert said["decision"] == "revert"
    assert lines.unread(begun, lines.PollError("garbage"))[1]["decision"] == "revert"


def test_a_poll_before_any_start_is_refused():
    with pytest.raises(lines.LineError, match="begins"):
        spoken(poll(0, (0, 0), (0, 0)))


def test_settings_that_mean_nothing_here_are_named_and_left_aside():
    begun = lines.started({"alpha": 0.05, "plannedPolls": 3})

    assert begun.unknown == ("plannedPolls",)
    assert lines.meant("plannedPolls") == "planned_polls"
