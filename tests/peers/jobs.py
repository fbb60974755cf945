"""One job, guarded by one of the tools: ``jobs.py TOOL HOW``. Run by `tests.peers`, each in a
process of its own.

Every tool is used as its documentation shows, with a threshold of 2 where it has one. STORE and
SINK come from the environment.
"""

# ruff: noqa: T201  # printing is what this is for

import asyncio
import os
import sys
import time

STORE, SINK = os.environ["STORE"], os.environ["SINK"]
tool, how = sys.argv[1:]
after = None

if tool == "cronguard":
    os.environ["CRONGUARD_STORE"] = f"sqlite:///{STORE}"
    os.environ["CRONGUARD_WEBHOOK_URL"] = SINK
    from cronguard import cron_guarded

    overlap = "allow" if how == "together" else "skip"
    guard = cron_guarded(job="reminder", threshold=2, overlap=overlap)
elif tool == "cronwatch":
    import cronwatch
    from cronwatch.alerts import Webhook
    from cronwatch.stores import SqliteStore

    client = cronwatch.Cronwatch(store=SqliteStore(STORE), alerts=[Webhook(url=SINK)])
    guard = client.job("reminder", failures_before_alert=2).monitor
    after = client.check
elif tool == "sentry":
    import sentry_sdk

    sentry_sdk.init(dsn=SINK.replace("://", "://key@") + "/1")
    guard = sentry_sdk.monitor(monitor_slug="reminder")
else:
    import cronitor

    cronitor.api_key = "key"
    # the one thing that is not as documented: its address is a constant
    cronitor.Monitor._ping_api_url = lambda monitor: f"{SINK}/{monitor.key}"
    guard = cronitor.job("reminder")


@guard
def job():
    print("body", flush=True)
    if how == "hang":
        time.sleep(60)
    if how == "linger":
        time.sleep(1)
    if how in {"fail", "together"}:
        phone = "+47 912 34 567"
        raise ValueError(f"no reminder for Ingrid Solberg, {phone}")


@guard
async def async_job():
    await asyncio.sleep(0.1)
    print("body", flush=True)
    raise ValueError("no luck")


if how == "together":
    print("ready", flush=True)
    sys.stdin.read()
if how == "async":
    asyncio.run(async_job())
else:
    job()
if after and how == "check":
    after()
