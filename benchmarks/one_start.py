"""A cold start, in a process of its own: import a handler, call it once, say what that took.

    python -I -S one_start.py FOLDER:FOLDER:… MODULE EVENT_FILE

Prints ``{"seconds", "bytes", "answer"}`` as its last line: from before the import until the answer, and the most memory
that the process ever held. Imports next to nothing itself: what a handler needs is the handler's to load.
"""

import sys
import time


class Context:
    """What Lambda says of an invocation."""

    function_name = "benchmark"
    function_version = "1"
    memory_limit_in_mb = 512
    aws_request_id = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:benchmark"

    def get_remaining_time_in_millis(self) -> int:
        """Plenty."""
        return 30000


def peak_bytes() -> int:
    """The most memory this process had in use, as Linux counts it."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is the handler's to import
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
