"""What the codes of failed attempts mean, and what to do, in cronguard's own sentences."""

from __future__ import annotations

_SENTENCES = {
    "bad_answer": "what came back is not what such a service says: is it the right address?",
    "channel_error": "the channel's own code failed",
    "connection_closed": "the other side hung up",
    "connection_refused": "nobody listens there: check the address, and that the service is up",
    "connection_reset": "the connection broke",
    "dns_failure": "no such host: check the address, and the name service of this machine",
    "network_error": "the network of this machine failed",
    "smtp_refused": "the mail server did not take it",
    "timeout": "no answer in time: check that the service is up and can be reached from here",
    "tls_certificate": "its certificate is not trusted here: check the address",
    "tls_failure": "no encrypted connection could be made: check the address and its port",
    "unreachable": "there is no way to that host from here",
    "http_400": "it does not understand what it was sent: is it the right address?",
    "http_401": "the key is not accepted: set it anew",
    "http_403": "the key or the address is not accepted: set it anew",
    "http_404": "there is nothing at that address: set it anew",
    "http_405": "that address takes no messages: set it anew",
    "http_410": "that address is gone: set a new one",
    "http_429": "too many messages: it asks to wait",
    "slack_action_prohibited": "an administrator of Slack forbids it",
    "slack_channel_is_archived": "the webhook's channel is archived: make a webhook for another",
    "slack_channel_not_found": "the webhook's channel is gone: make a new webhook",
    "slack_invalid_token": "the webhook was deleted: make a new one",
    "slack_no_active_hooks": "the webhook was switched off: make a new one",
    "slack_no_service": "the webhook was deleted: make a new one",
    "slack_no_team": "the webhook's workspace is gone: make a new webhook",
    "slack_rate_limited": "too many messages: it asks to wait",
    "smtp_530": "the mail server wants a login: set user and password",
    "smtp_535": "the login was refused: check user and password",
    "smtp_550": "the mail server refused the sender or the recipient: check from and to",
}
_SENTENCES_BY_PREFIX = {
    "http_5": "the service has trouble of its own",
    "smtp_4": "the mail server asks to try again later",
    "smtp_5": "the mail server refused it",
}


def explain(code: str | None) -> str | None:
    """Return a sentence on a delivery error's code; None for a code that is not known here."""
    if code is None:
        return None
    return _SENTENCES.get(code) or _SENTENCES_BY_PREFIX.get(code[:6])
