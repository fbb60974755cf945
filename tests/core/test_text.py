"""What messages quote: no secret, and of an output what a terminal would show."""

import pytest

from cronguard.core.text import fold_overwritten, is_secret, may_be_secret

pytestmark = pytest.mark.one_python


@pytest.mark.parametrize(
    "key",
    [
        "whsec_abcdefghijklmnop",
        "sb_secret_abcdefghijkl",
        "glpat-abcdefghijklmnop",
        "SG.abcDEFghijklmnop.qrstuv",
        "re_abcDEFghijkl",
        "sk_live_abcdef123456",
        "https://app:s3cr/et@127.0.0.1/x",
        "postgresql://app:pw@h/d",
    ],
)
@pytest.mark.parametrize("around", ["{}", "env:{}", "key={};", "no ({}) here", "'{}'"])
def test_secret_with_or_without_digits(key, around):
    """A key is known by how it begins, an address by what is in front of its host."""
    assert is_secret(around.format(key))


_WORDS = "re_export_failed_items npm_config_cache key-value-store sk_item_pages a@b.example"
_WORDS += " CRONGUARD_SLACK_WEBHOOK_URL cronguard_slack_webhook_url https://example.org/a/b"


@pytest.mark.parametrize("text", _WORDS.split())
def test_ordinary_word_is_no_secret(text):
    """Names of variables, files and settings begin like keys."""
    assert not may_be_secret(text)


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"1%\r2%\r3%\nfailed\n", b"3%\nfailed\n"),
        (b"failed\r\nnext\r\n", b"failed\r\nnext\r\n"),
        (b"1%\r2%\r", b"2%\r"),
        (b"\x1b[2K\x1b[1G[1/4]\x1b[2K\x1b[G[2/4]", b"[2/4]"),
        (b"\x1b[01m\x1b[Kerror:\x1b[m\x1b[K no", b"\x1b[01m\x1b[Kerror:\x1b[m\x1b[K no"),
        (b"", b""),
    ],
)
def test_progress_bar_is_folded(output, shown):
    """Each line as a terminal would show it in the end."""
    assert fold_overwritten(output) == shown
    assert fold_overwritten(fold_overwritten(output[:4]) + output[4:]) == shown
