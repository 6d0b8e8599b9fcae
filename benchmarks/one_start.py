"""Measures one cold start in this process: imports a handler and calls it once.

    python -I -S one_start.py FOLDER:FOLDER:… MODULE EVENT_FILE

Prints ``{"seconds", "cpu", "bytes", "answer"}`` as its last line: the time from before the import until the result, and
the process's peak memory. It imports almost nothing itself, because loading what a handler needs is part of its start.
"""

import sys
import time


class Context:
    """Lambda's context of an invocation."""

    function_name = "benchmark"
    function_version = "1"
    memory_limit_in_mb = 512
    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:benchmark"

    def get_remaining_time_in_millis(self) -> int:
        """Enough for any handler."""
        return 30000


def peak_bytes() -> int:
    """The peak resident memory of this process on Linux."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - importing pathlib is part of the handler's start
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def main() -> None:
    folders, module, event_file = sys.argv[1:]
    with open(event_file, encoding="utf-8") as file:  # noqa: PTH123
        text = file.read()
    sys.path[:0] = folders.split(":")
    began, began_cpu = time.perf_counter(), time.process_time()
    import json  # noqa: PLC0415

    event = json.loads(text)
    handler = __import__(module).handler
    answer = handler(event, Context())
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    print("\n" + json.dumps({"seconds": seconds, "cpu": cpu, "bytes": peak_bytes(), "answer": answer}))


if __name__ == "__main__":
    main()
