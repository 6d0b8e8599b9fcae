"""Checks of the provider's account, and of what may be spent."""

import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

from seedance.aws.table import bills_key
from seedance.jobs import catalogue
from seedance.jobs.job import ParameterValues

from cli import balance, show
from cli.doctor.deployment import Deployment
from cli.doctor.results import Result, failed, ok, skipped
from cli.target import CommandError

BUDGET_PERCENT = 80.0
"""The threshold of BudgetAlarm. A test compares the two."""

_WRONG_KEY = "PROVIDER_KEY_REJECTED"
_HISTORY_SECONDS = 3600.0


def key(of: Deployment) -> Result:
    """The provider accepts the key in the secret."""
    said = of.examine("balance")
    trouble = said.get("trouble")
    if trouble is None:
        return ok("accepted by the provider")
    if trouble["code"] in (_WRONG_KEY, "CONFIGURATION"):
        return failed(trouble["message"])
    return failed(trouble["message"], remedy="The key could not be tested. Run the doctor again in a minute.")


def credits_left(of: Deployment) -> Result:
    """The provider's account has credits for at least one video."""
    said = of.examine("balance")
    if "trouble" in said:
        return skipped("not known: see provider key")
    usd = said.get("balance_usd")
    if usd is None:
        return failed(
            "the provider's response has no balance",
            remedy="The provider has changed this call. Look at its console, and send the report to the project.",
        )
    price = cheapest(of)[2]
    if usd < price:
        return failed(f"${usd:.2f} left, and the cheapest video costs ${price:.2f}")
    return ok(f"${usd:.2f} left, enough for {int(usd / price):,} of the cheapest videos at ${price:.2f}")


def cheapest(of: Deployment) -> tuple[str, ParameterValues, float]:
    """The cheapest video that can be made from an image: model, parameters, and its estimate in USD."""
    estimate = of.target.jobs.bills.estimate
    priced = [(estimate(model, parameters), model, parameters) for model, parameters in _offers()]
    usd, model, parameters = min(priced, key=lambda offer: offer[0])
    return model, parameters, usd


@cache
def _offers() -> list[tuple[str, ParameterValues]]:
    """For each model, its shortest and smallest video, without audio. Square, which has the fewest pixels."""
    offers = []
    for slug, model in catalogue.MODELS.items():
        choices: dict[str, Any] = model.parameters.model_json_schema()["properties"]
        wish = {
            "prompt": "any",
            "resolution": "480p",
            "aspect_ratio": "1:1",
            "duration": min(one for one in choices["duration"]["enum"] if one > 0),
            **({"generate_audio": False} if "generate_audio" in choices else {}),
        }
        offers.append((slug, catalogue.validate(model, wish, has_image=True)))
    return offers


def history(of: Deployment) -> Result:
    """The provider's request history can be read. Reconcile needs it to find lost submits."""
    now = time.time()
    model = of.parameters.get("DefaultModel") or next(iter(catalogue.MODELS))
    try:
        said = of.ask(ask="history", model=model, since=now - _HISTORY_SECONDS, until=now, page=1)
    except CommandError as error:
        return failed(str(error))
    return ok(f"readable; {show.number(len(said['rows']), 'row')} of {model} today")


def budget(of: Deployment) -> Result:
    """Less than 80 % of the day's budget is spent or reserved."""
    limit = float(of.parameters.get("DailyBudgetUsd") or 0)
    day = of.target.jobs.day(datetime.now(UTC).date().isoformat())
    if not limit:
        return ok(f"no limit; ${day.committed:.2f} spent or reserved today. DailyBudgetUsd sets one")
    said = f"${day.committed:.2f} of ${limit:.2f} spent or reserved today"
    return failed(said) if day.committed >= limit * BUDGET_PERCENT / 100 else ok(said)


def paused(of: Deployment) -> Result:
    """Submits are not paused."""
    why = of.target.switch.paused()
    return ok("submits are not paused") if why is None else failed(f"submits are paused: {why}")


def prices(of: Deployment) -> Result:
    """The provider charges what it has published."""
    # Without permission to read the bills, ``drifts`` takes the published prices for them.
    first = {"job_id": {"S": bills_key(next(iter(catalogue.MODELS)))}}
    of.client("dynamodb").get_item(TableName=of.target.output("JobTableName"), Key=first)
    drifts = balance.drifts(of.target)
    if drifts:
        return failed(f"{show.number(len(drifts), 'setting')} above the published price", *drifts)
    return ok("no drift from the published prices")
