"""The four tools, each set up as its documentation shows, with a threshold where it has one."""

import os


def guard_with(tool, store, sink, *, threshold=2, overlap="skip"):
    """(decorator, function that looks for what is wrong, or None), in this process.

    ``store`` is a database's path; ``sink`` an address on loopback where the rest goes.
    """
    if tool == "cronguard":
        os.environ |= {"CRONGUARD_STORE": f"sqlite:///{store}", "CRONGUARD_WEBHOOK_URL": sink}
        from cronguard import cron_guarded

        return cron_guarded(job="reminder", threshold=threshold, overlap=overlap), None
    if tool == "cronwatch":
        import cronwatch
        from cronwatch.alerts import Webhook
        from cronwatch.stores import SqliteStore

        client = cronwatch.Cronwatch(store=SqliteStore(store), alerts=[Webhook(url=sink)])
        return client.job("reminder", failures_before_alert=threshold).monitor, client.check
    if tool == "sentry":
        import sentry_sdk

        sentry_sdk.init(dsn=sink.replace("://", "://key@") + "/1")
        return sentry_sdk.monitor(monitor_slug="reminder"), None
    import cronitor

    cronitor.api_key = "key"
    # the one thing that is not as documented: its address is a constant
    cronitor.Monitor._ping_api_url = lambda monitor: f"{sink}/{monitor.key}"
    return cronitor.job("reminder"), None
