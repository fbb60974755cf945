"""``cronguard report``: every job on one page.

`reading` asks the store, `contents` says it in plain values, on the time `axis` and in the `lanes`
of it, and `page` makes one HTML document of them with ``report.html``, ``.css`` and ``.js``;
`command` is what people type.
"""

__all__ = ["axis", "command", "contents", "lanes", "page", "reading"]
