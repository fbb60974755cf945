"""One job, guarded by one of the tools: ``jobs.py TOOL HOW``. Run by `tests.peers`, each in a
process of its own.

STORE and SINK come from the environment.
"""

# ruff: noqa: T201  # printing is what this is for

import asyncio
import os
import sys
import time

from tools import guard_with

tool, how = sys.argv[1:]
overlap = "allow" if how == "together" else "skip"
guard, after = guard_with(tool, os.environ["STORE"], os.environ["SINK"], overlap=overlap)


@guard
def job():
    print("body", flush=True)
    if how == "hang":
        time.sleep(60)
    if how == "linger":
        time.sleep(1)
    if how in {"fail", "together"}:
        raise ValueError(f"no reminder for {os.environ['PERSON']}")


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
