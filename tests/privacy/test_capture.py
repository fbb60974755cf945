"""Exception → Failure: the right type, code and place, from any exception, and never an error."""

from __future__ import annotations

import errno
import logging
import os
import signal
import smtplib
import socket
import sqlite3
import ssl
import subprocess
import sys
import textwrap
import types
import urllib.error

import httpx
import pytest
from support.record import recording

from cronguard.privacy.capture import capture, capture_output, exit_failure, is_plain
from cronguard.privacy.mask import MASK


def raised(function, *args):
    """The exception that a call raises, traceback and all."""
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


def throw(error):
    raise error


def with_attributes(**attributes):
    class CustomError(Exception):
        pass

    error = CustomError("x")
    vars(error).update(attributes)
    return error


class Outer:
    class InnerError(Exception):
        pass


def module_from(source, filename, name="made"):
    module = types.ModuleType(name)
    exec(compile(textwrap.dedent(source), filename, "exec"), vars(module))
    return module


# --- type ----------------------------------------------------------------------------------------


def test_builtins_are_bare_and_others_carry_their_module():
    """``ValueError`` is bare, other classes are ``module.QualName``."""
    assert capture(ValueError("x")).error_type == "ValueError"
    assert capture(httpx.ReadTimeout("x")).error_type == "httpx.ReadTimeout"
    assert capture(Outer.InnerError()).error_type == f"{__name__}.Outer.InnerError"


def test_a_class_defined_in_a_function_keeps_its_name():
    """A local class was written by a programmer too."""
    name = capture(with_attributes()).error_type
    assert name == f"{__name__}.with_attributes.<locals>.CustomError"


@pytest.mark.parametrize(
    "name",
    [
        "Kari Nordmann",
        "KariNordmann",
        "kari@example.com",
        "x" * 1_000_000,
        "a\0b",
        "Bell\x07",
        "x.<locals>.KariNordmann",
    ],
)
@pytest.mark.parametrize("module", [None, "builtins", "kari.nordmann", 42, "\ud800", "os"])
def test_a_class_named_at_run_time_does_not_show_its_name(name, module):
    """A name that leads to no class of that module is replaced by the nearest honest base."""
    possible = name.replace("\0", "")  # a qualified name may hold one, a name may not
    kind = type(possible, (LookupError,), {"__module__": module, "__qualname__": name})
    failure = capture(kind("x"))
    assert failure.error_type == "LookupError"


def test_a_class_that_a_library_makes_keeps_a_technical_name():
    """botocore makes ``NoSuchKey`` at run time; its words are known, so that it can be shown."""
    kind = type("NoSuchKey", (LookupError,), {"__module__": "os"})
    assert capture(kind("x")).error_type == "os.NoSuchKey"
    assert capture(type("ValueError", (LookupError,), {})()).error_type != "ValueError"


def test_a_metaclass_that_lies_is_not_asked():
    """Names come from ``type`` itself, whatever the metaclass overrides."""

    class Meta(type):
        def __getattribute__(cls, name):
            raise RuntimeError("no")

    kind = Meta("KariNordmann", (ValueError,), {})
    assert capture(kind("x")).error_type == "ValueError"


# --- code ----------------------------------------------------------------------------------------


def sqlite_conflict():
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("create table t (a unique)")
        connection.execute("insert into t values (1)")
        connection.execute("insert into t values (1)")
    finally:
        connection.close()


def http_status_error():
    request = httpx.Request("GET", "http://example.org/kari")
    httpx.Response(503, request=request).raise_for_status()


def unresolved():
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def wrapped():
    try:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    except OSError as error:
        try:
            throw(RuntimeError("inner"))
        except RuntimeError as inner:
            inner.__cause__ = error
            raise ValueError("outer")  # noqa: B904


