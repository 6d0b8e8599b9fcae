"""Writes the list of states in video-state-changed.schema.json from the code (`make reference`)."""

import json
from pathlib import Path
from typing import Any

from seedance.jobs.job import State

PATH = Path(__file__).with_name("video-state-changed.schema.json")


def brought_up_to_date(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with all states, as examples: a list of allowed ones would refuse the states of later releases."""
    state = {**schema["$defs"]["state"], "examples": [state.value for state in State]}
    return {**schema, "$defs": {**schema["$defs"], "state": state}}


if __name__ == "__main__":
    PATH.write_text(json.dumps(brought_up_to_date(json.loads(PATH.read_text())), indent=2) + "\n")
