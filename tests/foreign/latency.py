"""Closed loop: one record of 1 KiB at a time, the next one when the one before is acknowledged; microseconds."""

import sys
import time

from confluent_kafka import Producer


def main(bootstrap, topic, count):
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
    failed, taken = [], []
    value = bytes(1024)

    def done(error, _):
        if error:
            failed.append(error)

    warm = max(count // 10, 100)
    for at in range(warm + count):
        start = time.perf_counter()
        producer.produce(topic, value, partition=0, on_delivery=done)
        while len(producer):
            producer.poll(5)
        if at >= warm:
            taken.append(time.perf_counter() - start)
    assert not failed, failed[0]
    taken.sort()
    print(*(round(taken[int(share * count)] * 1e6) for share in (0.5, 0.99)))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
