"""The order of a shutdown that loses nothing: linger, let streams finish, cut what is left.

Knows the hub and the clock. The listener stays open throughout; whoever calls stops the processes
afterwards.
"""

import asyncio
import contextlib
import logging

from r3mes.replica.hub import Hub

CUT_S = 3.0  # time that workers have to end the streams that were cut
QUIET_S = 1.0  # for clients that ask at once again on the connection of their last answer

log = logging.getLogger(__name__)


async def drain(hub: Hub, *, linger_s: float, timeout_s: float) -> None:
    """`linger_s` and `timeout_s` both count from now; the linger ends with the timeout at last."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    linger_s = min(linger_s, timeout_s)
    log.info("draining", extra={"linger_s": linger_s, "timeout_s": timeout_s})
    hub.begin_drain(lingering=linger_s > 0)
    if linger_s > 0:
        await asyncio.sleep(linger_s)
        hub.end_linger()
    if await (_quiet_by if linger_s > 0 else _idle_by)(hub, deadline):
        return
    log.warning("the drain's time is over", extra={"in_flight": hub.in_flight})
    hub.cut()
    await _idle_by(hub, loop.time() + CUT_S)


async def _quiet_by(hub: Hub, deadline: float) -> bool:
    """Idle, and still so a moment later."""
    while await _idle_by(hub, deadline):
        await asyncio.sleep(QUIET_S)
        if not hub.in_flight:
            return True
    return False


async def _idle_by(hub: Hub, deadline: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await hub.idle()
            return True
    return False
