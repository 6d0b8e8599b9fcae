"""An adversary for AWS: everything that AWS is documented to do now and then, done often, from a seed.

- **Indexes lag.** A Query on an index sees each item as it was up to a minute ago, each with another lag.
- **Writes conflict.** A write to an item of a kind that transactions change meets another transaction, once; a
  transaction is also cancelled because it is throttled.
- **Calls are throttled**, with each service's own error: most often until botocore has retried, sometimes for good. A
  batch is done in part: BatchGetItem leaves keys unprocessed, SendMessageBatch and PutEvents refuse entries.

It also keeps the table's stream: a record for each write, as announce gets it.

It acts on the functions' own clients only (``aws.clients``), between botocore's parameters and its HTTP connection.

Sources: the DynamoDB API reference (TransactWriteItems, BatchGetItem) and developer guide (global secondary indexes,
read consistency); S3's, SQS's, SNS's and Step Functions' lists of errors; botocore's service models.
"""

import copy
import inspect
import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.endpoint import Endpoint
from botocore.retries.quota import RetryQuota
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from seedance.aws import clients
from table_stream import Write
from urllib3 import HTTPResponse

LAG_SECONDS = 60.0
"""The longest lag of an index. DynamoDB promises none; it is usually a fraction of a second."""

TOUCHED = ("day#", "count#", "request#", "link#")
"""The kinds of items, besides jobs, that transactions change."""

CONFLICT = "TransactionConflict"
_REASONS = {
    CONFLICT: "Transaction is ongoing for the item.",
    "ThrottlingError": "Throughput exceeds the current capacity of your table or index.",
    "ProvisionedThroughputExceeded": "The level of configured provisioned throughput for the table was exceeded.",
}
_INDEX_NAME = list(inspect.signature(Table.query).parameters).index("index_name") - 1
_SINGLE_WRITES = ("PutItem", "UpdateItem", "DeleteItem")
_FOR_GOOD = 1000


