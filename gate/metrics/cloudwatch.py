"""The source for Amazon CloudWatch: two metrics, summed for each arm over whole periods that end at one moment.

boto3 writes, signs and reads; the request itself goes over our own connection, which ends in time and follows nobody.
Source: the Amazon CloudWatch API reference, GetMetricData (which figures are kept for how long, StatusCode).
"""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import floor, fsum
from typing import Annotated, Any, ClassVar

from gate.fetch import Visit
from gate.foreign import cut
from gate.keys import As, Key
from gate.metrics.asking import (
    ARMS,
    Down,
    Login,
    Span,
    arrived,
    credential,
    delay_problems,
    refusal,
    span,
    timeout_problems,
    unreachable,
    unreadable,
    url_problems,
)
from gate.metrics.keys import AbsentErrors
from gate.metrics.queries import OF_AN_ARM, PLAIN, has, values
from gate.metrics.source import Gauge, Means, Question, Source, Wanted
from gate.metrics.store import Named, StoreGauge, StoreSource, Texts, main, place_of
from rampgate.criteria import MetricKind
from rampgate.evidence import ArmName
from rampgate.problem import Problem

HOUR = 3600.0
"""Whole hours are asked for as hours: of those CloudWatch keeps 15 months, of minutes 15 days."""

_THROTTLED = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "InternalServiceFault"})

