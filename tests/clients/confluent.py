"""confluent-kafka (librdkafka) against one node: each case is a function whose name says what must hold."""

import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from common import SERVER, fresh, run

CONF = {"bootstrap.servers": SERVER, "socket.timeout.ms": 20000}


# One for all: its futures end with it.
ADMIN = AdminClient(CONF)


def admin():
    return ADMIN


def topic(partitions=1, config=None):
    name = fresh("confluent")
    admin().create_topics([NewTopic(name, partitions, 1, config=config or {})])[name].result(20)
    return name


def produce(name, records, partition=0, **conf):
    failed, offsets = [], []

    def done(error, message):
        (failed if error else offsets).append(error or message.offset())

    producer = Producer({**CONF, "linger.ms": 5, **conf})
    for key, value, headers, timestamp in records:
        producer.produce(
            name, value, key, partition, on_delivery=done, headers=headers, timestamp=timestamp
        )
        producer.poll(0)
    assert producer.flush(30) == 0, "not everything was delivered"
    assert not failed, failed[0]
    return offsets


def consume(name, count, offset=0, partition=0, **conf):
    consumer = Consumer(
        {**CONF, "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": False, **conf}
    )
    consumer.assign([TopicPartition(name, partition, offset)])
    found, until = [], time.time() + 30
    while len(found) < count and time.time() < until:
        message = consumer.poll(1)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message)
    consumer.close()
    assert len(found) == count, f"{len(found)} of {count} records"
    return found


def plain(count, size=100):
    return [(b"k%d" % i, (b"v%d-" % i).ljust(size, b"x"), None, 0) for i in range(count)]


def compressed(codec):
    name = topic()
    records = plain(2000)
    produce(name, records, **{"compression.type": codec})
    found = consume(name, len(records))
    assert [m.value() for m in found] == [r[1] for r in records]
    assert [m.offset() for m in found] == list(range(len(records)))


def uncompressed():
    compressed("none")


def gzip():
    compressed("gzip")


def snappy():
    compressed("snappy")


def lz4():
    compressed("lz4")


def zstd():
    compressed("zstd")


def idempotent():
    name = topic()
    produce(name, plain(2000), **{"enable.idempotence": True})
    assert [m.offset() for m in consume(name, 2000)] == list(range(2000))


def acks_0_and_1():
    name = topic()
    produce(name, plain(100), acks=0)
    produce(name, plain(100), acks=1)
    assert len(consume(name, 200)) == 200


def keys_headers_and_timestamps_come_back():
    name = topic()
    headers = [("a", b"1"), ("a", b"2"), ("none", None), ("empty", b"")]
    records = [(b"key", b"value", headers, 1_600_000_000_123), (None, None, None, 1_600_000_000_124), (b"", b"", None, 7)]
    produce(name, records)
    found = consume(name, 3)
    assert [(m.key(), m.value()) for m in found] == [(b"key", b"value"), (None, None), (b"", b"")]
    assert found[0].headers() == headers
    assert [m.timestamp()[1] for m in found] == [1_600_000_000_123, 1_600_000_000_124, 7]


def large_records():
    name = topic()
    produce(name, [(None, bytes(900_000), None, 0)] * 5)
    assert [len(m.value()) for m in consume(name, 5)] == [900_000] * 5


def a_record_above_the_limit_is_refused():
    name = topic(config={"max.message.bytes": "2000"})
    try:
        produce(name, [(None, bytes(5000), None, 0)])
    except AssertionError as error:
        assert "too large" in str(error).lower(), error
        return
    raise AssertionError("it was taken")


def seek_by_offset():
    name = topic()
    produce(name, plain(500))
    assert consume(name, 100, offset=400)[0].offset() == 400


def seek_by_time():
    name = topic()
    produce(name, [(None, b"%d" % i, None, 1_600_000_000_000 + 1000 * i) for i in range(100)], **{"batch.num.messages": 7})
    consumer = Consumer({**CONF, "group.id": "none"})
    ask = lambda time: consumer.offsets_for_times([TopicPartition(name, 0, time)], timeout=20)[0].offset
    assert ask(1_600_000_050_000) == 50
    assert ask(1_600_000_050_001) == 51
    assert ask(0) == 0
    assert ask(1_700_000_000_000) == -1
    assert consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=20) == (0, 100)
    consumer.close()


def an_offset_out_of_range_is_reset():
    name = topic()
    produce(name, plain(10))
    found = consume(name, 10, offset=5000, **{"auto.offset.reset": "earliest"})
    assert found[0].offset() == 0


def a_consumer_that_waits_is_woken():
    name = topic()
    consumer = Consumer({**CONF, "group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 5000})
    consumer.assign([TopicPartition(name, 0, 0)])
    assert consumer.poll(2) is None
    produce(name, plain(1))
    start = time.time()
    assert consumer.poll(10) is not None
    assert time.time() - start < 3, "it was woken when its time was up"
    consumer.close()


def topics_are_listed_described_and_deleted():
    name = topic(partitions=3)
    found = admin().list_topics(timeout=20).topics[name]
    assert sorted(found.partitions) == [0, 1, 2]
    assert found.partitions[0].leader >= 0 and found.partitions[0].isrs == [found.partitions[0].leader]
    admin().delete_topics([name])[name].result(20)
    assert name not in admin().list_topics(timeout=20).topics


def a_topic_that_exists_is_not_created_again():
    name = topic()
    try:
        admin().create_topics([NewTopic(name, 1, 1)])[name].result(20)
    except KafkaException as error:
        assert error.args[0].name() == "TOPIC_ALREADY_EXISTS", error
        return
    raise AssertionError("it was created twice")


def partitions_are_added():
    name = topic()
    admin().create_partitions([NewPartitions(name, 4)])[name].result(20)
    assert len(admin().list_topics(timeout=20).topics[name].partitions) == 4
    produce(name, plain(10), partition=3)
    assert len(consume(name, 10, partition=3)) == 10


def configs_are_described_and_altered():
    name = topic(config={"retention.ms": "1000000"})
    resource = ConfigResource(ResourceType.TOPIC, name)
    describe = lambda: admin().describe_configs([resource])[resource].result(20)
    assert describe()["retention.ms"].value == "1000000"
    change = ConfigResource(
        ResourceType.TOPIC,
        name,
        incremental_configs=[
            ConfigEntry("retention.ms", "2000000", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    admin().incremental_alter_configs([change])[change].result(20)
    assert describe()["retention.ms"].value == "2000000"


def records_are_deleted():
    name = topic()
    produce(name, plain(100))
    asked = TopicPartition(name, 0, 40)
    assert admin().delete_records([asked])[asked].result(20).low_watermark == 40
    assert consume(name, 60, offset=40)[0].offset() == 40
    consumer = Consumer({**CONF, "group.id": "none"})
    assert consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=20)[0] == 40
    consumer.close()


def the_cluster_is_described():
    cluster = admin().describe_cluster().result(20)
    assert len(cluster.nodes) == 1 and cluster.controller.id == cluster.nodes[0].id, cluster


def offsets_are_listed():
    from confluent_kafka.admin import OffsetSpec

    name = topic()
    produce(name, plain(10))
    asked = TopicPartition(name, 0)
    result = admin().list_offsets({asked: OffsetSpec.latest()})[asked].result(20)
    assert result.offset == 10


def a_topic_is_created_by_its_first_use():
    name = fresh("confluent-auto")
    produce(name, plain(10))
    assert len(consume(name, 10)) == 10


if __name__ == "__main__":
    run(globals(), "confluent-kafka")
