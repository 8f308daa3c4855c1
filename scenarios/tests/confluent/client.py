"""What the tests want of confluent-kafka. A line of JSON in, a line of JSON out; bytes are written as hex.

Started as `client.py ADDRESS` it answers requests until its input ends. As `client.py ADDRESS stream TOPIC SETTINGS` it
produces numbered records for as long as its input is open and writes a line for each that is acknowledged.
"""

import json
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

# Each wait ends with its condition, or with an error after so many seconds.
DEADLINE = 60
QUIET = {"log_level": 0}
LATER = {
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
}


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def hexed(data):
    return None if data is None else bytes(data).hex()


def create(address, request):
    # A broker answers before it is unfenced, and names no controller then: without this librdkafka asks again minutes later.
    admin = AdminClient({"bootstrap.servers": address, "topic.metadata.refresh.interval.ms": 200, **QUIET})
    topic = NewTopic(request["topic"], num_partitions=1, replication_factor=1, config=request.get("config", {}))
    try:
        admin.create_topics([topic])[request["topic"]].result(DEADLINE)
    except KafkaException as error:
        return {"error": error.args[0].name(), "message": error.args[0].str()}
    return {}


def produce(address, request):
    producer = Producer({"bootstrap.servers": address, "acks": "all", **QUIET, **request.get("config", {})})
    reports = [None] * len(request["records"])

    def delivered(place):
        def report(error, message):
            if error is not None:
                reports[place] = {"error": error.name(), "code": error.code(), "message": error.str()}
            else:
                kind, timestamp = message.timestamp()
                reports[place] = {"offset": message.offset(), "timestamp": timestamp, "kind": kind}

        return report

    for place, record in enumerate(request["records"]):
        more = {"timestamp": record["timestamp"]} if "timestamp" in record else {}
        headers = [(name, unhex(value)) for name, value in record.get("headers", [])]
        key, value = unhex(record.get("key")), unhex(record.get("value"))
        producer.produce(
            request["topic"], partition=0, key=key, value=value, headers=headers, on_delivery=delivered(place), **more
        )
    left = producer.flush(DEADLINE)
    return {"reports": reports, "left": left}


def patiently(ask):
    """A broker that has just started may not know yet what it leads: asks again until the deadline."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return ask()
        except KafkaException as error:
            if time.monotonic() > end or error.args[0].code() not in LATER:
                raise
            time.sleep(0.02)


def placed(address, request):
    """A consumer that is assigned, where it begins, and the log's ends. After an error a new one: the old one remembers."""
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "nobody", "enable.auto.commit": False, "check.crcs": True}
        | {"auto.offset.reset": "error", "reconnect.backoff.max.ms": 200, **QUIET}
    )
    try:
        place = TopicPartition(request["topic"], 0, request.get("offset", 0))
        if "time" in request:
            asked = TopicPartition(request["topic"], 0, request["time"])
            place = consumer.offsets_for_times([asked], timeout=5)[0]
        low, high = consumer.get_watermark_offsets(place, timeout=5)
        consumer.assign([place])
        return consumer, place.offset, low, high
    except KafkaException:
        consumer.close()
        raise


def consume(address, request):
    consumer, start, low, high = patiently(lambda: placed(address, request))
    end = time.monotonic() + DEADLINE
    records = []
    while 0 <= start < high and (not records or records[-1]["offset"] < high - 1):
        message = consumer.poll(1)
        if time.monotonic() > end:
            raise TimeoutError(f"{len(records)} records came, the log ends at {high}")
        if message is None:
            continue
        if message.error():
            if message.error().code() in LATER:
                continue
            raise KafkaException(message.error())
        kind, timestamp = message.timestamp()
        headers = [[name, hexed(value)] for name, value in message.headers() or []]
        records.append(
            {"offset": message.offset(), "key": hexed(message.key()), "value": hexed(message.value())}
            | {"headers": headers, "timestamp": timestamp, "kind": kind}
        )
    consumer.close()
    return {"start": start, "low": low, "high": high, "records": records}


def numbered(n):
    """As `numbered` in the test itself."""
    return f"{n}:".encode() + bytes((n * 7 + i) & 0xFF for i in range(n % 300))


def stream(address, topic, settings):
    producer = Producer({"bootstrap.servers": address, "acks": "all", **QUIET, **json.loads(settings)})
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()

    def report(n):
        def delivered(error, message):
            if error is not None:
                print(json.dumps({"n": n, "error": error.str()}), flush=True)
            else:
                print(json.dumps({"n": n, "offset": message.offset()}), flush=True)

        return delivered

    n = 0
    while not over.is_set():
        try:
            producer.produce(topic, partition=0, value=numbered(n), on_delivery=report(n))
            n += 1
            # Paced: the whole log is read after each kill.
            producer.poll(0.002)
        except BufferError:
            producer.poll(0.05)
    left = producer.flush(DEADLINE)
    print(json.dumps({"end": n, "left": left}), flush=True)


def serve(address):
    verbs = {"create": create, "produce": produce, "consume": consume}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = verbs[request["verb"]](address, request)
        except Exception as error:  # the test tells it
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        stream(sys.argv[1], sys.argv[3], sys.argv[4])
