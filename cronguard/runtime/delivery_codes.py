"""What the codes of failed attempts mean, and what to do, in cronguard's own sentences."""

from __future__ import annotations

_SENTENCES = {
    "answer_too_long": "what came back did not end: is it the right address?",
    "bad_answer": "what came back is not what such a service says: is it the right address?",
    "bad_proxy": "the proxy's address is not of the form http://host:port",
    "channel_error": "the channel's own code failed",
    "connection_closed": "the other side hung up",
    "connection_refused": "nobody listens there: check the address, and that the service is up",
    "connection_reset": "the connection broke",
    "dns_failure": "no such host: check the address and the name service here, or set proxy"
    " if https goes through one",
    "heartbeat_not_found": "the service knows no such check: copy its address again",
    "heartbeat_rate_limited": "the service takes no more pings of this check for now",
    "link_local": "link-local addresses are refused",
    "log_disabled": "the logger cronguard.alerts is disabled, as fileConfig() does it to loggers"
    " that it does not name: pass disable_existing_loggers=False",
    "log_filtered": "a filter of the logger cronguard.alerts or of its handlers refused the record",
    "log_handler": "the handlers of the logger cronguard.alerts failed to write the record",
    "log_level": "the logger cronguard.alerts or its handlers take no record of this level",
    "log_no_handler": "the logger cronguard.alerts has no handler: nobody would see the record",
    "network_error": "the network of this machine failed",
    "proxy_authentication": "the proxy wants a user and a password: put them into its address",
    "proxy_refused": "the proxy does not let this through",
    "proxy_unreachable": "the proxy that is set cannot be reached: check its address",
    "smtp_port_is_plain": "this port does not begin with TLS: set security to starttls, or the port"
    " to 465",
    "smtp_port_is_tls": "port 465 begins with TLS: set security to ssl, or the port to 587",
    "smtp_refused": "the mail server did not take it",
    "smtp_unsupported": "the mail server does not offer what the settings ask for",
    "timeout": "no answer in time: check that it is up and can be reached from here, or set proxy"
    " if https goes through one",
    "tls_certificate": "its certificate is not trusted here: check the address, or name its"
    " authority in SSL_CERT_FILE",
    "tls_failure": "no encrypted connection could be made: check the address and its port",
    "unreachable": "there is no way to that host from here: set proxy if https goes through one",
    "web_page": "a web page came back, so nobody has taken it: is it the right address?",
    "http_400": "it does not understand what it was sent: is it the right address?",
    "http_401": "the key is not accepted: set the right one",
    "http_402": "the account there has to be paid for, or is over its quota",
    "http_403": "the key or the address is not accepted: set the right one",
    "http_404": "there is nothing at that address: set the right one",
    "http_405": "that address takes no messages: set the right one",
    "http_407": "a proxy on the way wants a password",
    "http_410": "that address is gone: set a new one",
    "http_413": "it takes no message of that length",
    "http_429": "too many messages: it asks to wait",
    "postmark_10": "the server token is not accepted: set the right one",
    "postmark_100": "Postmark is down for maintenance",
    "postmark_300": "Postmark takes this e-mail for invalid: check from, to and message_stream",
    "postmark_400": "no sender signature of that address: confirm the one in from",
    "postmark_401": "the sender signature of the address in from is not confirmed yet",
    "postmark_405": "the Postmark account has no credit left",
    "postmark_406": "every address in to is inactive at Postmark: reactivate it there",
    "postmark_412": "the Postmark account is not approved yet: it sends to its own domain only",
    "postmark_413": "the Postmark account may not send: see its page there",
    "postmark_inactive": "some of the addresses in to are inactive at Postmark: reactivate them",
    "resend_application_error": "Resend failed on its own side",
    "resend_concurrent_idempotent_requests": "another try of the same alert is under way",
    "resend_daily_quota_exceeded": "the Resend account is over its quota for today",
    "resend_internal_server_error": "Resend failed on its own side",
    "resend_invalid_access": "this Resend key may not do that: make one with sending access",
    "resend_invalid_api_key": "the Resend key is not accepted: set the right one",
    "resend_invalid_from_address": "Resend does not take the address in from: check it",
    "resend_invalid_idempotency_key": "Resend does not take the alert's id as a key",
    "resend_invalid_idempotent_request": "Resend has taken this alert before, in other words",
    "resend_invalid_parameter": "Resend does not take a value: check from and to",
    "resend_method_not_allowed": "Resend does not take e-mails that way: upgrade cronguard",
    "resend_missing_api_key": "no key reached Resend: set api_key",
    "resend_missing_required_field": "Resend misses a value: check from and to",
    "resend_monthly_quota_exceeded": "the Resend account is over its quota for this month",
    "resend_not_found": "Resend does not know that address: upgrade cronguard",
    "resend_rate_limit_exceeded": "too many messages: it asks to wait",
    "resend_restricted_api_key": "this Resend key may not do that: make one with sending access",
    "resend_security_error": "Resend holds the account for a look at its security: see its page",
    "resend_validation_error": "Resend refuses it: check that the domain in from is verified there"
    " and that to may be written to",
    "secret_missing": "the secret is not set",
    "secret_unreadable": "the secret cannot be read",
    "slack_action_prohibited": "an administrator of Slack forbids it",
    "slack_channel_is_archived": "the webhook's channel is archived: make a webhook for another",
    "slack_channel_not_found": "the webhook's channel is gone: make a new webhook",
    "slack_invalid_blocks": "Slack does not understand the message: report it",
    "slack_invalid_payload": "Slack does not understand the message: report it",
    "slack_invalid_token": "the webhook was deleted: make a new one",
    "slack_no_active_hooks": "the webhook was switched off: make a new one",
    "slack_no_service": "the webhook was deleted: make a new one",
    "slack_no_team": "the webhook's workspace is gone: make a new webhook",
    "slack_no_text": "Slack does not understand the message: report it",
    "slack_posting_to_general_channel_denied": "only administrators may write to that channel:"
    " make a webhook for another",
    "slack_rate_limited": "too many messages: it asks to wait",
    "slack_rollup_error": "Slack failed on its own side",
    "slack_team_disabled": "the webhook's workspace was switched off: make a new webhook",
    "slack_user_not_found": "the person whom the webhook writes to is gone: make a new webhook",
    "smtp_530": "the mail server wants a login: set user and password",
    "smtp_535": "the login was refused: check user and password",
    "smtp_550": "the mail server refused the sender or the recipient: check from and to",
}
_SENTENCES_BY_PREFIX = {
    "http_30": "it leads elsewhere, which is not followed: set the address it leads to",
    "http_5": "the service failed on its own side",
    "postmark_": "Postmark refuses it; its list of error codes says why",
    "smtp_4": "the mail server asks to try again later",
    "smtp_5": "the mail server refused it",
}


def explain(code: str | None) -> str | None:
    """Return a sentence on a delivery error's code; None for a code that is not known here."""
    if code is None:
        return None
    if code in _SENTENCES:
        return _SENTENCES[code]
    return next(
        (text for prefix, text in _SENTENCES_BY_PREFIX.items() if code.startswith(prefix)), None
    )
