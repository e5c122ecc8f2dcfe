"""`run.py serve`: settings, logs, signals, and the two lines on stdout."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

import structlog
import trio

from gateway.config import Settings, SettingsError, load_settings
from gateway.failures import in_one_line
from persistence.errors import StoreError
from supervision import CoordinatedShutdown

EXIT_DEADLINE_S = 9.0
"""After a signal: how long goodbyes and the end of the tree may take."""
LAST_RESORT_S = 9.7
"""By then the process ends, also if a write to the disk does not return. What was acknowledged is
on disk, and nothing that waits still has been."""
TREE_GAVE_UP = "the tree gave up"
"""The one reason to shut down that is no signal's."""


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT: 0 after a drain, 1 if the tree gave up or the drain had to be
    cut short, 2 if not started."""
    try:
        settings = load_settings(argv)
    except SettingsError as error:
        print(f"coppice: {error}", file=sys.stderr)
        return 2
    configure_logs()
    try:
        return trio.run(serve, settings)
    except* (StoreError, OSError) as group:
        print(f"coppice: {in_one_line(group)}", file=sys.stderr)
    return 2


async def serve(settings: Settings) -> int:
    """Serve until a signal or the end of the tree. Signals that come later change nothing: the
    drain has a deadline of its own, and interrupting it would lose its exit status."""
    from gateway.app import make_shutdown

    shutdown = make_shutdown()
    last_resort = threading.Timer(LAST_RESORT_S, _force_exit)
    last_resort.daemon = True
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def listen() -> None:
            async for number in signals:
                if not last_resort.is_alive():
                    last_resort.start()
                shutdown.request(signal.Signals(number).name)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                status = await _serve_until(shutdown, settings)
                nursery.cancel_scope.cancel()
        finally:
            last_resort.cancel()
    return status


def _force_exit() -> None:
    structlog.get_logger("app").error("exit_forced", after_s=LAST_RESORT_S)
    os._exit(1)


async def _serve_until(shutdown: CoordinatedShutdown, settings: Settings) -> int:
    from gateway.app import open_app

    async with open_app(settings, shutdown=shutdown) as app:
        print(f"listening on {app.url}", flush=True)
        if app.ops_url is not None:
            print(f"ops on {app.ops_url}", flush=True)
        async with trio.open_nursery() as nursery:

            async def watch_tree() -> None:
                reason = await app.root.wait_exit()
                structlog.get_logger("app").error("tree_gave_up", reason=repr(reason))
                shutdown.request(TREE_GAVE_UP)

            nursery.start_soon(watch_tree)
            reason = await shutdown.requested()
            nursery.cancel_scope.cancel()
        with trio.move_on_after(EXIT_DEADLINE_S):
            await shutdown.run(reason)
    return 1 if reason == TREE_GAVE_UP else 0


def configure_logs() -> None:
    """One JSON object a line on stderr, tracebacks included; warnings and worse from the actor
    system and the libraries in the same form."""
    steps: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    as_json = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*steps, as_json],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *steps],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, as_json],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
