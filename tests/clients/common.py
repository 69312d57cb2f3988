"""Runs the cases of a client and counts them."""

import inspect
import os
import sys
import time
import traceback
import uuid

SERVER = os.environ.get("HIGHWATER_SERVER", "127.0.0.1:9092")


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
        start = time.time()
        try:
            case()
            error = None
        except BaseException as caught:  # A client's own errors do not all have one base.
            error = caught
        seconds = time.time() - start
        if error is not None:
            failed += 1
            print(f"FAIL {client}: {name} ({seconds:.1f} s): {error!r}")
            traceback.print_exception(error)
        else:
            passed += 1
            print(f"ok   {client}: {name} ({seconds:.1f} s)")
    print(f"{client}: {passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
