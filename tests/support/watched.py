"""A guarded job that fails while everything that likes to show variables and requests looks on.

Run as a script it reads tasks from standard input, a line of JSON each, and plays each of them in
processes of its own that fork off with everything imported already. A task is a list of plays that
happen side by side: ``{"folder": …, "environ": …, "command": […]}``, where no command means the
job. What each onlooker saw goes to files in the folder; settings, secrets and where the e-mail
services are come from the environment, as in production.
"""

import contextlib
import gc
import json
import logging
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
import warnings
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar

import httpx
import sentry_sdk
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console
from rich.traceback import Traceback, install
from sentry_sdk.integrations import iter_default_integrations
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.transport import Transport

from cronguard import cron_guarded
from cronguard.channels import email_postmark, email_resend
from cronguard.cli import main as command_line
from cronguard.runtime import composition

CONTROL = "c0ntrol-value"
"""Not secret: an onlooker that does not show it was not looking."""
JOB = "watched"
PATIENCE = 120


class Kept(Transport):
    """Sentry's, but nothing leaves."""

    seen: ClassVar = []

    def capture_envelope(self, envelope):
        self.seen.append(envelope.serialize().decode("utf-8", "replace"))


@cron_guarded(job=JOB, threshold=1)
def job(value):
    local = f"in a frame: {value}"
    raise RuntimeError(local)


def play_job(folder):
    spans = look_on(folder)
    try:
        job(CONTROL)
    except RuntimeError as error:
        show(folder, error)
    for thread in threading.enumerate():
        if thread.name == "cronguard-delivery":
            thread.join(30)
    said = objects()
    tell(folder, spans)
    (folder / "objects").write_text(said, encoding="utf-8")
    job(CONTROL)  # and what the interpreter says of an error that nobody catches


def play_command(folder, args):
    spans = look_on(folder)
    logging.getLogger("watched").debug(CONTROL)
    code = command_line(args)
    tell(folder, spans)
    sys.stdout.flush()
    os._exit(code)  # taking everything down again would take the most time of all


def look_on(folder):
    logging.basicConfig(filename=folder / "log", level=logging.DEBUG)
    sentry_sdk.init(
        dsn="https://key@127.0.0.1:9/1",
        transport=Kept,
        include_local_variables=True,
        attach_stacktrace=True,
        send_default_pii=True,
        traces_sample_rate=1.0,
        max_breadcrumbs=1000,
        event_scrubber=EventScrubber(denylist=[], pii_denylist=[]),
        integrations=[LoggingIntegration(level=logging.DEBUG, event_level=logging.WARNING)],
        disabled_integrations=[ModulesIntegration()],  # reads the names of all packages, slowly
    )
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    install(show_locals=True, locals_max_string=None, width=200)
    return spans


def say(line):
    """To the test, on standard output."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def tell(folder, spans):
    """Write down what Sentry and OpenTelemetry have seen."""
    with httpx.Client(
        trust_env=False, verify=False
    ) as client:  # the program's own, which all of them may show
        client.get(os.environ["CONTROL_URL"] + CONTROL)
    sentry_sdk.capture_message("the end")
    sentry_sdk.flush()
    (folder / "sentry").write_text("\n".join(Kept.seen), encoding="utf-8")
    (folder / "spans").write_text("\n".join(span.to_json() for span in spans.get_finished_spans()))


def show(folder, error):
    sentry_sdk.capture_exception(error)
    with (folder / "rich").open("w", encoding="utf-8") as file:
        shown = Traceback.from_exception(
            type(error), error, error.__traceback__, show_locals=True, locals_max_string=None
        )
        Console(file=file, width=200).print(shown)
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    (folder / "traceback").write_text("".join(lines), encoding="utf-8")
    if sys.version_info < (3, 13):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cgitb
        known = (type(error), error, error.__traceback__)
        (folder / "cgitb").write_text(cgitb.text(known, 10), encoding="utf-8")


def objects():
    """What cronguard's objects say of themselves, and what they would take along in a pickle."""
    runtime = composition.current()
    settings = runtime.settings
    said = [
        repr(each) for each in (job, runtime, settings, *settings.channels, composition.overrides())
    ]
    said += [repr(vars(each)) for each in (job, runtime, runtime.dispatcher)]
    said += [f"{runtime.store!r} {runtime.store}"]
    said += [repr(pickle.dumps(each)) for each in (job, settings.channels, settings._asdict())]
    built = []
    for channel in settings.channels:
        try:
            built.append(runtime._build_channel(channel.name))
        except Exception as error:  # noqa: BLE001
            said += [repr(error), repr(error.__context__), repr(pickle.dumps(error))]
            said += traceback.format_exception(error)
    said += [f"{each!r} {each}" for each in built]
    return json.dumps(said) + CONTROL


# --- a process for each play ------------------------------------------------------------------


def serve():
    """Fork a process for each play; returns in that process, with what is to be played."""
    for group in ("channels", "stores", "secrets"):
        for each in entry_points(group=f"cronguard.{group}"):
            each.load()  # here and not again in each process
    list(iter_default_integrations(with_auto_enabling_integrations=True))  # likewise
    gc.freeze()
    say("ready")
    for line in sys.stdin:
        children = []
        for play in json.loads(line):
            children.append(os.fork())
            if not children[-1]:
                return play
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        say(json.dumps(ends))
    return None


def enter(play):
    """Become the process that the play is for."""
    signal.alarm(PATIENCE)
    folder = Path(play["folder"])
    os.environ.clear()
    os.environ.update(play["environ"])
    os.chdir(folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, flags, 0o600), number)
    for module in (email_resend, email_postmark):
        module.URL = os.environ.get("MAIL_API_URL", module.URL)
    if resolver := os.environ.get("RESOLVER"):
        socket.getaddrinfo = RESOLVERS[resolver]
    if seconds := os.environ.get("DELIVERY_SECONDS"):
        for name, module in list(sys.modules.items()):
            if name.startswith("cronguard.") and hasattr(module, "DELIVERY_SECONDS"):
                module.DELIVERY_SECONDS = float(seconds)
    return folder


_resolve = socket.getaddrinfo


def _knows_nobody(host, *args, **options):
    with contextlib.suppress(OSError, ValueError):
        return _resolve(host, *args, **options | {"flags": socket.AI_NUMERICHOST})
    raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host!r}")


def _never_answers(host, *args, **options):
    with contextlib.suppress(OSError, ValueError):
        return _resolve(host, *args, **options | {"flags": socket.AI_NUMERICHOST})
    threading.Event().wait()
    raise AssertionError("it never comes to this")


RESOLVERS = {"knows nobody": _knows_nobody, "never answers": _never_answers}

if __name__ == "__main__" and (_play := serve()):
    _command, _folder = _play.get("command"), enter(_play)
    del _play  # it holds the environment, and tracebacks show it
    if _command is None:
        play_job(_folder)
    else:
        play_command(_folder, _command)
