"""A real SMTP server (aiosmtpd) on a free loopback port, in a thread of its own."""

import asyncio
import threading
from contextlib import contextmanager

from aiosmtpd.smtp import SMTP
from support import hostile


class Mailbox:
    """Keeps what the server took; ``replies`` overrides its answers by recipient or command."""

    def __init__(self, **replies):
        self.mails, self.replies, self.hello = [], replies, []
        self.tls = self.login = None
        self.left = threading.Event()

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        session.host_name = hostname
        self.hello.append(hostname)
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        reply = self.replies.get(address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append(envelope)
        self.tls = server.transport.get_extra_info("ssl_object")
        self.login = session.auth_data
        return self.replies.get("DATA", "250 taken")

    async def handle_QUIT(self, server, session, envelope):  # noqa: N802
        self.left.set()
        return "221 bye"


@contextmanager
def serve(mailbox, *, security="starttls", **options):
    """The server's port while it runs. ``security`` as the channel's option of that name."""
    context = hostile.server_context()
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    loop = asyncio.new_event_loop()
    ready, port = threading.Event(), []
    stop = asyncio.Event()
    transports = []

    class Conversation(SMTP):
        def connection_made(self, transport):
            transports.append(transport)
            super().connection_made(transport)

    async def run():
        server = await loop.create_server(
            lambda: Conversation(mailbox, hostname="mail.test", loop=loop, **options),
            "127.0.0.1",
            0,
            ssl=context if security == "ssl" else None,
        )
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        await turns()  # asyncio loses the socket of whom it is letting in when it is closed
        server.close()
        for each in transports:
            if not each.is_closing():  # 3.11.2 fails for one of TLS that is closed
                each.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await turns()

    async def turns():
        for _ in range(5):
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        yield port[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
