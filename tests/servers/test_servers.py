"""The servers themselves, seen through PyAV: a fault test is worth no more than its server."""

import time

import av
import pytest

from tests.servers import ffmpeg, rtsp
from tests.servers.ffmpeg import StreamServer, free_port, udp_sender
from tests.servers.rtsp import Login, RtspServer
from tests.servers.scene import PERSON, Scene

needs_ffmpeg = pytest.mark.skipif(bool(ffmpeg.why_not()), reason=ffmpeg.why_not())
needs_rtsp = pytest.mark.skipif(bool(rtsp.why_not()), reason=rtsp.why_not())
SMALL = Scene(PERSON, 160, 96)


def brightest(url: str, frames: int = 3, **options: str) -> tuple[int, int, int]:
    """Width, height and highest grey level of the first frames."""
    with av.open(url, options=options, timeout=20) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        images = [
            frame.to_ndarray(format="gray") for frame, _ in zip(container.decode(stream), range(frames), strict=False)
        ]
    assert len(images) == frames
    return images[0].shape[1], images[0].shape[0], max(int(image.max()) for image in images)


@needs_rtsp
@pytest.mark.parametrize("login", [None, Login("me", "s:e@c/%r+t "), Login("me", "s:e@c/%r+t", digest=True)])
def test_rtsp(login):
    with RtspServer(SMALL, login=login) as server:
        url = server.url if login is None else server.url.replace("//", "//me:s%3Ae%40c%2F%25r%2Bt@")
        if login is not None and not login.digest:
            url = url.replace("t@", "t%20@")
        width, height, level = brightest(url, rtsp_transport="tcp")
        assert (width, height) == (160, 96)
        assert level > 200
        if login is not None:
            with pytest.raises(av.error.HTTPUnauthorizedError):
                brightest(server.url.replace("//", "//me:wrong@"), rtsp_transport="tcp")


@needs_ffmpeg
def test_mpeg_ts_over_udp():
    port = free_port()
    with udp_sender(SMALL, port):
        assert brightest(f"udp://127.0.0.1:{port}?timeout=20000000")[:2] == (160, 96)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_streams_to_any_number_of_clients_and_again_after_a_stop(kind):
    with StreamServer(SMALL, kind) as server:
        for _ in range(2):
            width, height, level = brightest(server.url)
            assert (width, height) == (160, 96)
            assert level > 200
        server.stop()
        with pytest.raises(OSError, match="refused"):
            brightest(server.url)
        server.start()
        assert brightest(server.url)[:2] == (160, 96)


@needs_ffmpeg
def test_a_frozen_server_sends_nothing_and_goes_on():
    with StreamServer(SMALL, "http") as server, av.open(server.url, timeout=20) as container:
        frames = container.decode(video=0)
        next(frames)
        server.freeze()
        time.sleep(0.2)
        for encoder in server._encoders:
            assert encoder.process.poll() is None
        server.thaw()
        assert next(frames).width == 160
