"""Lambda handler of repair: answers the requests of the `seedance` command, see seedance.repair.Repair.answer."""

from typing import Any

from seedance.aws import lambda_entry
from seedance.repair import repair
from seedance.upkeep.questions import Answer, Question


@lambda_entry.observed
def handler(event: Question, context: Any) -> Answer:
    """See seedance.repair."""
    return repair().answer(event)
