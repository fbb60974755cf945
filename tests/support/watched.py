"""A guarded job that fails while everything that likes to show variables and requests looks on.

Run as a script: ``watched.py FOLDER``. What each onlooker saw goes to a file in FOLDER; settings,
secrets and where the e-mail services are come from the environment, as in production.
"""

import json
import logging
import os
import pickle
import sys
import threading
import traceback
import warnings
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
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.transport import Transport

from cronguard import _runtime, cron_guarded
from cronguard.channels import email_postmark, email_resend

CONTROL = "c0ntrol-value"
"""Not secret: an onlooker that does not show it was not looking."""
JOB = "watched"


class Kept(Transport):
    """Sentry's, but nothing leaves."""

    seen: ClassVar = []

    def capture_envelope(self, envelope):
        self.seen.append(envelope.serialize().decode("utf-8", "replace"))


@cron_guarded(job=JOB, threshold=1)
def job(value):
    local = f"in a frame: {value}"
    raise RuntimeError(local)


def main(folder):
    for module in (email_resend, email_postmark):
        module.URL = os.environ.get("MAIL_API_URL", module.URL)
    spans = InMemorySpanExporter()
    look_on(folder, spans)
    try:
        job(CONTROL)
    except RuntimeError as error:
        show(folder, error)
    for thread in threading.enumerate():
        if thread.name == "cronguard-delivery":
            thread.join(30)
    with httpx.Client(trust_env=False) as client:  # the program's own, which all of them may show
        client.get(os.environ["CONTROL_URL"] + CONTROL)
    said = objects()
    sentry_sdk.capture_message("the end")
    sentry_sdk.flush()
    (folder / "sentry").write_text("\n".join(Kept.seen), encoding="utf-8")
    (folder / "spans").write_text("\n".join(span.to_json() for span in spans.get_finished_spans()))
    (folder / "objects").write_text(said, encoding="utf-8")
    job(CONTROL)  # and what the interpreter says of an error that nobody catches


def look_on(folder, spans):
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
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    install(show_locals=True, locals_max_string=None, width=200)


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
    runtime = _runtime.current()
    settings = runtime.settings
    said = [
        repr(each) for each in (job, runtime, settings, *settings.channels, _runtime.overrides())
    ]
    said += [repr(vars(each)) for each in (job, runtime, runtime.courier)]
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
