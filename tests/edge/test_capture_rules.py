"""The rules of capturing, without a process: newest picture first, doubt, bursts, turning, options."""

import errno
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest

from edge.capture.camera import to_bgr
from edge.capture.child import turned
from edge.capture.messages import CaptureError, CaptureOptions, Failed, Opened, Taken
from edge.capture.newest import Newest, Numbered
from edge.capture.pattern import Pattern, number_in, paint, paint_ground, parse_pattern
from edge.capture.stream import (
    Backlog,
    Playback,
    after_wait,
    decoding_threads,
    open_options,
    read_stream,
    resolves,
)
from edge.damage import Doubt, after_packet, after_picture
from edge.records import SizeWH
from edge.thermal import RollingStretch

PATIENCE_S = 60.0  # on a machine that does other things meanwhile


def taken(value: int) -> Taken:
    return Taken(float(value), 0.0, 0.0, corrupt=False, image=lambda: np.full((1, 1, 3), value, np.uint8))


def test_the_newest_picture_takes_the_place_of_the_one_before():
    newest = Newest()
    assert newest.fetch(0) is None
    for value in (1, 2, 3):
        newest.put(taken(value))
    fetched = newest.fetch(0)
    assert isinstance(fetched, Numbered)
    assert (fetched.number, fetched.taken.captured_s) == (3, 3.0)
    assert newest.fetch(0) is None


def test_what_happened_is_told_in_its_order_and_a_failure_stays():
    newest = Newest()
    newest.put(replace(taken(1), skipped=7))
    newest.put(Opened(25.0))
    newest.put(Failed("gone"))
    assert newest.fetch(0) == Opened(25.0)
    picture = newest.fetch(0)
    assert isinstance(picture, Numbered)
    assert picture.number == 8  # what was not decoded counts as well
    assert newest.fetch(0) == newest.fetch(0) == Failed("gone")


def test_whoever_waits_for_a_picture_is_woken():
    newest = Newest()
    threading.Timer(0.05, newest.put, [taken(5)]).start()
    assert isinstance(newest.fetch(PATIENCE_S), Numbered)


def test_the_test_pattern_moves_and_is_the_same_everywhere():
    size_wh = SizeWH(96, 64)
    ground = paint_ground(size_wh)
    images = [paint(ground, size_wh, number) for number in range(40)]
    assert {image.shape for image in images} == {(64, 96, 3)}
    assert [number_in(image) for image in images] == list(range(40))
    assert np.array_equal(paint(paint_ground(size_wh), size_wh, 7), images[7])
    assert number_in(paint(ground, size_wh, 123_456_789)) == 123_456_789


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", Pattern(SizeWH(1280, 720), 30.0)),
        ("640x360", Pattern(SizeWH(640, 360), 30.0)),
        ("@15", Pattern(SizeWH(1280, 720), 15.0)),
        ("64X48@0.5", Pattern(SizeWH(64, 48), 0.5)),
    ],
)
def test_a_pattern_is_read_from_its_name(text, pattern):
    assert parse_pattern(text) == pattern


IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)  # 0 1 2 / 3 4 5


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [[0, 1, 2], [3, 4, 5]]),
        ({"rotate": 90}, [[3, 0], [4, 1], [5, 2]]),
        ({"rotate": 180}, [[5, 4, 3], [2, 1, 0]]),
        ({"rotate": 270}, [[2, 5], [1, 4], [0, 3]]),
        ({"flip": "horizontal"}, [[2, 1, 0], [5, 4, 3]]),
        ({"flip": "vertical"}, [[3, 4, 5], [0, 1, 2]]),
        ({"flip": "both"}, [[5, 4, 3], [2, 1, 0]]),
        ({"rotate": 90, "flip": "horizontal"}, [[0, 3], [1, 4], [2, 5]]),
    ],
)
def test_pictures_are_turned_clockwise_and_flipped(options, rows):
    assert turned(IMAGE, CaptureOptions(**options))[..., 0].tolist() == rows