CODES = [
    (with_attributes(sqlstate="23505"), "23505"),
    (with_attributes(pgcode="42P01"), "42P01"),
    (with_attributes(code="PGRST116"), "PGRST116"),
    (with_attributes(code="57014", hint=None), "57014"),
    (with_attributes(code="10115"), None),
    (with_attributes(code="22003"), None),
    (with_attributes(code="42ABC", hint=None), None),
    (with_attributes(code=147, status=182), None),
    (with_attributes(sqlstate=None, pgcode=None), None),
    (with_attributes(sqlstate="Kari!"), None),
    (with_attributes(sqlstate="KARIN"), None),
    (with_attributes(code="KARIN"), None),
    (with_attributes(code="99950"), None),
    (with_attributes(code="kari@example.com", status="Nordmann", response="12345678901"), None),
    (OSError(errno.ENOSPC, "full"), "ENOSPC"),
    (FileNotFoundError(errno.ENOENT, "x", "/home/kari"), "ENOENT"),
    (OSError("only text"), None),
    (raised(unresolved), "EAI_NONAME"),
    (ssl.SSLError(1, "[SSL: X] x"), None),
    (raised(sqlite_conflict), "SQLITE_CONSTRAINT_UNIQUE"),
    (raised(http_status_error), "503"),
    (with_attributes(response={"ResponseMetadata": {"HTTPStatusCode": 404}}), "404"),
    (with_attributes(response={"ResponseMetadata": None}), None),
    (with_attributes(status_code=True), None),
    (with_attributes(status=99999), None),
    (urllib.error.HTTPError("http://x", 404, "x", {}, None), "404"),
    (urllib.error.URLError(OSError(errno.ECONNRESET, "x")), "ECONNRESET"),
    (SystemExit(3), "3"),
    (SystemExit(-1), "255"),
    (SystemExit(10**5000), "0"),
    (SystemExit("a sentence"), "1"),
    (SystemExit(True), "1"),
    (subprocess.CalledProcessError(7, ["x"]), "7"),
    (smtplib.SMTPDataError(554, b"no"), "554"),
    (subprocess.CalledProcessError(-9, ["x"]), "SIGKILL"),
    (raised(wrapped), "ECONNREFUSED"),
    (ExceptionGroup("g", [ValueError("x"), OSError(errno.EIO, "x")]), "EIO"),
    (ValueError("x"), None),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=[f"{i}" for i in range(len(CODES))])
def test_codes(error, code):
    """The code a machine would use, from the error or its causes; nothing else passes for one."""
    try:
        assert capture(error).error_code == code
    finally:
        if isinstance(error, urllib.error.HTTPError):
            error.close()


