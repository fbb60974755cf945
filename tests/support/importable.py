"""Guarded callables that other processes can import, as jobs in a module are."""

import asyncio
import functools
import os

from cronguard import cron_guarded


@cron_guarded
def job(what):
    return what, os.getpid()


@cron_guarded(job="async_job")
async def async_job(what):
    await asyncio.sleep(0)
    return what, os.getpid()


def original(what):
    return what, os.getpid()


renamed = cron_guarded(job="renamed", threshold=5, ignore=(KeyError,))(original)


async def async_original(what):
    return what, os.getpid()


async_renamed = cron_guarded(async_original, job="async_renamed")
part = cron_guarded(job="part")(functools.partial(original, "part"))


class Jobs:
    """Every kind of method."""

    def __init__(self, name="jobs"):
        self.name = name

    @cron_guarded(job="method")
    def method(self, what):
        return self.name, what, os.getpid()

    @cron_guarded(job="class_method")
    @classmethod
    def class_method(cls, what):
        return cls.__name__, what, os.getpid()

    @cron_guarded(job="static_method")
    @staticmethod
    def static_method(what):
        return what, os.getpid()

    @staticmethod
    @cron_guarded(job="inside")
    def inside(what):
        return what, os.getpid()

    other_name = cron_guarded(job="other_name")(lambda self, what: (self.name, what, os.getpid()))

    def __call__(self, what):
        return self.name, what, os.getpid()


class Heir(Jobs):
    """Inherits them."""


called = cron_guarded(job="called")(Jobs("called"))
