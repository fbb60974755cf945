"""The courier: claims, sends side by side, settles as tries end, and keeps its deadline."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest
from support.record import SOON, Gate

from cronguard.core.errors import (
    ChannelError,
    PartialDelivery,
    PluginError,
    SecretError,
    StoreError,
)
from cronguard.core.model import ChannelRule, Failure, Outcome, Owner, Run
from cronguard.runtime import delivery
from cronguard.runtime.delivery import Dispatcher
from cronguard.runtime.retries import backoff, settlement_for
from cronguard.testing import FrozenClock, MemoryStore, RecordingChannel

SECRET = "https://hooks.example/hunter2"


class Odd(BaseException):
    """Not even an Exception."""


class Sends:
    """A channel whose ``send`` is a function of the test's."""

    OPTIONS = ()

    def __init__(self, send):
        self.send = send


class Office:
    """A store with alerts in it, and a courier for the channels given."""

    def __init__(self, clock=None, **channels):
        self.channels = channels
        self.store = MemoryStore(**({"clock": clock} if clock else {}))
        self.dispatcher = Dispatcher(self.store, channels, channels.__getitem__)

    def fail(self, job="nightly", *, channels=None):
        """Record a failed run, which owes an alert to every channel."""
        rules = tuple(ChannelRule(name, 1, 1) for name in channels or self.channels)
        now = datetime.now(UTC)
        run = Run(f"{job}-{time.monotonic_ns()}", job, now, Owner("host", 1), channels=rules)
        self.store.start_run(run, is_dead=lambda owner: False)
        outcome = Outcome("failure", now, 1.0, Failure("ValueError"))
        assert self.store.finish_run(run, outcome, started=True).alerts_due

    def deliver(self, seconds=5.0, **options):
        """Claim everything and deliver it within so many seconds."""
        claimed = self.store.claim_alerts(channels=list(self.channels))
        return self.dispatcher.deliver(claimed, deadline=time.monotonic() + seconds, **options)

    def state(self, channel=None):
        """(state, error code, tries) of each alert, newest first."""
        return [
            (alert.state, alert.error_code, alert.attempts)
            for alert in self.store.alerts(limit=1000)
            if channel in (None, alert.channel)
        ]

    def wait(self):
        """Until nothing is under way any more."""
        end = time.monotonic() + 30
        while self.dispatcher._under_way:
            assert time.monotonic() < end, "deliveries never ended"
            time.sleep(0.002)


def raising(error):
    def send(message):
        raise error

    return Sends(send)


# --- sending -------------------------------------------------------------------------------------


def test_what_is_sent_is_what_was_frozen():
    """The same bytes and the same id on every try; the try is numbered."""
    channel = RecordingChannel()
    office = Office(a=channel)
    office.fail()
    channel.error = ChannelError("http_503")
    (attempt,) = office.deliver()
    channel.error = None
    office.deliver()
    (message,) = channel.messages
    assert message.payload == attempt.delivery.payload.encode()
    assert message.alert.alert_id == attempt.delivery.alert_id
    assert message.attempt == 2
    assert message.deadline > time.monotonic()
    assert office.state() == [("sent", None, 2)]


def test_what_only_some_have_is_sent_and_said(caplog):
    """It is not tried again, which would double it; the code stays on the row and in the log."""
    office = Office(a=raising(PartialDelivery("smtp_550", detail="some were refused")))
    office.fail()
    office.deliver()
    assert office.state() == [("sent", "smtp_550", 1)]
    assert office.store.claim_alerts(channels=["a"], force=True) == []
    (line,) = [record.getMessage() for record in caplog.records]
    assert "reached channel a, but not everybody there" in line
    assert "(smtp_550: some were refused)" in line


def test_channels_send_side_by_side():
    """Each waits for the other here: one after the other they would wait for ever."""
    both = threading.Barrier(2)
    office = Office(a=Sends(lambda message: both.wait(10)), b=Sends(lambda message: both.wait(10)))
    office.fail()
    attempts = office.deliver()
    assert {attempt.delivery.channel for attempt in attempts} == {"a", "b"}
    assert office.state() == [("sent", None, 1)] * 2


