"""The pytest plugin in other people's suites: with xdist, asyncio and anyio, and switched off."""

import pytest
from support import readme

from cronguard import ConfigError, cron_guarded

pytest_plugins = "pytester"


@pytest.fixture
def suite(pytester, monkeypatch):
    """A suite of somebody else's, whose store and webhook nobody may touch."""
    monkeypatch.setenv("CRONGUARD_STORE", f"sqlite:///{pytester.path}/real.db")
    monkeypatch.setenv("CRONGUARD_CHANNELS", "webhook")
    monkeypatch.setenv("CRONGUARD_WEBHOOK_URL", "http://127.0.0.1:9/")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def real(suite):
    return suite.path / "real.db"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="as it comes"),
        pytest.param(("-n", "2"), id="xdist", marks=[pytest.mark.long, pytest.mark.one_python]),
        pytest.param(
            ("-p", "no:randomly", "-p", "no:xdist"),
            id="alone",
            marks=[pytest.mark.long, pytest.mark.one_python],
        ),
    ],
)
def test_the_page_of_the_readme(suite, options):
    """What a user writes after a page alone passes on the first try, in parallel too."""
    texts = [part.text for part in readme.parts("pytest")]
    suite.makepyfile(**{f"test_page_{number}": text for number, text in enumerate(texts)})
    done = suite.runpytest_subprocess(*options)
    done.assert_outcomes(passed="".join(texts).count("def test_"))
    assert not real(suite).exists()


ASYNC = """
    import pytest
    from cronguard import cron_guarded, guard

    @cron_guarded(job="nightly")
    async def nightly(broken=False):
        if broken:
            raise OSError("x")
        return 1

    {mark}
    async def test_two_failures_make_one_alert(cronguard):
        for _ in range(3):
            with pytest.raises(OSError):
                await nightly(broken=True)
        assert cronguard.streak("nightly") == 3
        assert [alert.kind for alert in cronguard.alerts] == ["failing"]

    {mark}
    async def test_each_test_has_its_own(cronguard):
        assert await nightly() == 1
        async with guard(job="other"):
            pass
        assert [run.status for run in cronguard.runs("nightly")] == ["success"]
        assert cronguard.last_run("other").status == "success"
        assert cronguard.alerts == []
    """


@pytest.mark.long
@pytest.mark.parametrize(
    "mark", ["@pytest.mark.asyncio", "@pytest.mark.anyio"], ids=["asyncio", "anyio"]
)
def test_asynchronous_tests(suite, mark):
    """The fixture works in both plugins' event loops, trio's too with anyio."""
    suite.makepyfile(ASYNC.format(mark=mark))
    done = suite.runpytest_subprocess()
    done.assert_outcomes(passed=4 if "anyio" in mark else 2)
    assert not real(suite).exists()