@dataclass
class Adversary:
    """What it does is decided by ``seed`` and by the number of the call, so that a play can be repeated.

    ``conflicts``, ``throttled``, ``refused`` and ``partial`` are the shares of the calls to which it happens.
    """

    seed: int = 0
    conflicts: float = 0.5
    throttled: float = 0.2
    refused: float = 0.0
    """Throttled in every attempt of botocore's."""
    partial: float = 0.3
    lag_seconds: float = LAG_SECONDS
    now: Callable[[], float] = time.time
    findings: list[str] = field(default_factory=list)
    """What must be corrected in this file, or in the code."""
    met: Counter[str] = field(default_factory=Counter)
    """How often each of them happened."""
    stream: list[Write] = field(default_factory=list)
    """The table's stream so far (see table_stream)."""
    _numbers: Counter[str] = field(default_factory=Counter)
    _met_writes: set[str] = field(default_factory=set)
    _versions: dict[str, list[tuple[float, Any]]] = field(default_factory=dict)
    _throttles: threading.local = field(default_factory=threading.local)
    _asking: int = 0

    # calls ----------------------------------------------------------------------------------------------------

    def through(self, client: Any, operation: str, params: Any, call: Callable[[Any], Any], who: str) -> Any:
        """A call on its way. ``call`` makes it; ``who`` is the function."""
        service = client.meta.service_model.service_name
        chance = self._chance(f"{who} {service}.{operation}")
        if service == "dynamodb" and (error := self._conflict(client, operation, params, chance)):
            raise error
        self._throttles.left = self._attempts(chance)
        try:
            if operation in ("SendMessageBatch", "PutEvents"):
                return self._send_some(params, call, chance, operation)
            if operation != "Query":
                answer = call(params)
                return self._unprocessed(params, answer, chance) if operation == "BatchGetItem" else answer
            self._asking += 1
            try:
                return call(params)
            finally:
                self._asking -= 1
        finally:
            self.spare()

    def turn_nasty(self, seed: int, refused: float) -> None:
        """From now on, decide by another seed, and throttle some calls for good."""
        self.seed, self.refused = seed, refused

    def spare(self) -> None:
        """Let the call in progress pass unharmed."""
        self._throttles.left = 0

    def answer(self, service: str, url: str) -> AWSResponse | None:
        """The response to one attempt of botocore's, if it is throttled."""
        if not getattr(self._throttles, "left", 0):
            return None
        self._throttles.left -= 1
        self.met["throttled"] += 1
        status, headers, body = _throttle(service, self._throttles.left)
        return AWSResponse(url, status, headers, HTTPResponse(io.BytesIO(body), headers, status, preload_content=False))

    def _chance(self, what: str) -> random.Random:
        self._numbers[what] += 1
        return random.Random(f"{self.seed} {what} {self._numbers[what]}")  # noqa: S311 - repeatable, not a secret

    def _attempts(self, chance: random.Random) -> int:
        """How many attempts of the call are throttled."""
        if chance.random() < self.refused:
            self.met["refused"] += 1
            return _FOR_GOOD
        return chance.choice((1, 1, 2, 4)) if chance.random() < self.throttled else 0

    def _conflict(self, client: Any, operation: str, params: Any, chance: random.Random) -> Exception | None:
        """A write meets another transaction, once for each write."""
        if operation == "TransactWriteItems":
            keys = [_key(next(iter(action.values()))) for action in params["TransactItems"]]
            self.findings += [f"a transaction changes {key}" for key in keys if not _is_touched(key)]
        elif operation not in _SINGLE_WRITES or not _is_touched(_key(params)):
            return None
        write = json.dumps(params, sort_keys=True, default=str)
        if write in self._met_writes:
            return None
        self._met_writes.add(write)
        if chance.random() >= self.conflicts:
            return None
        self.met["conflicts"] += 1
        if operation != "TransactWriteItems":
            return _error(client, operation, "TransactionConflictException", _REASONS[CONFLICT])
        hit = set(chance.sample(range(len(keys)), chance.randint(1, len(keys))))
        codes = [chance.choice([CONFLICT, CONFLICT, *_REASONS]) if n in hit else "None" for n in range(len(keys))]
        reasons = [{"Code": code, "Message": _REASONS[code]} if code != "None" else {"Code": code} for code in codes]
        words = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
        return _error(client, operation, "TransactionCanceledException", words, CancellationReasons=reasons)

    def _unprocessed(self, params: Any, answer: Any, chance: random.Random) -> Any:
        """BatchGetItem returns at least one of the keys, and leaves others unprocessed."""
        if chance.random() >= self.partial:
            return answer
        for table, wanted in params["RequestItems"].items():
            left = wanted["Keys"][chance.randint(1, len(wanted["Keys"])) :]
            if left:
                self.met["unprocessed"] += 1
                answer["UnprocessedKeys"] = {table: {**wanted, "Keys": left}}
                found = answer["Responses"].get(table, [])
                missing = [key["job_id"] for key in left]
                answer["Responses"][table] = [item for item in found if item["job_id"] not in missing]
        return answer

    def _send_some(self, params: Any, call: Callable[[Any], Any], chance: random.Random, operation: str) -> Any:
        """SendMessageBatch or PutEvents accepts some of the entries, and reports the others as failed."""
        entries = params["Entries"]
        if chance.random() >= self.partial or len(entries) < 2:
            return call(params)
        self.met["entries refused"] += 1
        if operation == "PutEvents":  # its answer has an entry for each, in their order
            refused = set(chance.sample(range(len(entries)), chance.randint(1, len(entries) - 1)))
            answer = call({**params, "Entries": [one for n, one in enumerate(entries) if n not in refused]})
            accepted = iter(answer["Entries"])
            error = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
            told = [error if n in refused else next(accepted) for n in range(len(entries))]
            return {**answer, "FailedEntryCount": len(refused), "Entries": told}
        cut = chance.randint(1, len(entries) - 1)
        answer = call({**params, "Entries": entries[:cut]})
        failed = [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in entries[cut:]]
        return {**answer, "Failed": [*answer.get("Failed", []), *failed]}

    # indexes ----------------------------------------------------------------------------------------------------

    def wrote(self, key: str, item: Any) -> None:
        """An item was written, or deleted (None)."""
        before, after = self._versions.get(key, [(0.0, None)])[-1][1], copy.deepcopy(item)
        if before or after:
            self.stream.append(Write(key, before, after, self.now()))
        self._versions.setdefault(key, []).append((self.now(), after))

    def seen(self, table: Table) -> Table:
        """The table as its indexes show it to a query of a function."""
        if not self._asking or not self.lag_seconds:
            return table
        chance = self._chance("index")
        stale = copy.copy(table)
        stale.items = {}  # type: ignore[assignment]
        current = {key.value: (key, item) for key, item in table.items.items()}
        for key in sorted({*current, *self._versions}):
            lag = self.lag_seconds * chance.random() if chance.random() < 0.5 else 0.0
            versions = self._versions.get(key) or [(0.0, current[key][1])]
            item = next((item for at, item in reversed(versions) if at <= self.now() - lag), None)
            if lag and item is not versions[-1][1]:
                self.met["stale"] += 1
            if item is not None:
                stale.items[item.hash_key] = item
        return stale

    def caught_up(self) -> None:
        """Every index has caught up."""
        for key, versions in self._versions.items():
            self._versions[key] = [(0.0, versions[-1][1])]