@pytest.mark.parametrize("shape_hw", [(2, 4), (2, 4, 1), (2, 4, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_of_any_camera_become_bgr(shape_hw, dtype):
    image = to_bgr(np.full(shape_hw, 200, dtype), RollingStretch())
    assert (image.shape, image.dtype) == ((2, 4, 3), np.uint8)


def test_one_hot_pixel_of_a_raw_camera_does_not_darken_the_rest():
    raw = np.full((20, 20), 3500, np.uint16)
    raw[5:12, 5:8] = 3600
    raw[0, 0] = 60_000
    image = to_bgr(raw, RollingStretch())
    assert (image[8, 6].min(), image[15, 15].max()) == (255, 0)


@pytest.mark.parametrize("channels", [2, 4])
def test_pixels_of_another_kind_are_refused_rather_than_taken_for_bgr(channels):
    with pytest.raises(CaptureError, match=rf"^its pictures have {channels} channels, .*; end the pipeline") as refused:
        to_bgr(np.zeros((2, 4, channels), np.uint8), RollingStretch())
    assert refused.value.failed.hopeless


def test_damaged_data_are_doubted_until_the_next_keyframe_or_for_ten_seconds():
    doubt = after_packet(Doubt(), damaged=True, now_s=5.0)
    assert doubt == Doubt(5.0)
    assert after_packet(Doubt(), damaged=False, now_s=6.0) == Doubt()
    assert after_packet(doubt, damaged=False, now_s=14.9) == Doubt(5.0, packets=1)
    assert after_packet(doubt, damaged=False, now_s=15.1) == Doubt()
    assert after_packet(Doubt(5.0, packets=9), damaged=True, now_s=9.0) == Doubt(9.0)


@pytest.mark.parametrize(
    ("backlog", "wait_s", "key", "after"),
    [
        (Backlog(6.5), 0.0, False, Backlog(6.5)),
        (Backlog(5.0), 0.01, False, Backlog(9.0)),
        (Backlog(5.9), 0.0, True, Backlog(5.9, behind=True)),  # no wait for more than 3 s
        (Backlog(1.0, behind=True), 0.0, True, Backlog(1.0, behind=True)),
        (Backlog(1.0, behind=True), 0.01, False, Backlog(1.0, behind=True, caught_up=True)),
        (Backlog(1.0, behind=True, caught_up=True), 0.0, False, Backlog(1.0, behind=True, caught_up=True)),
        (Backlog(1.0, behind=True, caught_up=True), 0.0, True, Backlog(9.0)),
    ],
)
def test_who_never_waits_for_data_is_behind_until_it_waits_again_and_a_keyframe_comes(backlog, wait_s, key, after):
    assert after_wait(backlog, wait_s, key=key, now_s=9.0) == after


@pytest.mark.parametrize(
    ("doubt", "corrupt", "key", "after"),
    [
        (Doubt(), False, False, Doubt()),
        (Doubt(), True, True, Doubt(7.0)),
        (Doubt(5.0, 9), False, False, Doubt(5.0, 9)),
        (Doubt(5.0, 9), False, True, Doubt()),
        (Doubt(5.0, 2), False, True, Doubt(5.0, 2)),  # it may be the keyframe that was hit
    ],
)
def test_a_keyframe_ends_the_doubt_unless_it_is_near_the_damage(doubt, corrupt, key, after):
    assert after_picture(doubt, corrupt=corrupt, key=key, now_s=7.0) == after


def test_pictures_that_come_in_bursts_wait_for_their_time():
    playback = Playback()
    assert playback.wait_s(50.0, now_s=1.0) == 0.0  # the first one sets the time
    assert playback.wait_s(50.5, now_s=1.0) == 0.5
    assert playback.wait_s(51.0, now_s=4.0) == 0.0  # late: all that follow are later, too
    assert playback.wait_s(51.5, now_s=4.0) == 0.5
    assert playback.wait_s(900.0, now_s=4.0) == 0.0  # a jump begins anew
    assert playback.wait_s(2.0, now_s=5.0) == 0.0


@pytest.mark.parametrize(
    ("address", "option"),
    [("rtsp://cam/", {"rtsp_transport": "udp"}), ("udp://:1", {"overrun_nonfatal": "1"}), ("http://cam/", {})],
)
def test_each_protocol_has_its_options(address, option):
    assert option.items() <= open_options(address, CaptureOptions(rtsp_transport="udp")).items()


@pytest.mark.parametrize(("size", "threads"), [((1920, 1080), "SLICE"), ((3840, 2160), "AUTO"), ((0, 0), "SLICE")])
def test_only_large_pictures_are_decoded_with_frames_of_delay(size, threads):
    assert decoding_threads(size[0] * size[1]) == threads


def test_a_host_that_nobody_knows_is_told_from_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(host: str, _: object) -> list[str]:
        if host == "cam.invalid":
            raise socket.gaierror(-2, "Name or service not known")
        return [host]

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    assert not resolves("rtsp://me:s3cret@cam.invalid:554/live")
    assert resolves("rtsp://10.0.0.5/live")
    assert resolves("udp://:5600")


def test_an_unknown_host_is_the_reason_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("edge.capture.stream.av.open", refused)
    for known, reason in ((False, "its host's name cannot be resolved"), (True, "Input/output error")):
        monkeypatch.setattr("edge.capture.stream.resolves", lambda _, known=known: known)
        with pytest.raises(CaptureError, match=reason):
            next(read_stream("rtsp://cam/live", CaptureOptions()))
