import random
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from edge.errors import InvalidValueError, UnusableInputError
from edge.secrets import Variable, fill, holds_credentials, name_sources, read_source_file, redact, redact_text

PIPELINE = r'gst:x user-pw=d\ e passphrase="f \" g" ! y'
NASTY = "@:/%?#[]&=+;\\\"'` $!<>|~^{}(),*é雪\t"


def nasty_passwords() -> list[str]:
    """Made of the letters that break URLs, each long enough to be found again in a text."""
    dice = random.Random(7)
    made = ["".join(dice.choice(NASTY + "aZ09.-_") for _ in range(dice.randint(6, 20))) for _ in range(3000)]
    return [*made, "@@@@@@", "//////", "%40%2F", "p@ss:w/rd%", "rtsp://x@y", "://", "a b c", "100%", "%zz%", "'quoted'"]


def url(user: str, password: str) -> str:
    return f"rtsp://{user}:{password}@10.0.0.5:554/live"


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
        ("rtsp://a:b@cam/live?token=t@x", "rtsp://***@***"),
        ("gst:videotestsrc ! appsink", "gst:videotestsrc ! appsink"),
        (
            "gst:rtspsrc location=rtsp://a:b@cam/live user-id=a user-pw=b latency=0 ! appsink",
            "gst:rtspsrc location=rtsp://***@cam/live user-id=*** user-pw=*** latency=0 ! appsink",
        ),
        (r'gst:x user-pw="b \" c" passphrase = d\ e ! y', "gst:x user-pw=*** passphrase = *** ! y"),
    ],
)
def test_no_credential_survives(uri: str, shown: str) -> None:
    assert redact(uri) == shown


def test_redacting_twice_changes_nothing() -> None:
    once = redact("rtsp://a:b@cam/live?token=t")
    assert redact(once) == once


def test_no_password_survives_redacting() -> None:
    for password in nasty_passwords():
        assert redact(url("admin", password)) == "rtsp://***@10.0.0.5:554/live"
        assert redact(url(password, "admin")) == "rtsp://***@10.0.0.5:554/live"


def test_no_password_survives_in_a_message() -> None:
    for password in nasty_passwords():
        for quoted in (url("admin", password), repr(url("admin", password))):
            said = redact_text(f"Got unexpected extra argument ({quoted}); see `kestrel --help`")
            shown = f"{quoted.partition('rtsp')[0]}rtsp://***@10.0.0.5:554/live{quoted.rpartition('live')[2]}"
            assert said == f"Got unexpected extra argument ({shown}); see `kestrel --help`"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("no URL, but me@home and user=1", "no URL, but me@home and user=1"),
        ("see https://example.org/a?b=c", "see https://example.org/a?b=c"),
        ("http://cam/v?token=abc failed", "http://cam/v?token=*** failed"),
        ("no such file rtsp:/a:b@cam/1", "no such file rtsp:/***@cam/1"),
        ("rtsp://a:b@cam/1 and rtsp://c:d@cam/2", "rtsp://***@cam/2"),
        ("extra argument (gst:x user-pw=b ! y) at hand", "extra argument (gst:x user-pw=*** ! y) at hand"),
        (f"got {PIPELINE!r}; no", "got 'gst:x user-pw=*** passphrase=*** ! y'; no"),  # its backslashes are doubled
        (
            "got 'gst:rtspsrc location=rtsp://a:b@cam/1 user-pw=b ! y'",
            "got 'gst:rtspsrc location=rtsp://***@cam/1 user-pw=*** ! y'",
        ),
        ("a key=value is no secret without one", "a key=value is no secret without one"),
        ("first line rtsp://a:b\nc@cam/1\nlast line", "first line rtsp://***@cam/1\nlast line"),
    ],
)
def test_messages_lose_their_credentials_only(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_a_password_from_the_environment_arrives_whole() -> None:
    for password in nasty_passwords():
        filled = fill("rtsp://${USER}:${PASS}@10.0.0.5:554/live", {"USER": password, "PASS": password})
        parts = urlsplit(filled)
        assert (unquote(parts.username or ""), unquote(parts.password or "")) == (password, password)
        assert (parts.hostname, parts.port, parts.path) == ("10.0.0.5", 554, "/live")
        assert redact(filled) == "rtsp://***@10.0.0.5:554/live"


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ("", ""),
        ("0", "0"),
        ("flights/${A}.mp4", "flights/${A}.mp4"),
        ("rtsp://${HOST}/live", "rtsp://10.0.0.5:554/live"),
        ("rtsp://$A@h/${EMPTY}x", "rtsp://$A@h/x"),
        ("http://h/v?token=${A}&x=1", "http://h/v?token=a%26b%20c&x=1"),
        ("http://h/${A}", "http://h/a&b c"),
        (
            r"gst:rtspsrc user-pw=${A} location=rtsp://${A}@h",
            r"gst:rtspsrc user-pw=a\&b\ c location=rtsp://a%26b%20c@h",
        ),
    ],
)
def test_variables_are_filled_in_where_they_stand(source: str, filled: str) -> None:
    assert fill(source, {"A": "a&b c", "HOST": "10.0.0.5:554", "EMPTY": ""}) == filled


def test_a_variable_without_a_value_is_named_and_no_other_value_is() -> None:
    with pytest.raises(InvalidValueError, match=re.escape("got '${PASS}'; set PASS")) as refused:
        fill("rtsp://${USER}:${PASS}@h/live", {"USER": "admin"})
    assert "admin" not in str(refused.value)


def test_a_source_file_holds_values_as_they_stand_and_sources(tmp_path: Path) -> None:
    file = tmp_path / "camera"
    file.write_text("# the garden\n\nUSER=admin\nPASS= p@ss='x' #1 \n  rtsp://${USER}:${PASS}@h/a=b  \nrtsp://h2/\n")
    held = read_source_file(file)
    assert held.sources == ("rtsp://${USER}:${PASS}@h/a=b", "rtsp://h2/")
    assert held.variables == (Variable("USER", "admin"), Variable("PASS", " p@ss='x' #1 "))
    assert "admin" not in repr(held)
    filled = name_sources([], file, {"USER": "somebody else"})
    assert filled == ["rtsp://admin:%20p%40ss%3D%27x%27%20%231%20@h/a=b", "rtsp://h2/"]
    assert name_sources(["tcp://${USER}@h:1"], file, {}) == ["tcp://admin@h:1"]


def test_a_source_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_text("")
    for name, message in (("nothing", "No such file"), ("binary", "not UTF-8"), ("empty", "SOURCE must be given")):
        with pytest.raises(UnusableInputError, match=message):
            name_sources([], tmp_path / name, {})
    with pytest.raises(UnusableInputError, match="SOURCE must be given"):
        name_sources([], None, {})


@pytest.mark.parametrize(
    ("source", "held"),
    [
        ("", False),
        ("flight.mp4", False),
        ("rtsp://h/live", False),
        ("rtsp://${USER}:${PASS}@h/live", False),
        ("http://h/v?token=${TOKEN}&fps=5", False),
        ("rtsp://admin:${PASS}@h/live", True),
        ("rtsp://a:b@h/live", True),
        ("http://h/v?token=abc", True),
        ("gst:rtspsrc user-pw=${PASS} ! appsink", False),
        ("gst:rtspsrc user-pw=abc ! appsink", True),
    ],
)
def test_a_variable_is_no_credential(source: str, held: bool) -> None:
    assert holds_credentials(source) is held
