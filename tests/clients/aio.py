"""aiokafka against one node."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from common import SERVER, fresh, run


async def topic(partitions=1):
    name = fresh("aiokafka")
    admin = AIOKafkaAdminClient(bootstrap_servers=SERVER)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()
    return name


async def produce(name, records, partition=0, **conf):
    producer = AIOKafkaProducer(**{"bootstrap_servers": SERVER, "acks": "all", **conf})
    await producer.start()
    sent = [
        await producer.send(name, value, key, partition, timestamp, headers)
        for key, value, headers, timestamp in records
    ]
    found = await asyncio.wait_for(asyncio.gather(*sent), 30)
    await producer.stop()
    return found


async def consume(name, count, offset=0, partition=0):
    consumer = AIOKafkaConsumer(bootstrap_servers=SERVER, group_id=None, enable_auto_commit=False)
    await consumer.start()
    assigned = TopicPartition(name, partition)
    consumer.assign([assigned])
    consumer.seek(assigned, offset)
    found = [await asyncio.wait_for(consumer.getone(), 20) for _ in range(count)]
    await consumer.stop()
    return found


def plain(count):
    return [(b"k%d" % i, b"value-%d" % i, [], None) for i in range(count)]


async def there_and_back(**conf):
    name = await topic()
    await produce(name, plain(1000), **conf)
    found = await consume(name, 1000)
    assert [m.value for m in found] == [r[1] for r in plain(1000)]
    assert [m.offset for m in found] == list(range(1000))


def uncompressed():
    asyncio.run(there_and_back())


def gzip():
    asyncio.run(there_and_back(compression_type="gzip"))


def snappy():
    asyncio.run(there_and_back(compression_type="snappy"))


def lz4():
    asyncio.run(there_and_back(compression_type="lz4"))


def zstd():
    asyncio.run(there_and_back(compression_type="zstd"))


def idempotent():
    asyncio.run(there_and_back(enable_idempotence=True))


def keys_headers_and_timestamps_come_back():
    async def case():
        name = await topic()
        headers = [("a", b"1"), ("a", b"2")]
        await produce(name, [(b"key", b"value", headers, 1_600_000_000_123), (b"key", None, [], 7)])
        first, second = await consume(name, 2)
        assert (first.key, first.value, list(first.headers)) == (b"key", b"value", headers)
        assert (second.key, second.value) == (b"key", None)
        assert (first.timestamp, second.timestamp) == (1_600_000_000_123, 7)

    asyncio.run(case())


def seek_by_offset_and_by_time():
    async def case():
        name = await topic()
        await produce(name, [(None, b"%d" % i, [], 1_600_000_000_000 + 1000 * i) for i in range(100)])
        assert (await consume(name, 10, offset=90))[0].offset == 90
        consumer = AIOKafkaConsumer(bootstrap_servers=SERVER, group_id=None)
        await consumer.start()
        partition = TopicPartition(name, 0)
        consumer.assign([partition])
        found = await consumer.offsets_for_times({partition: 1_600_000_050_000})
        assert found[partition].offset == 50
        assert (await consumer.end_offsets([partition]))[partition] == 100
        await consumer.stop()

    asyncio.run(case())


def topics_are_created_listed_grown_and_deleted():
    async def case():
        name = await topic(2)
        admin = AIOKafkaAdminClient(bootstrap_servers=SERVER)
        await admin.start()
        assert name in await admin.list_topics()
        await admin.create_partitions({name: NewPartitions(3)})
        described = await admin.describe_topics([name])
        assert len(described[0]["partitions"]) == 3, described
        await admin.delete_topics([name])
        assert name not in await admin.list_topics()
        await admin.close()

    asyncio.run(case())


if __name__ == "__main__":
    run(globals(), "aiokafka")