def test_a_real_refusal_is_found_below_httpx():
    """httpx hides the errno three causes deep, one of them suppressed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = raised(httpx.get, f"http://127.0.0.1:{free.getsockname()[1]}/")
    assert capture(error).error_code == "ECONNREFUSED"


def test_properties_that_raise_are_tolerated():
    """An attribute may raise anything, SystemExit included."""

    class HostileError(Exception):
        def __getattribute__(self, name):
            raise SystemExit(name)

    failure = capture(raised(throw, HostileError("x")))
    assert failure.error_code is None
    assert failure.error_location is not None


# --- place ---------------------------------------------------------------------------------------


def test_the_innermost_frame_of_the_users_code_is_shown():
    """Not the frame in the library that noticed, and never an absolute path."""
    import json

    location = capture(raised(json.loads, "{")).error_location
    line = raised.__code__.co_firstlineno + 3
    assert location == f"privacy/test_capture.py:{line} in raised"


@pytest.mark.parametrize(
    ("filename", "name", "shown"),
    [
        ("/home/kari/jobs/nightly.py", "nightly", "nightly.py:3 in job"),
        ("/home/kari/jobs/reports/nightly.py", "reports.nightly", "reports/nightly.py:3 in job"),
        ("C:\\Users\\kari\\jobs\\nightly.py", "__main__", "nightly.py:3 in job"),
        ("/srv/kari@example.com.py", "x", f"{MASK}:3 in job"),
        ("/srv/01017012345.py", "x", f"{MASK}:3 in job"),
        ("app.pyz/jobs/nightly.py", "jobs.nightly", "app.pyz/jobs/nightly.py:3 in job"),
        ("./nightly.py", "nightly", "nightly.py:3 in job"),
        ("home/kari/nightly.py", "nightly", "nightly.py:3 in job"),
        ("<string>", "x", "<string>:3 in job"),
        ("", "x", f"{MASK}:3 in job"),
    ],
)
def test_a_path_never_shows_whose_it_is(filename, name, shown):
    """Home folders and everything above the import root stay out."""
    module = module_from(
        """
        def job():
            raise ValueError("x")
        """,
        filename,
        name,
    )
    # the traceback begins in the job itself, as it does below the guard
    error = raised(module.job)
    assert capture(error.with_traceback(error.__traceback__.tb_next)).error_location == shown


def test_a_path_is_relative_to_where_it_was_imported_from(tmp_path, monkeypatch):
    """``package/module.py`` is what the program itself calls the file."""
    package = tmp_path / "kari" / "src" / "billing_x"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "send.py").write_text("def job():\n    raise ValueError('x')\n")
    monkeypatch.syspath_prepend(str(package.parent))
    from billing_x.send import job

    error = raised(job)
    assert capture(error).error_location == "billing_x/send.py:2 in job"
    assert "kari" not in repr(capture(error))


def test_the_users_name_is_hidden_in_paths(monkeypatch):
    """A folder called like the account is masked."""
    monkeypatch.setenv("LOGNAME", "karin_test")
    module = module_from("def job():\n    raise ValueError\n", "jobs/karin_test/x.py")
    assert capture(raised(module.job)).error_location == f"jobs/{MASK}/x.py:2 in job"


def test_an_installed_job_is_its_own_code():
    """Where all code is installed, the outermost package is the user's."""
    library = module_from("def fail():\n    raise ValueError\n", "/v/site-packages/lib/core.py")
    job = module_from("def job():\n    fail()\n", "/v/site-packages/company/jobs.py")
    job.fail = library.fail
    error = raised(job.job)
    error = error.with_traceback(error.__traceback__.tb_next)
    assert capture(error).error_location == "company/jobs.py:2 in job"


def test_a_function_name_made_at_run_time_is_masked():
    """``code.replace(co_name=…)`` can hold anything."""

    def job():
        raise ValueError

    named = types.FunctionType(job.__code__.replace(co_name="Kari Nordmann"), {})
    assert capture(raised(named)).error_location.endswith(f"in {MASK}")


def test_an_error_never_raised_has_no_place():
    """None, not a guess."""
    assert capture(ValueError("x")).error_location is None


# --- as a whole ----------------------------------------------------------------------------------


class NeverAskError(Exception):
    def __str__(self):
        raise AssertionError("strict does not even ask for the text")

    __repr__ = __str__


def test_strict_never_touches_the_message():
    """``strict`` keeps type, code and place, and does not call ``str()``."""
    failure = capture(raised(throw, NeverAskError()), redact="strict")
    assert failure.error_message is None
    assert failure.error_type == f"{__name__}.NeverAskError"


def test_cycles_deep_chains_and_recursion_are_bounded():
    """A cause that leads back, ten thousand causes, and a full stack all end."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert capture(first).error_code is None
    error = ValueError("0")
    for number in range(10_000):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    assert capture(error).error_type == "ValueError"

    def recurse():
        recurse()

    failure = capture(raised(recurse))
    assert failure.error_type == "RecursionError"
    assert failure.error_location.endswith("in recurse")


def test_a_callable_decides_what_is_shown():
    """It gets the raw text and the error; its answer is cleaned and capped."""
    error = ValueError("secret")
    failure = capture(error, redact=lambda text, got: f"{text[:3]}\n\x1b[31m{got is error}\ud800")
    assert failure.error_message == "sec True\ufffd"
    long = capture(error, redact=lambda text, got: "ø" * 100_000).error_message
    assert len(long.encode()) <= 2048


@pytest.mark.parametrize("answer", [None, 3, b"x", SystemExit(3), ValueError("kari@example.com")])
def test_a_callable_that_fails_means_strict_and_is_said_once(answer, caplog):
    """Somebody else's redaction cannot harm the job, nor leak through the log."""

    def hide(text, error):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    hide.__qualname__ = f"hide_{os.urandom(4).hex()}"
    with caplog.at_level(logging.WARNING, "cronguard"):
        failures = [capture(ValueError("kari"), redact=hide) for _ in range(3)]
    assert [failure.error_message for failure in failures] == [None] * 3
    assert len(caplog.records) == 1
    assert "kari" not in caplog.text