Dimensions = Mapping[str, str | Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatchOptions:
    """Two metrics of one namespace, their dimensions with the arm in them, and how to be let in.

    ``period`` is the shortest one that the metrics have, in seconds; ``delay`` how long figures may take to arrive.
    """

    region: Annotated[str, Key(As.TEXT, "The AWS region.")]
    namespace: Annotated[str, Key(As.TEXT, "The metrics' namespace, such as AWS/ApplicationELB.")]
    dimensions: Annotated[Dimensions, Key(As.TEXT_BY_SLOT, "Dimension to value, or to one value for each slot.")]
    requests: Annotated[str, Key(As.TEXT, "The metric whose sum counts all requests.")] = ""
    errors: Annotated[str, Key(As.TEXT, "The metric whose sum counts failed requests.")] = ""
    period: Annotated[float, Key(As.DURATION, "The metrics' period.")] = 60.0
    delay: Annotated[float, Key(As.DURATION, "How late figures may arrive.")] = 120.0
    absent_errors: Annotated[AbsentErrors, Key(As.CHOICE, "What no errors found means: unknown, or zero.")] = (
        AbsentErrors.UNKNOWN
    )
    url: Annotated[str | None, Key(As.ADDRESS, "Where CloudWatch answers, if not at its own address.")] = None
    key_id_env: Annotated[str, Key(As.VARIABLE, "The variable that holds the access key's id.")] = "AWS_ACCESS_KEY_ID"
    secret_key_env: Annotated[str, Key(As.VARIABLE, "The variable that holds the secret access key.")] = (
        "AWS_SECRET_ACCESS_KEY"
    )
    session_token_env: Annotated[str, Key(As.VARIABLE, "The variable that holds a session's token, if any.")] = (
        "AWS_SESSION_TOKEN"
    )
    timeout: Annotated[float, Key(As.DURATION, "The longest that one reading may take.")] = 10.0

    gives: ClassVar[frozenset[MetricKind]] = frozenset(MetricKind) - {MetricKind.VALUE}
    past: ClassVar[bool] = True

    def problems(self, path: str) -> Iterator[Problem]:
        yield from self.problems_of(main(self.requests, self.errors), path)

    def problems_of(self, wanted: Wanted, path: str) -> Iterator[Problem]:
        if self.url is not None:
            yield from url_problems(self.url, f"{path}.url")
        yield from timeout_problems(self.timeout, path)
        yield from delay_problems(self.delay, path)
        if self.period not in (1, 5, 10, 20, 30) and (self.period < 60 or HOUR % self.period or self.period % 60):
            yield Problem(f"{path}.period", f"{self.period:g}s", "1s, 5s, 10s, 20s, 30s, or minutes that part an hour")
        told_apart = any(has(text, *OF_AN_ARM) for text in (*wanted.queries.values(), self.namespace))
        told_apart |= any(not isinstance(one, str) or has(one, *OF_AN_ARM) for one in self.dimensions.values())
        texts = {place_of(path, figure): text for figure, text in wanted.queries.items()}
        for name, value in self.dimensions.items():
            each = {"": value} if isinstance(value, str) else {f".{slot}": text for slot, text in value.items()}
            texts |= {f"{path}.dimensions.{name}{slot}": text for slot, text in each.items()}
        for place, text in {f"{path}.namespace": self.namespace, **texts}.items():
            yield from PLAIN.problems(text, place, per_arm=False)
        if not told_apart:
            allowed = "a dimension with {{version}} or {{slot}}, or with a value for each slot"
            yield Problem(f"{path}.dimensions", "the same for both arms", allowed)

    def credentials(self) -> tuple[str, ...]:
        return (self.key_id_env, self.secret_key_env, self.session_token_env)

    def source(self, means: Means) -> Source:
        return StoreSource(CloudWatchStore(self, means.environ, main(self.requests, self.errors)))

    def gauge(self, means: Means, wanted: Wanted) -> Gauge:
        return StoreGauge(CloudWatchStore(self, means.environ, wanted), wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    """What is asked for one count."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value}" for name, value in self.dimensions.items())
        return f"{self.namespace} {self.name} {{{inside}}}"


Asked = Mapping[Named, _Metric]


class CloudWatchStore:
    """Sums from before the rollout to one moment are counters: asked anew at each reading, they only rise."""

    kind = "cloudwatch"
    hint = "CloudWatch has no figures where nothing happened: absentErrors: zero says so"

    def __init__(self, options: CloudWatchOptions, environ: Mapping[str, str], wanted: Wanted) -> None:
        """Raises ``ValueError`` for options that have problems."""
        self.timeout = options.timeout
        self.absent_errors = options.absent_errors
        self._options = options
        self._environ = environ
        self._names = wanted.queries
        self._aws = _Aws(region=options.region, url=options.url)

    def moment(self, question: Question) -> float:
        return self._window(question).stop

    def _window(self, question: Question) -> Span:
        return span(question, delay=self._options.delay, every=self._options.period, grid=HOUR)

    def texts(self, question: Question) -> Asked:
        names = self._names.items()
        return {(figure, arm): self._metric(question, name, arm) for figure, name in names for arm in ARMS}

    def numbers(self, visit: Visit, question: Question, texts: Texts) -> Callable[[Named], float | None]:
        asked = {named: metric for named, metric in texts.items() if isinstance(metric, _Metric)}
        sums = self._sums(visit, asked, self._window(question))
        return lambda named: fsum(sums[named]) if sums[named] else None

    def login(self) -> Login:
        options = self._options
        key_id = credential(self._environ, options.key_id_env)
        secret = credential(self._environ, options.secret_key_env)
        token = self._environ.get(options.session_token_env, "").strip() or None
        self._aws.log_in(key_id, secret, token)
        return Login({}, tuple(one for one in (secret, token, key_id) if one))

    def _metric(self, question: Question, metric: str, arm: ArmName) -> _Metric:
        options, known = self._options, values(question, arm)
        slot = (question.canary if arm is ArmName.CANARY else question.stable).name
        dimensions = {}
        for name, value in options.dimensions.items():
            text = value if isinstance(value, str) else value.get(slot)
            if text is None:
                raise unreadable(f"the dimension {name} has no value for the slot {slot}")
            dimensions[name] = PLAIN.read(text).of(known)
        return _Metric(
            namespace=PLAIN.read(options.namespace).of(known),
            name=PLAIN.read(metric).of(known),
            dimensions=dimensions,
        )

    def _sums(self, visit: Visit, asked: Asked, window: Span) -> dict[Named, list[float]]:
        """Each period's sums, whole hours as such. Raises ``Down``."""
        hours = floor(window.stop / HOUR) * HOUR
        found: dict[Named, list[float]] = {one: [] for one in asked}
        for start, stop, period in ((window.start, hours, HOUR), (hours, window.stop, self._options.period)):
            if stop > start:
                for one, sums in self._aws.sums(visit, asked, Span(start, stop), period).items():
                    found[one] += sums
        return found


@dataclass(slots=True)
class _Aws:
    """boto3's client, made when it is first needed and when credentials change: it takes a fifth of a second."""

    region: str
    url: str | None
    keys: tuple[str, str, str | None] | None = field(default=None, repr=False)
    client: Any = None
    visit: Visit | None = None

    def log_in(self, key_id: str, secret: str, token: str | None) -> None:
        if self.keys == (key_id, secret, token):
            return
        try:
            # Late: it is an extra, and slow to load.
            import botocore.session  # type: ignore[import-untyped]  # noqa: PLC0415
            from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415
        except ImportError:
            raise unreachable("boto3 is not installed: pip install 'rampgate-tools[cloudwatch]'") from None
        try:
            # Nothing of the machine's own set-up has a say: what is asked, and as whom, stands in the configuration.
            session = botocore.session.Session(profile=None, session_vars={"profile": (None, None, None, None)})
            self.client = session.create_client(
                "cloudwatch",
                region_name=self.region,
                endpoint_url=self.url,
                aws_access_key_id=key_id,
                aws_secret_access_key=secret,
                aws_session_token=token,
                config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
            )
        except Exception as error:
            raise unreachable(f"boto3 cannot be set up ({type(error).__name__}): is the region one?") from None
        self.client.meta.events.register("before-send.cloudwatch", self._send)
        self.keys = (key_id, secret, token)

    def _send(self, request: Any, **_: Any) -> Any:
        """boto3's signed request, over our own connection."""
        from botocore.awsrequest import AWSResponse  # type: ignore[import-untyped]  # noqa: PLC0415

        assert self.visit is not None
        body = request.body.encode() if isinstance(request.body, str) else bytes(request.body or b"")
        headers = {name: _text(value) for name, value in request.headers.items()}
        got = arrived(self.visit.post(request.url, body, headers))
        return AWSResponse(request.url, got.status, dict(got.headers), _Body(got.body))

    def sums(self, visit: Visit, asked: Asked, window: Span, period: float) -> dict[Named, list[float]]:
        """The sums of every period in the window. Raises ``Down``."""
        ids = {f"m{number}": one for number, one in enumerate(asked)}
        queries = [_query(name, asked[one], period) for name, one in ids.items()]
        self.visit = visit
        try:
            answer = self.client.get_metric_data(
                MetricDataQueries=queries,
                StartTime=datetime.fromtimestamp(window.start, UTC),
                EndTime=datetime.fromtimestamp(window.stop, UTC),
                ScanBy="TimestampAscending",
            )
        except Down:
            raise
        except Exception as error:
            # boto3 reads what comes back, and has no one name for all that it may find there.
            raise _trouble(error, str(next(iter(asked.values())))) from None
        finally:
            self.visit = None
        return _sums_of(answer, ids)


class _Body(io.BytesIO):
    """A body as boto3 reads one."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _query(name: str, metric: _Metric, period: float) -> dict[str, Any]:
    dimensions = [{"Name": each, "Value": value} for each, value in metric.dimensions.items()]
    asked = {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": asked, "Period": int(period), "Stat": "Sum"}, "ReturnData": True}


def _trouble(error: Exception, query: str) -> Down:
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):
        said = answer.get("Error") or {}
        status = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0)
        code = str(said.get("Code", ""))
        if code in _THROTTLED:
            return unreachable(f"it answers {code}")
        return refusal(int(status), f"{code}: {said.get('Message', '')}", query)
    return unreadable(f"its answer is not what CloudWatch answers ({type(error).__name__})")


def _sums_of(answer: Any, ids: Mapping[str, Named]) -> dict[Named, list[float]]:
    try:
        results = {one["Id"]: one for one in answer["MetricDataResults"]}
        if answer.get("NextToken") or len(results) != len(answer["MetricDataResults"]) or results.keys() != ids.keys():
            raise unreadable("its answer is not whole: results are missing, or there are more pages")
        states = {one["Id"]: one.get("StatusCode") for one in results.values()}
        if bad := [f"{name} {state}" for name, state in states.items() if state != "Complete"]:
            raise unreadable(f"its answer is not complete: {cut(', '.join(bad), 200)}")
        return {ids[name]: [_number(value) for value in one["Values"]] for name, one in results.items()}
    except (KeyError, TypeError, AttributeError):
        raise unreadable("its answer is not what CloudWatch answers") from None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)
