"""Runs the cases of a client and counts them."""

import inspect
import os
import sys
import time
import traceback
import uuid

SERVER = os.environ.get("HIGHWATER_SERVER", "127.0.0.1:9092")

# Cases that fail for a known reason, until that reason is gone: one that passes must leave the list.
NO_PRODUCER_IDS = "InitProducerId is not served yet"
WAITING = {
    ("confluent-kafka", "idempotent"): NO_PRODUCER_IDS,
    ("kafka-python", "idempotent"): NO_PRODUCER_IDS,
    ("aiokafka", "idempotent"): NO_PRODUCER_IDS,
}


def fresh(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def cases(module):
    """Functions without arguments that are defined in the file itself and stand in it as a case."""
    helpers = {"admin", "topic", "main"}
    for name, case in module.items():
        if name in helpers or not callable(case) or getattr(case, "__module__", None) != "__main__":
            continue
        if case.__code__.co_argcount == 0 and not inspect.iscoroutinefunction(case):
            yield name, case


def run(module, client):
    passed, failed = 0, 0
    only = sys.argv[1:]
    for name, case in list(cases(module)):
        if only and name not in only:
            continue
        waiting = WAITING.get((client, name))
        start = time.time()
        try:
            case()
            error = None
        except BaseException as caught:  # A client's own errors do not all have one base.
            error = caught
        seconds = time.time() - start
        if waiting and error is not None:
            print(f"wait {client}: {name}: {waiting}")
        elif waiting:
            failed += 1
            print(f"FAIL {client}: {name}: passes now, so take it off the list")
        elif error is not None:
            failed += 1
            print(f"FAIL {client}: {name} ({seconds:.1f} s): {error!r}")
            traceback.print_exception(error)
        else:
            passed += 1
            print(f"ok   {client}: {name} ({seconds:.1f} s)")
    print(f"{client}: {passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