def test_the_exit_of_a_command():
    """An exit status is text, a signal has its name."""
    assert exit_failure(3).error_code == "3"
    assert exit_failure(-signal.SIGKILL).error_code == "SIGKILL"
    assert exit_failure(-250).error_code.startswith("SIG")
    assert exit_failure(127).error_type == "CommandFailed"
    assert exit_failure(3).error_message is None
    assert capture_output("kari@example.com", 3).error_message is None
    shown = capture_output("oops kari", 3, redact=lambda text, error: text.upper())
    assert shown.error_message == "OOPS KARI"


def test_strict_is_light():
    """``strict`` loads neither the engine nor its words."""
    program = textwrap.dedent("""
        import sys
        from cronguard.privacy.capture import capture
        try:
            raise ValueError("x")
        except ValueError as error:
            print(capture(error))
        heavy = {"cronguard.privacy.redaction", "logging", "json", "httpx", "traceback"}
        print(sorted(heavy & set(sys.modules)))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[1] == "[]"
    assert "<string>:5 in <module>" in done.stdout


def arisen_from(cause):
    error = ValueError("no answer")
    error.__cause__ = cause
    return error


def seen_after(context):
    error = ValueError("no answer")
    error.__context__ = context
    error.__suppress_context__ = True
    return error


class Text(str):
    """A text with a mind of its own."""

    __slots__ = ()


class NamedError(ValueError):
    pass


class Attributes(dict):
    """Attributes with a mind of their own."""


def holding(attributes):
    error = ValueError("no answer")
    error.__dict__ = attributes
    return error


def noted(error):
    error.add_note("a note")
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no answer"),
        KeyError(5, None, 2.5, True),
        ZeroDivisionError(),
        arisen_from(arisen_from(TypeError("no number"))),
    ],
    ids=repr,
)
def test_plain_errors_are_read_at_once(error):
    """Built in, with plain arguments, as is what they arose from: nobody else's code runs."""
    assert is_plain(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(Text("no answer")),
        ValueError([]),
        ValueError("x" * 1_001),
        ValueError(10**3_000),
        ValueError(*range(9)),
        holding({"code": Text("23505")}),
        holding(Attributes()),
        noted(ValueError("no answer")),
        NamedError("no answer"),
        FileNotFoundError(2, "No such file or directory"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"),
        SystemExit(3),
        ImportError("no such module", name="x"),
        SyntaxError("odd"),
        RecursionError("too deep"),
        ExceptionGroup("some", [ValueError()]),
        BaseExceptionGroup("some", [ValueError()]),
        type("ValueError", (ValueError,), {"__module__": "builtins"})(),
        arisen_from(NamedError()),
        seen_after(NamedError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_get_their_time_in_a_thread(error):
    """Code of theirs may run when they are read, or they are long, or hold what may be replaced."""
    assert not is_plain(error)


def test_what_a_program_adds_to_the_builtins_is_not_plain():
    """Nor what it puts in the place of one of them."""
    code = """
import builtins
class ValueError(ValueError): pass
builtins.ValueError = builtins.OddError = ValueError
from cronguard.privacy.capture import is_plain
print(is_plain(ValueError()), is_plain(KeyError()))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_only_our_own_redaction_is_done_at_once():
    """An expression may take for ever, and a function is somebody else's: both get a thread."""
    waited = []
    for settings in ({"redact": lambda text, _: text}, {"redact_keep": ("re:x+",)}, {}):
        with recording(**settings) as record:
            call = record.runtime._captures.call

            def counted(work, timeout, call=call):
                waited.append(timeout)
                return call(work, timeout)

            record.runtime._captures.call = counted
            record.runtime.capture(ValueError("no answer"))
    assert len(waited) == 2
