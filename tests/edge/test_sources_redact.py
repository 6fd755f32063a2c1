import pytest

from edge.sources import redact


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("", ""),
        ("flight.mp4", "flight.mp4"),
        ("/data/me@home/user=1.mp4", "/data/me@home/user=1.mp4"),
        ("rtsp://10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("rtsp://10.0.0.5:554/live?channel=1&subtype=0", "rtsp://10.0.0.5:554/live?channel=1&subtype=0"),
        ("rtsp://admin:secret@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("RTSP://admin:@10.0.0.5/live", "RTSP://***@10.0.0.5/live"),
        ("rtsp://admin:p@ss@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:p:ss@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:p/ss@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:p%40ss%2F@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://admin:p?s#s@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        ("rtsp://us@er:a@b/c@d@[fe80::1]:554/live", "rtsp://***@[fe80::1]:554/live"),
        ("http://cam/video?user=admin&password=secret&fps=5", "http://cam/video?user=***&password=***&fps=5"),
        ("http://cam/video?fps=5&API_KEY=abc", "http://cam/video?fps=5&API_KEY=***"),
        (
            "https://cam/v.m3u8?X-Amz-Signature=abc&access_token=x#auth=y",
            "https://cam/v.m3u8?X-Amz-Signature=***&access_token=***#auth=***",
        ),
        ("srt://host:9000?passphrase=secret&mode=caller", "srt://host:9000?passphrase=***&mode=caller"),
        ("rtsp://10.0.0.5/user=admin&password=abc&channel=1", "rtsp://10.0.0.5/user=***&password=***&channel=1"),
        ("rtsp://a:b@cam/live?token=t@x", "rtsp://***@x"),
    ],
)
def test_no_credential_survives(uri: str, shown: str) -> None:
    assert redact(uri) == shown


def test_redacting_twice_changes_nothing() -> None:
    once = redact("rtsp://a:b@cam/live?token=t")
    assert redact(once) == once
