#!/usr/bin/env python3
"""Writes tensorboard_events.bin: the event file that tensorboard_test.cc demands byte for byte.

    .deps/peer/bin/python testdata/core/make_tensorboard_events.py

Independent of our writer: messages are TensorBoard's own protobuf classes, records its RecordWriter.
"""
from pathlib import Path

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

PNG = Path(__file__).with_name("tensorboard_image.png").read_bytes()
WALL_TIME = 1700000000.25


def value_event(step, value):
    return event_pb2.Event(wall_time=WALL_TIME, step=step,
                           summary=summary_pb2.Summary(value=[value]))


def events():
    yield event_pb2.Event(wall_time=WALL_TIME, file_version="brain.Event:2")
    value = summary_pb2.Summary.Value
    yield value_event(0, value(tag="train/loss", simple_value=1.5))
    yield value_event(300, value(tag="train/loss", simple_value=0.1))
    yield value_event(2**40, value(tag="train/loss", simple_value=float("inf")))
    yield value_event(301, value(
        tag="run/config",
        tensor=tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape={},
                                      string_val=["# swath é".encode()]),
        metadata=summary_pb2.SummaryMetadata(
            plugin_data={"plugin_name": "text"}, data_class=summary_pb2.DATA_CLASS_TENSOR)))
    yield value_event(302, value(tag="reconstruction", image=summary_pb2.Summary.Image(
        height=1, width=2, colorspace=3, encoded_image_string=PNG)))
    yield event_pb2.Event(wall_time=WALL_TIME, step=200,
                          session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))


def main():
    path = Path(__file__).with_name("tensorboard_events.bin")
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in events():
            writer.write(event.SerializeToString(deterministic=True))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