def of_a_function(client: Any) -> bool:
    """Whether a client is one of the functions' own (``aws.clients``), not one of a test."""
    return bool(client.meta.config.read_timeout == clients.READ_SECONDS)


def _is_touched(key: str) -> bool:
    return "#" not in key or key.startswith(TOUCHED)


def _key(part: Mapping[str, Any]) -> str:
    return str((part.get("Key") or part["Item"])["job_id"]["S"])


def _error(client: Any, operation: str, code: str, message: str, **more: Any) -> Exception:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}, **more}
    return client.exceptions.from_code(code)(answer, operation)  # type: ignore[no-any-return]


def _throttle(service: str, number: int) -> tuple[int, dict[str, str], bytes]:
    """A throttle as a service writes it: status, headers and body."""
    if service == "s3":
        words = "<Code>SlowDown</Code><Message>Please reduce your request rate.</Message>"
        return 503, {"Content-Type": "application/xml"}, f"<Error>{words}</Error>".encode()
    if service == "sns":
        words = "<Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message>"
        return 400, {"Content-Type": "text/xml"}, f"<ErrorResponse><Error>{words}</Error></ErrorResponse>".encode()
    dynamo = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")
    code = {"dynamodb": dynamo[number % 3], "sqs": "RequestThrottled"}.get(service, "ThrottlingException")
    body = json.dumps({"__type": f"com.amazonaws.{service}#{code}", "message": "Rate exceeded"}).encode()
    return 400, {"Content-Type": "application/x-amz-json-1.0"}, body


def install(
    patch: pytest.MonkeyPatch, current: Callable[[], Adversary | None], who: Callable[[], str] = lambda: ""
) -> None:
    """Put the functions' calls at the mercy of the current adversary. ``who`` says which function is running."""
    api_call, send = BaseClient._make_api_call, Endpoint._send

    def make_api_call(self: Any, operation_name: str, api_kwargs: Any) -> Any:
        adversary = current()
        if adversary is None or not of_a_function(self):
            return api_call(self, operation_name, api_kwargs)
        return adversary.through(
            self, operation_name, api_kwargs, lambda params: api_call(self, operation_name, params), who()
        )

    def send_one(self: Any, request: Any) -> Any:
        adversary = current()
        return (adversary and adversary.answer(self._endpoint_prefix, request.url)) or send(self, request)

    patch.setattr(BaseClient, "_make_api_call", make_api_call)
    patch.setattr(Endpoint, "_send", send_one)
    # What is throttled for good is drawn; botocore's own quota would add to it, depending on what was played before.
    patch.setattr(RetryQuota, "acquire", lambda *_: True)


def watch(patch: pytest.MonkeyPatch, current: Callable[[], Adversary | None]) -> None:
    """Let the adversary see every write to moto's tables, and show it to queries of an index when it likes."""
    query, depth = Table.query, threading.local()

    def watched(name: str, keys: Callable[..., list[str]]) -> None:
        write = getattr(DynamoDBBackend, name)

        @wraps(write)
        def noted(self: DynamoDBBackend, *args: Any, **kwargs: Any) -> Any:
            inner = getattr(depth, "value", 0)
            depth.value = inner + 1
            try:
                result = write(self, *args, **kwargs)
            finally:
                depth.value = inner
            # The writes of a transaction count when all of them are done.
            if not inner and (adversary := current()):
                for table_name, key in keys(*args, **kwargs):
                    table = self.get_table(table_name)
                    found = next((item for of, item in table.items.items() if of.value == key), None)
                    adversary.wrote(key, found)
            return result

        patch.setattr(DynamoDBBackend, name, noted)

    def of_put(table_name: str, item_attrs: Any, *_: Any, **__: Any) -> Any:
        return [(table_name, item_attrs["job_id"]["S"])]

    def of_key(table_name: str, key: Any, *_: Any, **__: Any) -> Any:
        return [(table_name, key["job_id"]["S"])]

    def of_all(transact_items: Any) -> Any:
        parts = [next(iter(action.values())) for action in transact_items]
        return [(part["TableName"], _key(part)) for part in parts]

    watched("put_item", of_put)
    watched("update_item", of_key)
    watched("delete_item", of_key)
    watched("transact_write_items", of_all)

    def stale_query(self: Table, *args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index_name") or (args[_INDEX_NAME] if len(args) > _INDEX_NAME else None)
        adversary = current() if index else None
        return query(adversary.seen(self) if adversary else self, *args, **kwargs)

    patch.setattr(Table, "query", stale_query)
