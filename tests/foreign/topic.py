"""Creates a topic of one partition: BOOTSTRAP NAME REPLICAS [PROPERTY=VALUE...]."""

import sys

from confluent_kafka.admin import AdminClient, NewTopic

bootstrap, name, replicas, *properties = sys.argv[1:]
topic = NewTopic(name, 1, int(replicas), config=dict(one.split("=") for one in properties))
admin = AdminClient({"bootstrap.servers": bootstrap})
admin.create_topics([topic])[name].result(30)
