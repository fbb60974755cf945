"""Loops and threads of other kinds: gevent and trio."""

import re
from textwrap import dedent

import pytest
import trio
import trio.lowlevel
from support.hostile import answers, serve
from support.processes import Place
from support.record import record

from cronguard import cron_guarded, guard

__all__ = ["record"]

GEVENT = """
    from gevent import monkey
    monkey.patch_all()
    import gevent, time

    ended = []

    @cron_guarded(threshold=1, overlap="allow")
    def nightly(number):
        gevent.sleep(0.01)
        while number % 2 and len(ended) < 2:  # a success in between would begin another incident
            gevent.sleep(0.01)
        if number % 2:
            raise ValueError
        return number

    def call(number):
        try:
            result = nightly(number)
        except ValueError:
            return "failed"
        ended.append(number)
        return result

    @cron_guarded
    def slow():
        gevent.sleep(60)

    greenlets = gevent.joinall([gevent.spawn(call, number) for number in range(4)])
    print([greenlet.value for greenlet in greenlets].count("failed"))
    try:
        with gevent.Timeout(1):
            slow()
    except gevent.Timeout:
        print("timed out")
    from cronguard.runtime.composition import current
    end = time.monotonic() + 20
    while current().store.alerts(state="pending") and time.monotonic() < end:
        gevent.sleep(0.01)
    """


LATE = """
    @cron_guarded(threshold=1, overlap="allow")
    def nightly(number):
        if number % 2:
            raise ValueError
        return number

    def call(number):
        try:
            return nightly(number)
        except ValueError:
            return "failed"

    call(1)
    from gevent import monkey
    monkey.patch_all()
    import gevent
    greenlets = gevent.joinall([gevent.spawn(call, number) for number in range(4)])
    print([greenlet.value for greenlet in greenlets].count("failed"))
    """

ALERT = re.compile("-{40}\n.+?-{40}\n", re.DOTALL)
"""What the console channel shows."""


def test_greenlets_that_come_late(tmp_path):
    """Patched after threads of ours were started, which gevent warns against, nothing stops, and
    those threads end without a word."""
    place = Place(tmp_path)
    place.environ["PYTHONWARNINGS"] = "ignore"
    done = place.run(LATE)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert not ALERT.sub("", done.stderr)
    assert sorted(place.statuses()) == ["failure"] * 3 + ["success"] * 2


FORKS = """
    from gevent import monkey
    monkey.patch_all()
    import gevent, os, threading

    gevent.get_hub().loop.install_sigchld()  # gevent does so too late for a child that ends at once
    ran = []
    os.register_at_fork(after_in_parent=lambda: gevent.spawn(ran.append, "another"))
    from cronguard import cron_guarded  # whose own hook is called after that one

    @cron_guarded
    def nightly():
        os.register_at_fork(after_in_parent=lambda: print(ran))
        if (child := os.fork()) == 0:
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        gevent.sleep(0)
        print(ran)
        print([thread.name for thread in threading.enumerate()].count("cronguard-watchdog"))

    nightly()
    """


def test_greenlets_that_fork(tmp_path):
    """No other greenlet runs before gevent watches the child, whose end it would miss."""
    place = Place(tmp_path)
    place.environ["PYTHONWARNINGS"] = "ignore"
    script = tmp_path / "forks.py"
    script.write_text(dedent(FORKS), encoding="utf-8")
    done = place.run(script)
    assert (done.returncode, done.stdout) == (0, "[]\n7\n['another']\n1\n"), done.stderr


FORKS_LATE = """
    @cron_guarded(overlap="allow")
    def nightly():
        pass

    nightly()
    from gevent import monkey
    monkey.patch_all()
    import gevent, os, time
    gevent.get_hub().loop.install_sigchld()  # gevent does so too late for a child that ends at once

    def call():
        for _ in range(50):
            nightly()
            gevent.sleep(0.001)

    def fork():
        for _ in range(10):
            if (child := os.fork()) == 0:
                os._exit(0)
            os.waitpid(child, 0)
            gevent.sleep(0.005)

    begun = time.monotonic()
    gevent.joinall([gevent.spawn(call) for _ in range(3)] + [gevent.spawn(fork)])
    print(time.monotonic() - begun < 25)
    """


def test_greenlets_that_come_late_and_fork(tmp_path):
    """A fork, such as any subprocess of gevent's is, lets no other greenlet run in the middle of
    it: that would wait for a file that only the forking one can give back."""
    place = Place(tmp_path)
    place.environ |= {"PYTHONWARNINGS": "ignore", "CRONGUARD_STORE_TIMEOUT": "30"}
    done = place.run(FORKS_LATE)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert "cronguard-watchdog" not in done.stderr  # gevent itself has something to say on 3.13
    assert place.statuses() == ["success"] * 151


def test_greenlets(tmp_path):
    """Runs side by side in one thread, gevent's time-out in a run, and an alert."""
    place, inbox = Place(tmp_path), answers()
    place.environ["PYTHONWARNINGS"] = "ignore"
    with serve(inbox) as server:
        environ = {"CRONGUARD_CHANNELS": "webhook", "CRONGUARD_WEBHOOK_URL": server.url}
        done = place.run(GEVENT, env=environ)
    assert (done.returncode, done.stdout) == (0, "2\ntimed out\n"), done.stderr
    assert sorted(place.statuses()) == ["failure"] * 2 + ["success"] * 2
    assert place.statuses("slow") == ["failure"]
    assert place.alerts() == [("failing", "webhook", "sent", 1)]
    assert len(inbox.received) == 1


class Broken(Exception):  # noqa: N818  # the job's business
    """The job's own."""


def test_trio(record):
    """Results, exceptions, cancel scopes and nesting, without a trace of asyncio."""

    @cron_guarded
    async def nightly(what):
        await trio.lowlevel.checkpoint()
        if what == "fail":
            raise Broken
        if what == "hang":
            await trio.sleep_forever()
        return what

    async def with_a_failing_sibling():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nightly, "hang")
            raise Broken

    async def main():
        assert await nightly("fine") == "fine"
        with pytest.raises(Broken):
            await nightly("fail")
        with trio.move_on_after(0.01) as scope:
            await nightly("hang")
        assert scope.cancelled_caught
        async with guard(job="outer"):
            await nightly("fine")
        with pytest.raises(BaseExceptionGroup):
            await with_a_failing_sibling()

    trio.run(main)
    statuses = record.statuses("nightly")
    assert statuses == ["success", "failure", "failure", "success", "failure"]
    assert record.statuses("outer") == ["success"]