@pytest.mark.long
@pytest.mark.one_python
def test_tests_that_do_not_ask_are_kept_apart_too(suite):
    """No store is written and nothing is sent, unless the suite says so."""
    suite.makepyfile(
        """
        from cronguard import cron_guarded
        @cron_guarded(job="nightly")
        def nightly(): return 1
        def test_it(): assert nightly() == 1
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)
    assert not real(suite).exists()
    suite.runpytest_subprocess("-o", "cronguard_isolation=false").assert_outcomes(passed=1)
    assert real(suite).exists()


@pytest.mark.one_python
def test_what_runs_before_the_first_test_is_kept_apart(suite):
    """In a conftest, while parameters are collected, in a session's fixture and at its very end."""
    suite.makeconftest(
        """
        import pytest
        from cronguard import cron_guarded

        @cron_guarded(threshold=1)
        def cases():
            raise OSError("x")

        def fail():
            with pytest.raises(OSError):
                cases()

        fail()

        @pytest.fixture(scope="session", autouse=True)
        def whole_session():
            fail()
            yield
            fail()

        def pytest_sessionfinish():
            fail()

        def pytest_generate_tests(metafunc):
            fail()
        """
    )
    suite.makepyfile("def test_it(): pass")
    suite.runpytest_subprocess().assert_outcomes(passed=1)
    assert not real(suite).exists()
    suite.runpytest_subprocess("-o", "cronguard_isolation=false").assert_outcomes(passed=1)
    assert real(suite).exists()


def test_a_mistyped_name_is_an_error(cronguard):
    """No assertion about it holds by mistake; a decorated job need not have run."""

    @cron_guarded(job="nightly_of_this_test")
    def nightly():
        pass

    assert cronguard.streak(nightly) == cronguard.streak("nightly_of_this_test") == 0
    assert cronguard.runs("nightly_of_this_test") == []
    for ask in cronguard.streak, cronguard.runs, cronguard.last_run:
        with pytest.raises(ConfigError, match="did you mean 'nightly_of_this_test'"):
            ask("nightly_of_this_tes")
    cronguard.fail("by_name_alone")
    assert cronguard.streak("by_name_alone") == 1


@pytest.mark.long
@pytest.mark.one_python
def test_switched_off(suite):
    """With -p no:cronguard there is no fixture, and guarded jobs are as they are elsewhere."""
    suite.makepyfile(
        """
        from cronguard import cron_guarded
        @cron_guarded(job="nightly")
        def nightly(): return 1
        def test_it(): assert nightly() == 1
        def test_fixture(cronguard): pass
        """
    )
    done = suite.runpytest_subprocess("-p", "no:cronguard")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*fixture 'cronguard' not found*"])
    assert real(suite).exists()


@pytest.mark.long
@pytest.mark.one_python
def test_time_stands_still(suite):
    """The clock moves when it is told to, for runs and for snoozes."""
    suite.makepyfile(
        """
        from datetime import timedelta
        from cronguard import cron_guarded

        @cron_guarded(job="nightly")
        def nightly(): pass

        def test_clock(cronguard):
            nightly()
            cronguard.clock.advance(timedelta(days=1))
            nightly()
            first, second = cronguard.runs("nightly")
            assert second.started_at - first.started_at == timedelta(days=1)
            assert second.duration == 0

        def test_snooze(cronguard):
            cronguard.fail("nightly")
            cronguard.store.snooze("nightly", cronguard.clock() + timedelta(hours=2))
            cronguard.fail("nightly")
            assert cronguard.alerts == []
            cronguard.clock.advance(3 * 3600)
            cronguard.fail("nightly")
            assert [alert.consecutive_failure_count for alert in cronguard.alerts] == [3]
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=2)


@pytest.mark.long
@pytest.mark.one_python
def test_a_job_is_its_function_or_its_name(suite):
    """Wherever a job is asked for; what is neither is refused, not found empty."""
    suite.makepyfile(
        """
        import pytest
        from cronguard import ConfigError, cron_guarded

        class Mailer:
            @cron_guarded(job="mails")
            def send(self): raise OSError("x")

        def test_it(cronguard):
            with pytest.raises(OSError):
                Mailer().send()
            for job in (Mailer.send, Mailer().send, "mails"):
                assert cronguard.streak(job) == len(cronguard.runs(job)) == 1
                assert cronguard.last_run(job).failure.error_type == "OSError"
            for ask in (cronguard.streak, cronguard.runs, cronguard.last_run, cronguard.fail):
                with pytest.raises(ConfigError, match="'len' is not guarded"):
                    ask(len)
            with pytest.raises(ConfigError, match="no job 'mals' was decorated"):
                cronguard.last_run("mals")

        def test_that_it_ran(cronguard):
            cronguard.fail("other")
            with pytest.raises(AssertionError, match="mails has not run; there are .'other'."):
                cronguard.last_run("mails")
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=2)


def test_runs_are_recorded_without_calling_anything(cronguard):
    """Failures and successes, of a job that may not exist; the harness says how much it holds."""
    cronguard.fail("nightly", times=3)
    assert cronguard.streak("nightly") == 3
    cronguard.succeed("nightly")
    assert cronguard.streak("nightly") == 0
    statuses = [run.status for run in cronguard.runs("nightly")]
    assert statuses == ["failure"] * 3 + ["success"]
    assert repr(cronguard) == "<cronguard in memory: 1 alerts>"


def test_a_name_goes_by_what_its_job_has_stated(cronguard):
    """A decorated job's threshold counts for its name too; an unknown one has the default."""

    @cron_guarded(job="patient", threshold=3, runbook="https://example.org/r")
    def nightly():
        return 1

    nightly()
    cronguard.fail("patient", times=2)
    assert cronguard.alerts == []
    cronguard.fail("patient")
    assert cronguard.alerts[0].threshold == 3
    assert cronguard.alerts[0].runbook == "https://example.org/r"
    cronguard.fail("unknown", times=2)
    assert cronguard.alerts[1].threshold == 2
