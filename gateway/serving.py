"""`run.py serve`: settings, logs, signals, and the two lines on stdout."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence

import structlog
import trio

from gateway.config import Settings, SettingsError, load_settings
from persistence.errors import StoreError

EXIT_DEADLINE_S = 9.5
"""After SIGTERM the process is gone within ten seconds, whatever still hangs."""


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT: 0 after a drain, 1 if the tree gave up, 2 if not started."""
    try:
        settings = load_settings(argv)
    except SettingsError as error:
        print(f"coppice: {error}", file=sys.stderr)
        return 2
    configure_logs()
    try:
        return trio.run(serve, settings)
    except (StoreError, OSError) as error:
        print(f"coppice: {error}", file=sys.stderr)
        return 2
    except BaseExceptionGroup as group:
        expected = group.subgroup((StoreError, OSError))
        if expected is None or group.subgroup(lambda e: not isinstance(e, StoreError | OSError)):
            raise
        print(f"coppice: {first_leaf(expected)}", file=sys.stderr)
        return 2


def first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real exception within nested groups."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def serve(settings: Settings) -> int:
    from gateway.app import open_app

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_app(settings) as app:
            print(f"listening on {app.url}", flush=True)
            if app.ops_url is not None:
                print(f"ops on {app.ops_url}", flush=True)
            status = 1
            async with trio.open_nursery() as nursery:

                async def until_signal() -> None:
                    nonlocal status
                    async for _ in signals:
                        status = 0
                        break
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until_signal)
                reason = await app.root.wait_exit()
                structlog.get_logger("app").error("tree_gave_up", reason=repr(reason))
                nursery.cancel_scope.cancel()
            with trio.move_on_after(EXIT_DEADLINE_S):
                await app.drain()
    return status


def configure_logs() -> None:
    """Structured lines on stderr; warnings and worse from the libraries too."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
