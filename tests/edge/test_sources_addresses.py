import pytest

from edge.capture.messages import CaptureOptions, Target
from edge.errors import InvalidValueError, SourceError
from edge.secrets import redact
from edge.sources.addresses import live_kind, target_of, with_encoded_credentials

OPTIONS = CaptureOptions()


def target(uri: str) -> Target:
    kind = live_kind(uri)
    assert kind is not None
    return target_of(uri, kind, redact(uri), OPTIONS)


@pytest.mark.parametrize(
    ("uri", "kind", "address"),
    [
        ("0", "camera", "0"),
        ("/dev/video2", "camera", "2"),
        ("rtsp://cam/live", "stream", "rtsp://cam/live"),
        ("udp://:5000", "stream", "udp://:5000"),
        ("test:", "pattern", ""),
        ("test:640x360@15", "pattern", "640x360@15"),
        ("test:@7.5", "pattern", "@7.5"),
    ],
)
def test_every_kind_of_live_source_is_known_by_its_name(uri, kind, address):
    assert target(uri) == Target(kind, address, OPTIONS)


@pytest.mark.parametrize("uri", ["", "a.mp4", "./0", "test", "flights/test:1.mp4", "/dev/null", "csi.mp4"])
def test_everything_else_is_a_recording(uri):
    assert live_kind(uri) is None


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("rtsp://cam/live", "rtsp://cam/live"),
        ("rtsp://cam:554/a@b", "rtsp://cam:554/a@b"),
        ("http://cam/@me/live", "http://cam/@me/live"),
        ("rtsp://u:p@cam/live", "rtsp://u:p@cam/live"),
        ("rtsp://u:p@ss:w%rd@cam/live", "rtsp://u:p%40ss%3Aw%25rd@cam/live"),
        ("rtsp://u:p%40ss@cam/live", "rtsp://u:p%40ss@cam/live"),
        ("rtsp://u:p/w?d#x@cam:554/live", "rtsp://u:p%2Fw%3Fd%23x@cam:554/live"),
        ("rtsp://us er@cam/live", "rtsp://us%20er@cam/live"),
        ("rtsp://[fe80::1]:554/a@b", "rtsp://[fe80::1]:554/a@b"),
        ("rtsp://u:p@[fe80::1]:554/live", "rtsp://u:p@[fe80::1]:554/live"),
        ("udp://@239.0.0.1:1234", "udp://@239.0.0.1:1234"),
    ],
)
def test_passwords_may_hold_anything(uri, opened):
    assert with_encoded_credentials(uri) == opened


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        ("test:big", "test must be followed by WxH@FPS"),
        ("test:8x8", "of sides of 32 to 8192 px"),
        ("test:640x360@0", "above 0 and at most 1000 frames a second"),
        ("csi:first", "csi:0 is the first one"),
    ],
)
def test_what_is_misspelt_is_refused(uri, advice):
    with pytest.raises(SourceError, match=advice):
        target(uri)


def test_what_is_not_installed_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"needs the package picamera2: apt-get install python3-picamera2"):
        target("csi:")
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "  Video I/O:\n    GStreamer:                   NO\n")
    with pytest.raises(SourceError, match=r"OpenCV from pip has no GStreamer; use Debian's python3-opencv"):
        target("gst:videotestsrc")
    monkeypatch.setattr("cv2.getBuildInformation", lambda: "    GStreamer:                   YES (1.22.0)\n")
    assert target("gst:videotestsrc ! videoconvert").address == "videotestsrc ! videoconvert"
    with pytest.raises(SourceError, match="a pipeline after gst:"):
        target("gst: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtsp_transport": "sctp"}, "rtsp-transport must be one of tcp, udp, got 'sctp'"),
        ({"rotate": 45}, "rotate must be one of 0, 90, 180, 270, got 45"),
        ({"flip": "up"}, "flip must be one of none, horizontal, vertical, both, got 'up'"),
        ({"width": 0}, "width must be in 1 to 16384 px, got 0"),
        ({"fps": 0.0}, "fps must be above 0 and at most 1000, got 0.0"),
        ({"open_timeout_s": 0.0}, "open_timeout_s must be above 0 s"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidValueError, match=message):
        CaptureOptions(**options)