def test_one_channel_sends_in_order():
    """A job's alerts arrive in the order in which they were decided, one at a time."""
    sending, most = [], []

    def send(message):
        sending.append(message)
        most.append(len(sending))
        time.sleep(0.001)
        sending.remove(message)

    channel = RecordingChannel()
    office = Office(a=channel, b=Sends(send))
    for _ in range(20):
        office.fail()
    office.deliver()
    counts = [alert.consecutive_failure_count for alert in channel.alerts]
    assert counts == list(range(1, 21))
    assert set(most) == {1}


def test_each_try_is_settled_as_it_ends():
    """A quick channel is settled while a slow one is still trying."""
    gate = Gate()
    office = Office(quick=RecordingChannel(), slow=Sends(lambda message: gate.wait()))
    office.fail()
    thread = threading.Thread(target=office.deliver)
    thread.start()
    assert gate.reached.wait(10)
    end = time.monotonic() + 10
    while office.state("quick") != [("sent", None, 1)]:
        assert time.monotonic() < end
        time.sleep(0.002)
    assert office.state("slow")[0][0] == "pending"
    gate.open()
    thread.join(10)
    assert office.state("slow") == [("sent", None, 1)]


def test_the_deadline_is_hard():
    """What has begun is settled as timed out; what has not is let go as if never claimed."""
    gate = Gate()
    office = Office(stuck=Sends(lambda message: gate.wait()), fine=RecordingChannel())
    office.fail()
    office.fail()
    start = time.monotonic()
    attempts = office.deliver(1.0)
    assert 0.5 < time.monotonic() - start < SOON
    gate.open()
    assert [a.settlement.error_code for a in attempts if a.delivery.channel == "stuck"] == [
        "timeout"
    ]
    assert sorted(office.state("stuck"), key=str) == [
        ("pending", "timeout", 1),
        ("pending", None, 1),
    ]
    assert office.state("fine") == [("sent", None, 1)] * 2
    claimed = office.store.claim_alerts(channels=["stuck"])
    assert len(claimed) == 2, "both can be tried again at once"


def test_a_late_success_is_not_written_over_what_came_since():
    """The claim is fenced: a try that was given up settles nothing any more."""
    gate = Gate()
    office = Office(stuck=Sends(lambda message: gate.wait()))
    office.fail()
    office.deliver(0.3)
    (again,) = office.store.claim_alerts(channels=["stuck"])
    gate.open()
    assert again.attempt == 2
    assert office.state()[0][0] == "pending"


@pytest.mark.parametrize(
    "answer", [True, 0, "ok", object(), []], ids=lambda answer: type(answer).__name__
)
def test_what_a_channel_returns_means_nothing(answer):
    """Many return what their client returned; the alert was sent all the same."""
    office = Office(a=Sends(lambda message: answer))
    office.fail()
    office.deliver()
    assert office.state() == [("sent", None, 1)]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_channels_may_be_asynchronous(asynchronous):
    """Each try has a loop of its own, where names can be looked up and threads be lent."""
    seen = []

    async def send(message):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        assert await loop.getaddrinfo("localhost", 80)
        assert await asyncio.to_thread(lambda: 5) == 5
        with pytest.raises(KeyError):
            await asyncio.to_thread(lambda: {}["missing"])
        seen.append(message.alert.job)

    async def fails(message):
        await asyncio.sleep(0)
        raise ChannelError("http_410", permanent=True)

    office = Office(a=Sends(send), b=Sends(fails if asynchronous else raising(ValueError()).send))
    office.fail()
    office.deliver()
    assert seen == ["nightly"]
    assert office.state("a") == [("sent", None, 1)]
    assert office.state("b")[0][0] == ("dead" if asynchronous else "pending")


# --- errors --------------------------------------------------------------------------------------


