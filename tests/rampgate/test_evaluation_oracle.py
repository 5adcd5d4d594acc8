"""Our answers against those of flagd's own evaluator for Python, on random documents and contexts."""

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings

from rampgate.evaluation import compile_flags
from rampgate.flags import read, write
from tests.rampgate.oracle.documents import NOW, contexts, documents
from tests.rampgate.oracle.reference import answer, ours, theirs

relaxed = settings(
    deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@relaxed
@given(document=documents, context=contexts)
def test_we_answer_as_flagd_does(document: Any, context: Any) -> None:
    assert ours(document, "checkout", context, NOW) == theirs(document, "checkout", context, NOW)


@relaxed
@given(document=documents, context=contexts)
def test_the_fast_path_says_what_an_evaluation_says(document: Any, context: Any) -> None:
    key = context.get("targetingKey", "")
    for flag in compile_flags(read(document)).values():
        slow = flag.evaluate({"targetingKey": key})
        assert (flag.value_for(key), flag.variant_for(key)) == (slow.value, slow.variant)


@relaxed
@given(document=documents, context=contexts)
def test_neither_the_document_nor_the_context_is_changed(document: Any, context: Any) -> None:
    before = copy.deepcopy((document, context))
    for flag in compile_flags(read(document)).values():
        flag.evaluate(context, NOW)
    assert (document, context) == before


@relaxed
@given(document=documents, context=contexts)
def test_a_document_that_was_written_answers_as_the_one_that_was_read(document: Any, context: Any) -> None:
    flagset = read(document)
    again = read(write(flagset))
    assert again == flagset
    for key, flag in compile_flags(again).items():
        assert answer(flag.evaluate(context, NOW)) == ours(document, key, context, NOW)
