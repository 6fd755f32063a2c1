"""The options of `kestrel watch` for outputs beyond the plain files, and what they add up to.

As in `edge.watch_options`: one Annotated type each. Imports nothing heavy until the options are used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import InvalidValueError

if TYPE_CHECKING:
    from edge.sinks.clips import ClipOptions
    from edge.sinks.jsonl import Rotation
    from edge.sinks.own_files import Budget
    from edge.sinks.shared import SharedOptions

DISK = "Results that grow for days"
CLIPS = "Event clips"
NETWORK = "Page and messages"
HTTP_PORT, MQTT_PORT, MQTT_TLS_PORT = 8080, 1883, 8883


def _option(*names: str, section: str, help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=section)


# Results that grow for days
RotateMbOption = Annotated[
    float | None,
    _option("--rotate-mb", section=DISK, metavar="MB", help_text="Begin a new file of records beyond this size."),
]
KeepOption = Annotated[
    int, _option("--keep", section=DISK, metavar="N", help_text="Rotated files that stay: FILE.1 is the newest.")
]
FsyncSOption = Annotated[
    float | None,
    _option(
        "--fsync-s",
        section=DISK,
        metavar="S",
        help_text="Bring results onto the disk every S seconds.  [default: 1 for live sources]",
    ),
]
SegmentSOption = Annotated[
    float | None,
    _option(
        "--segment-s",
        section=DISK,
        metavar="S",
        help_text="Annotated video in files of S seconds.  [default: 600 for live sources]",
    ),
]
VideoMaxMbOption = Annotated[
    float | None,
    _option("--video-max-mb", section=DISK, metavar="MB", help_text="For all segments; the oldest are deleted first."),
]
MinFreeMbOption = Annotated[
    float,
    _option("--min-free-mb", section=DISK, metavar="MB", help_text="Segments and clips pause below this on the disk."),
]

# Event clips
ClipsOption = Annotated[
    Path | None,
    _option("--clips", section=CLIPS, metavar="DIR", help_text="A short video for each time that people appear."),
]
ClipBeforeSOption = Annotated[
    float, _option("--clip-before-s", section=CLIPS, metavar="S", help_text="Seconds before the event.")
]
ClipAfterSOption = Annotated[
    float, _option("--clip-after-s", section=CLIPS, metavar="S", help_text="Seconds after the event.")
]
ClipsMaxMbOption = Annotated[
    float,
    _option("--clips-max-mb", section=CLIPS, metavar="MB", help_text="For all clips; the oldest are deleted first."),
]

# Page and messages
HttpOption = Annotated[
    str | None,
    _option(
        "--http",
        section=NETWORK,
        metavar="[HOST:]PORT",
        help_text="Page with the live picture, /stream.mjpg, /snapshot.jpg, /healthz, /metrics; on 127.0.0.1.",
    ),
]
HttpTokenFileOption = Annotated[
    Path | None,
    _option(
        "--http-token-file",
        section=NETWORK,
        metavar="FILE",
        help_text="Holds the token that clients must show; another HOST than this machine needs it.",
    ),
]
MqttOption = Annotated[
    str | None,
    _option(
        "--mqtt",
        section=NETWORK,
        metavar="HOST[:PORT]",
        help_text="Broker for kestrel/ID/available, /state and /events; user name and password in KESTREL_MQTT_USER "
        "and KESTREL_MQTT_PASSWORD, or in a file.",
    ),
]
MqttIdOption = Annotated[
    str | None,
    _option("--mqtt-id", section=NETWORK, metavar="ID", help_text="In the topics.  [default: the host's name]"),
]
MqttLoginFileOption = Annotated[
    Path | None,
    _option("--mqtt-login-file", section=NETWORK, metavar="FILE", help_text="User name, and password below it."),
]
MqttTlsOption = Annotated[
    bool, _option("--mqtt-tls", section=NETWORK, help_text="Encrypt, and trust the system's authorities.")
]
MqttCaOption = Annotated[
    Path | None,
    _option("--mqtt-ca", section=NETWORK, metavar="FILE", help_text="Encrypt, and trust this authority alone."),
]


def rotation_of(rotate_mb: float | None, keep: int) -> "Rotation | None":
    """None: one file.

    Raises:
        InvalidValueError: a value breaks its rule.
    """
    from edge.sinks.jsonl import Rotation

    return None if rotate_mb is None else Rotation(rotate_mb, keep)


def video_budget_of(video_max_mb: float | None, min_free_mb: float) -> "Budget":
    """For segments.

    Raises:
        InvalidValueError: a value breaks its rule.
    """
    from edge.sinks.own_files import Budget

    return Budget("video_max_mb", video_max_mb, min_free_mb)


def clips_of(
    folder: Path | None, before_s: float, after_s: float, max_mb: float, min_free_mb: float
) -> "ClipOptions | None":
    """None: no clips.

    Raises:
        InvalidValueError: a value breaks its rule.
    """
    from edge.sinks.clips import ClipOptions
    from edge.sinks.own_files import Budget

    budget = Budget("clips_max_mb", max_mb, min_free_mb)
    return None if folder is None else ClipOptions(folder, before_s, after_s, budget)


def shared_of(
    http: str | None,
    http_token_file: Path | None,
    mqtt: str | None,
    mqtt_id: str | None,
    mqtt_login_file: Path | None,
    mqtt_tls: bool,
    mqtt_ca: Path | None,
) -> "SharedOptions":
    """Page and messages.

    Raises:
        InvalidValueError: an address is none, a file cannot be read, or an option stands alone.
    """
    for name, value, needs, given in (
        ("http_token_file", http_token_file, "--http", http),
        ("mqtt_id", mqtt_id, "--mqtt", mqtt),
        ("mqtt_login_file", mqtt_login_file, "--mqtt", mqtt),
        ("mqtt_tls", mqtt_tls or None, "--mqtt", mqtt),
        ("mqtt_ca", mqtt_ca, "--mqtt", mqtt),
    ):
        if value is not None and given is None:
            raise InvalidValueError(name, f"used together with {needs}", str(value))
    from edge.sinks.shared import SharedOptions

    if http is None and mqtt is None:
        return SharedOptions()
    from edge.sinks.address import parse_address

    address = None if http is None else parse_address("http", http, "127.0.0.1", HTTP_PORT, least_port=0)
    if mqtt is None:
        return SharedOptions(address, http_token_file)
    from edge.sinks.mqtt import MqttOptions, default_device, find_login

    tls = mqtt_tls or mqtt_ca is not None
    broker = parse_address("mqtt", mqtt, "127.0.0.1", MQTT_TLS_PORT if tls else MQTT_PORT)
    device = default_device() if mqtt_id is None else mqtt_id
    return SharedOptions(
        address, http_token_file, MqttOptions(broker, device, find_login(mqtt_login_file), tls, mqtt_ca)
    )