def odd_channel_error():
    class Careless(ChannelError):  # noqa: N818  # somebody's
        def __init__(self):
            pass

    return Careless()


def with_attributes(**attributes):
    error = ChannelError("http_503")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (ChannelError("http_503"), "pending", "http_503"),
        (ChannelError("http_410", permanent=True), "dead", "http_410"),
        (
            SecretError("secret_missing", detail="ONCALL_URL is not set"),
            "pending",
            "secret_missing",
        ),
        (PluginError("there is no such channel"), "pending", "plugin_error"),
        (ValueError(SECRET), "pending", "channel_error"),
        (TimeoutError(SECRET), "pending", "channel_error"),
        (SystemExit(SECRET), "pending", "channel_error"),
        (KeyboardInterrupt(), "pending", "channel_error"),
        (Odd(SECRET), "pending", "channel_error"),
        (asyncio.CancelledError(), "pending", "channel_error"),
        (odd_channel_error(), "pending", "channel_error"),
        (with_attributes(code=None), "pending", "channel_error"),
        (with_attributes(code=503), "pending", "channel_error"),
        (with_attributes(code="x" * 5000), "pending", "channel_error"),
        (with_attributes(code="a\nb"), "pending", "channel_error"),
        (with_attributes(permanent="yes"), "pending", "http_503"),
        (with_attributes(retry_after="soon"), "pending", "http_503"),
        (with_attributes(retry_after=float("nan")), "pending", "http_503"),
        (with_attributes(retry_after=-5), "pending", "http_503"),
        (with_attributes(detail=object()), "pending", "http_503"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_whatever_a_channel_raises(caplog, error, state, code):
    """It is settled by a code, told of in one line, and holds up no other channel or alert."""
    good = RecordingChannel()
    office = Office(bad=raising(error), good=good)
    office.fail()
    start = time.monotonic()
    office.deliver(60)
    assert time.monotonic() - start < SOON, "it was not noticed that the try had ended"
    assert office.state("bad") == [(state, code, 1)]
    assert office.state("good") == [("sent", None, 1)]
    assert "hunter2" not in caplog.text
    notified = [entry.getMessage() for entry in caplog.records]
    assert len(notified) == 1
    assert "did not reach channel bad" in notified[0]
    assert ("not be tried again" in notified[0]) == (state == "dead")


@pytest.mark.parametrize(
    "error",
    [SecretError("secret_missing"), PluginError("no such channel"), ValueError(SECRET), Odd()],
)
def test_a_channel_that_cannot_be_built(error):
    """Its secret is missing, or its class is broken: the alert waits for somebody to mend it."""

    def build(name):
        raise error

    office = Office(a=RecordingChannel())
    office.dispatcher._build = build
    office.fail()
    office.deliver()
    assert office.state()[0][0] == "pending"


def test_a_vault_out_of_reach_is_told_of_where_we_are_once():
    """At the first try; each further one only tries the channel again."""

    def build(name):
        raise SecretError("secret_unreadable")

    office = Office(a=RecordingChannel())
    console = RecordingChannel()
    office.dispatcher = Dispatcher(office.store, office.channels, build, lambda name: console)
    office.fail()
    for _ in range(3):
        office.dispatcher.deliver_all()
    assert office.state()[0][:2] == ("pending", "secret_unreadable")
    assert len(console.messages) == 1


@pytest.mark.parametrize("payload", ["{", "[]", "null", '{"job": "x"}', ""])
def test_a_payload_that_is_damaged_is_given_up(payload):
    """Sending it again cannot work."""
    office = Office(a=RecordingChannel())
    office.fail()
    (claimed,) = office.store.claim_alerts(channels=["a"])
    office.dispatcher.deliver([claimed._replace(payload=payload)], deadline=time.monotonic() + 5)
    assert office.state() == [("dead", "bad_payload", 1)]


@pytest.mark.parametrize("error", [StoreError("away"), ValueError(SECRET)])
def test_a_store_that_cannot_settle_is_told_of(caplog, error):
    """Every alert is sent all the same; each may come again."""
    channel = RecordingChannel()
    office = Office(a=channel)
    office.fail()
    office.fail()

    def fail(delivery, settlement):
        raise error

    office.store.settle_alert = fail
    assert len(office.deliver()) == 2
    assert len(channel.alerts) == 2
    assert "could not be written" in caplog.text
    assert "hunter2" not in caplog.text


# --- when to try again ---------------------------------------------------------------------------


def test_backing_off():
    """The second try is free, then the pause doubles to an hour, with jitter."""
    assert backoff(1) == 0
    for attempt, most in [(2, 5), (3, 10), (4, 20), (10, 1280), (12, 3600), (10_000, 3600)]:
        pauses = {backoff(attempt) for _ in range(50)}
        assert most / 2 <= min(pauses)
        assert max(pauses) <= most
        assert len(pauses) > 1


def test_retry_after_is_honoured_up_to_a_day():
    """It lengthens the pause and never shortens it."""
    assert settlement_for(ChannelError("http_429", retry_after=90), 1).retry_in == 90
    assert settlement_for(ChannelError("http_429", retry_after=1), 6).retry_in > 1
    assert settlement_for(ChannelError("http_429", retry_after=1e9), 1).retry_in == 86_400
    assert (
        settlement_for(ChannelError("http_410", permanent=True, retry_after=9), 1).retry_in is None
    )


def test_an_alert_is_due_again_when_its_pause_is_over():
    """Not before, unless somebody asks for it."""
    clock = FrozenClock()
    office = Office(clock, a=raising(ChannelError("http_429", retry_after=60)))
    office.fail()
    office.deliver()
    assert not office.store.claim_alerts(channels=["a"])
    clock.advance(59)
    assert not office.store.claim_alerts(channels=["a"])
    clock.advance(2)
    assert office.store.claim_alerts(channels=["a"])


# --- in the background ---------------------------------------------------------------------------


def test_dispatch_returns_at_once():
    """Whatever the channels do; the alert goes out behind its back."""
    gate, quick = Gate(), RecordingChannel()
    office = Office(stuck=Sends(lambda message: gate.wait()), quick=quick)
    office.fail()
    start = time.monotonic()
    office.dispatcher.dispatch("nightly")
    assert time.monotonic() - start < SOON
    assert quick.wait(1)
    gate.open()
    office.wait()


def test_dispatch_sends_alerts_of_that_job_only():
    """Those of jobs that other processes guard are theirs to send."""
    channel = RecordingChannel()
    office = Office(a=channel)
    office.fail("nightly")
    office.fail("weekly")
    office.dispatcher.dispatch("nightly")
    office.wait()
    assert [alert.job for alert in channel.alerts] == ["nightly"]


def test_only_channels_set_up_here_are_used():
    """An alert for another machine's channel is left for that machine."""
    office = Office(a=RecordingChannel())
    office.fail(channels=["a", "elsewhere"])
    office.dispatcher.dispatch("nightly")
    office.wait()
    assert office.state("a") == [("sent", None, 1)]
    assert office.state("elsewhere") == [("pending", None, 0)]


def test_a_burst_needs_few_threads_and_loses_nothing():
    """A hundred dispatches at once: a handful of deliveries at a time, the rest take their turn."""
    gate, channel = Gate(), RecordingChannel()

    def send(message):
        gate.wait()
        channel.send(message)

    office = Office(a=Sends(send))
    before = threading.active_count()
    for number in range(100):
        office.fail(f"job-{number}")
        office.dispatcher.dispatch(f"job-{number}")
    assert threading.active_count() - before < 20
    gate.open()
    assert len(channel.wait(100)) == 100
    office.wait()
    assert {alert.job for alert in channel.alerts} == {f"job-{number}" for number in range(100)}
    assert {state for state, *_ in office.state()} == {"sent"}


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_no_thread_no_harm(monkeypatch, refused):
    """Whichever of its threads cannot be started, the alert stays pending and nothing hangs."""
    office = Office(a=RecordingChannel())
    office.fail()
    start, started = threading.Thread.start, []

    def refuse(thread):
        started.append(thread)
        if len(started) == refused:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        office.dispatcher.dispatch("nightly")
    for thread in started[: refused - 1]:
        thread.join(10)
        assert not thread.is_alive()
    assert office.state() == [("pending", None, 0)]
    office.dispatcher.dispatch("nightly")
    office.wait()
    assert office.state() == [("sent", None, 1)]


@pytest.mark.parametrize("error", [StoreError("away"), ValueError(SECRET), Odd(SECRET)])
def test_a_store_that_cannot_claim_is_told_of(caplog, error):
    """In one line; the next run tries again."""
    office = Office(a=RecordingChannel())
    office.fail()

    def fail(**wanted):
        raise error

    office.store.claim_alerts = fail
    office.dispatcher.dispatch("nightly")
    office.wait()
    assert "stay pending" in caplog.text
    assert ("away" in caplog.text) == isinstance(error, StoreError)
    assert "hunter2" not in caplog.text
    assert "Traceback" not in caplog.text


def delivering():
    """The threads that deliver, and those that wait for them."""
    names = ("cronguard-channel-", "cronguard-delivery")
    return [thread for thread in threading.enumerate() if thread.name.startswith(names)]


def test_only_a_waiting_thread_keeps_the_process():
    """Everything that could hang is a daemon; what is not does nothing but wait."""
    gate = Gate()
    office = Office(only=Sends(lambda message: gate.wait()))
    office.fail()
    for left in delivering():  # by other tests
        left.join(60)
    office.dispatcher.dispatch("nightly")
    assert gate.reached.wait(10)
    ours = delivering()
    assert len(ours) == 3
    assert [thread.daemon for thread in ours].count(False) == 1
    gate.open()
    office.wait()


def test_at_the_very_end_one_deadline_is_waited_for(monkeypatch):
    """In ``atexit``, where the interpreter waits for no thread any more, however many fail."""
    ended = type("Ended", (), {"is_alive": lambda self: False})()
    monkeypatch.setattr("threading.main_thread", lambda: ended)
    monkeypatch.setattr("threading.current_thread", lambda: ended)
    monkeypatch.setattr("cronguard.runtime.delivery.DELIVERY_SECONDS", 0.5)
    gate = Gate()
    office = Office(stuck=Sends(lambda message: gate.wait()))
    start = time.monotonic()
    for number in range(40):
        office.fail(f"job-{number}")
        office.dispatcher.dispatch(f"job-{number}")
    assert 0.5 <= time.monotonic() - start < SOON
    monkeypatch.undo()
    gate.open()
    office.wait()


# --- everything at once, for the command line ----------------------------------------------------


def test_deliver_all_tries_everything_once():
    """In batches, whatever the back-off; the report hears of each try."""
    channel = RecordingChannel()
    office = Office(a=channel, b=raising(ChannelError("http_500")))
    for number in range(60):
        office.fail(f"job-{number}")
    reported = []
    attempts = office.dispatcher.deliver_all(report=reported.append)
    assert len(attempts) == len(reported) == 120
    assert len(channel.alerts) == 60
    assert [state[:2] for state in office.state("b")] == [("pending", "http_500")] * 60


def test_a_try_of_deliver_all_counts_once():
    """The pause before the next one grows with it."""
    office = Office(b=raising(ChannelError("http_500")))
    office.fail()
    for tries in (1, 2, 3):
        assert len(office.dispatcher.deliver_all()) == 1
        assert office.state() == [("pending", "http_500", tries)]


def test_deliver_all_ends_when_nothing_can_be_tried(monkeypatch):
    """Not in a circle."""
    office = Office(a=RecordingChannel())
    office.fail()
    monkeypatch.setattr(delivery, "DELIVERY_SECONDS", 0.0)
    assert office.dispatcher.deliver_all() == []
