"""kafka-python against one node."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError

from common import SERVER, fresh, run

ADMIN = KafkaAdminClient(bootstrap_servers=SERVER)


def topic(partitions=1, config=None):
    name = fresh("kafka-python")
    ADMIN.create_topics([NewTopic(name, partitions, 1, topic_configs=config or {})])
    return name


def produce(name, records, partition=0, **conf):
    producer = KafkaProducer(**{"bootstrap_servers": SERVER, "acks": "all", "enable_idempotence": False, **conf})
    sent = [
        producer.send(name, value, key, headers or [], partition, timestamp)
        for key, value, headers, timestamp in records
    ]
    producer.flush(30)
    found = [future.get(30) for future in sent]
    producer.close()
    return found


def consumer(name, partition=0, **conf):
    made = KafkaConsumer(
        **{"bootstrap_servers": SERVER, "group_id": None, "consumer_timeout_ms": 10000, **conf}
    )
    made.assign([TopicPartition(name, partition)])
    return made


def consume(name, count, offset=0, partition=0, **conf):
    reader = consumer(name, partition, **conf)
    reader.seek(TopicPartition(name, partition), offset)
    found = []
    for message in reader:
        found.append(message)
        if len(found) == count:
            break
    reader.close()
    assert len(found) == count, f"{len(found)} of {count} records"
    return found


def plain(count):
    return [(b"k%d" % i, b"value-%d" % i, None, None) for i in range(count)]


def compressed(codec):
    name = topic()
    produce(name, plain(1000), compression_type=codec)
    found = consume(name, 1000)
    assert [m.value for m in found] == [r[1] for r in plain(1000)]
    assert [m.offset for m in found] == list(range(1000))


def uncompressed():
    compressed(None)


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
    produce(name, plain(1000), enable_idempotence=True)
    assert len(consume(name, 1000)) == 1000


def acks_0_and_1():
    name = topic()
    produce(name, plain(100), acks=0)
    produce(name, plain(100), acks=1)
    assert len(consume(name, 200)) == 200


def keys_headers_and_timestamps_come_back():
    name = topic()
    headers = [("a", b"1"), ("a", b"2")]
    produce(name, [(b"key", b"value", headers, 1_600_000_000_123), (b"key", None, None, 7)])
    first, second = consume(name, 2)
    assert (first.key, first.value, list(first.headers)) == (b"key", b"value", headers)
    assert (second.key, second.value) == (b"key", None)
    assert (first.timestamp, second.timestamp) == (1_600_000_000_123, 7)


def seek_by_offset():
    name = topic()
    produce(name, plain(500))
    assert consume(name, 100, offset=400)[0].offset == 400


def seek_by_time_and_ends():
    name = topic()
    produce(name, [(None, b"%d" % i, None, 1_600_000_000_000 + 1000 * i) for i in range(100)])
    reader, partition = consumer(name), TopicPartition(name, 0)
    assert reader.offsets_for_times({partition: 1_600_000_050_000})[partition].offset == 50
    assert reader.offsets_for_times({partition: 1_700_000_000_000})[partition] is None
    assert reader.beginning_offsets([partition])[partition] == 0
    assert reader.end_offsets([partition])[partition] == 100
    reader.close()


def topics_are_listed_described_and_deleted():
    name = topic(partitions=3)
    assert name in ADMIN.list_topics()
    assert len(ADMIN.describe_topics([name])[0]["partitions"]) == 3
    ADMIN.delete_topics([name])
    assert name not in ADMIN.list_topics()


def a_topic_that_exists_is_not_created_again():
    name = topic()
    try:
        ADMIN.create_topics([NewTopic(name, 1, 1)])
    except TopicAlreadyExistsError:
        return
    raise AssertionError("it was created twice")


def partitions_are_added():
    name = topic()
    ADMIN.create_partitions({name: NewPartitions(4)})
    produce(name, plain(10), partition=3)
    assert len(consume(name, 10, partition=3)) == 10


def configs_are_described():
    name = topic(config={"retention.ms": "1000000"})
    text = str(ADMIN.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)]))
    assert "retention.ms" in text and "1000000" in text, text


def records_are_deleted():
    name = topic()
    produce(name, plain(100))
    ADMIN.delete_records({TopicPartition(name, 0): 40})
    reader = consumer(name)
    assert reader.beginning_offsets([TopicPartition(name, 0)])[TopicPartition(name, 0)] == 40
    reader.close()


def a_topic_is_created_by_its_first_use():
    name = fresh("kafka-python-auto")
    produce(name, plain(10), max_block_ms=10000)
    assert len(consume(name, 10)) == 10


if __name__ == "__main__":
    run(globals(), "kafka-python")
