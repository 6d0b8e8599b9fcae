"""`/_sandbox`: the control API for tests. It needs no key, is never logged, and is not part of the provider's API."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from local.sandbox import answers, faults, kinds
from local.sandbox.keys import STATE, STUDIO
from local.sandbox.models import MODELS
from local.sandbox.state import Config

INITIAL: web.AppKey[Config] = web.AppKey("initial", Config)
"""The configuration that the server was started with. A reset restores it."""


async def health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok", "models": list(MODELS), "running": len(request.app[STATE].running)})


async def calls(request: web.Request) -> web.Response:
    """The log, oldest first. `?path=` filters by a part of the path, `?since=` returns entries with a higher `n`."""
    part, since = request.query.get("path", ""), int(request.query.get("since", "0"))
    kept = [asdict(call) for call in request.app[STATE].calls if call.n > since and part in call.path]
    return web.json_response({"calls": kept})


async def summary(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].summary())


async def jobs(request: web.Request) -> web.Response:
    """All jobs with their real status, whatever a fault makes their records show."""
    return web.json_response(
        {"jobs": [{"model": job.order.slug, **job.as_json()} for job in request.app[STATE].jobs.values()]}
    )


async def show_faults(request: web.Request) -> web.Response:
    return web.json_response({"faults": request.app[STATE].faults.as_json()})


async def order_faults(request: web.Request) -> web.Response:
    """Order one fault, or a list of faults."""
    wishes = await _json(request)
    try:
        booked = [request.app[STATE].faults.order(wish) for wish in (wishes if isinstance(wishes, list) else [wishes])]
    except faults.InvalidFault as error:
        return answers.error(400, str(error))
    return web.json_response({"faults": [asdict(fault) for fault in booked]}, status=201)


async def clear_faults(request: web.Request) -> web.Response:
    request.app[STATE].faults.clear()
    return web.json_response({"faults": []})


async def fault_kinds(_: web.Request) -> web.Response:
    return web.json_response({"stages": kinds.STAGES, "kinds": [kind.as_json() for kind in kinds.KINDS.values()]})


async def show_config(request: web.Request) -> web.Response:
    return web.json_response(_shown(request.app[STATE].config))


async def change_config(request: web.Request) -> web.Response:
    state, wishes = request.app[STATE], await _json(request)
    try:
        state.reconfigure(state.config.changed(wishes), balance="credits" in wishes)
    except (ValueError, TypeError, AttributeError) as error:
        return answers.error(400, str(error))
    return web.json_response(_shown(state.config))


async def reset(request: web.Request) -> web.Response:
    """Delete jobs, log and faults, and reset the configuration. The encodings stay, because they are only a cache."""
    state = request.app[STATE]
    await request.app[STUDIO].abandon()
    state.reconfigure(request.app[INITIAL], balance=True)
    state.forget()
    return web.json_response({"status": "reset"})


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


def _shown(config: Config) -> dict[str, Any]:
    # Only the number of keys is shown, because logs and responses must never contain a key.
    keys = "any" if "any" in config.api_keys else len(config.api_keys)
    return config.changeable() | {"api_keys": keys, "teammates": len(config.teammates)}


ROUTES = [
    web.get("/_sandbox/health", health),
    web.get("/_sandbox/calls", calls),
    web.get("/_sandbox/summary", summary),
    web.get("/_sandbox/jobs", jobs),
    web.get("/_sandbox/faults", show_faults),
    web.post("/_sandbox/faults", order_faults),
    web.delete("/_sandbox/faults", clear_faults),
    web.get("/_sandbox/fault-kinds", fault_kinds),
    web.get("/_sandbox/config", show_config),
    web.post("/_sandbox/config", change_config),
    web.post("/_sandbox/reset", reset),
]
