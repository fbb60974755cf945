"""Broken on purpose: each promise is broken in a copy, and the tests named must go red.

``python -m tests.broken`` runs it; `entries` lists what is broken, `copies` makes the copies,
`runner` runs tests in them and judges.
"""
