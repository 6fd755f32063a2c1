"""The sections of `kestrel watch --help` about outputs, and what they add up to; as in `edge.watch_options`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from edge.options import option, refuse_idle

if TYPE_CHECKING:
    from edge.outputs import OutputOptions
    from edge.sinks.clips import ClipOptions
    from edge.sinks.jsonl import Rotation
    from edge.sinks.own_files import Budget
    from edge.sinks.shared import SharedOptions

RESULTS = "Results"
DISK = "Results that grow for days"
CLIPS = "Event clips"
NETWORK = "Page and messages"
HTTP_PORT, MQTT_PORT, MQTT_TLS_PORT = 8080, 1883, 8883


@dataclass(frozen=True, slots=True)
class DiskSection:
    """Results that grow for days."""

    rotate_mb: Annotated[float | None, option(DISK, "Begin a new file of records beyond this size.", "MB")] = None
    keep: Annotated[int, option(DISK, "Rotated files that stay: FILE.1 is the newest.", "N")] = 10
    fsync_s: Annotated[
        float | None,
        option(DISK, "Bring results onto the disk every S seconds.  [default: 1 for live sources]", "S"),
    ] = None
    segment_s: Annotated[
        float | None,
        option(DISK, "Annotated video in files of S seconds.  [default: 600 for live sources]", "S"),
    ] = None
    video_max_mb: Annotated[
        float | None,
        option(DISK, "Limit for all segments of a recording, or of all live sources; the oldest go first.", "MB"),
    ] = None
    min_free_mb: Annotated[
        float, option(DISK, "Pause segments and clips while less than this is free on the disk.", "MB")
    ] = 200.0

    def rotation(self) -> "Rotation | None":
        """None: one file of records. Raises InvalidValueError."""
        from edge.sinks.jsonl import Rotation

        if self.rotate_mb is None:
            refuse_idle(self, ("keep",), "used together with --rotate-mb")
            return None
        return Rotation(self.rotate_mb, self.keep)

    def video_budget(self) -> "Budget":
        """For segments. Raises InvalidValueError."""
        from edge.sinks.own_files import Budget

        return Budget("video_max_mb", self.video_max_mb, self.min_free_mb)


@dataclass(frozen=True, slots=True)
class ClipsSection:
    """Event clips."""

    clips: Annotated[Path | None, option(CLIPS, "A short video for each time that people appear.", "DIR")] = None
    clip_before_s: Annotated[float, option(CLIPS, "Seconds before the event.", "S")] = 5.0
    clip_after_s: Annotated[float, option(CLIPS, "Seconds after the event.", "S")] = 10.0
    clips_max_mb: Annotated[
        float, option(CLIPS, "Limit for all clips of all sources; the oldest are deleted first.", "MB")
    ] = 1000.0

    def asked(self, min_free_mb: float) -> "ClipOptions | None":
        """None: no clips. Raises InvalidValueError."""
        from edge.sinks.clips import ClipOptions
        from edge.sinks.own_files import Budget

        if self.clips is None:
            refuse_idle(self, ("clip_before_s", "clip_after_s", "clips_max_mb"), "used together with --clips")
            return None
        budget = Budget("clips_max_mb", self.clips_max_mb, min_free_mb)
        return ClipOptions(self.clips, self.clip_before_s, self.clip_after_s, budget)


@dataclass(frozen=True, slots=True)
class ResultsSection:
    """Folder and files."""

    out: Annotated[Path | None, option(RESULTS, "Folder.  [default: ./<name of the source>]", "DIR")] = None
    jsonl: Annotated[
        Path | None,
        option(RESULTS, "Write the records here instead of DIR/records.jsonl; - is stdout.", "FILE|-"),
    ] = None
    csv: Annotated[
        Path | None,
        option(
            RESULTS,
            "Also write CSV: a row per pedestrian, a row with empty boxes for a frame without; - is stdout.",
            "FILE",
        ),
    ] = None
    video: Annotated[bool, option(RESULTS, "Write the annotated video, or annotated pictures.")] = True
    overwrite: Annotated[
        bool,
        option(RESULTS, "Replace the results of an earlier run; live sources go on with theirs.", name="--overwrite"),
    ] = False
    resume: Annotated[
        bool, option(RESULTS, "Skip recordings that are finished already, redo the rest.", name="--resume")
    ] = False

    def asked(self, disk: DiskSection, clips: ClipsSection) -> "OutputOptions":
        """All outputs that are files, as the code knows them. Raises InvalidValueError."""
        from edge.outputs import OutputOptions

        if not self.video:
            refuse_idle(disk, ("segment_s", "video_max_mb"), "left out with --no-video")
        return OutputOptions(
            out=self.out,
            jsonl=self.jsonl,
            csv=self.csv,
            video=self.video,
            overwrite=self.overwrite,
            rotation=disk.rotation(),
            fsync_s=disk.fsync_s,
            segment_s=disk.segment_s,
            video_budget=disk.video_budget(),
            clips=clips.asked(disk.min_free_mb),
        )


@dataclass(frozen=True, slots=True)
class NetworkSection:
    """Page and messages."""

    http: Annotated[
        str | None,
        option(
            NETWORK,
            "Page with the live picture, /stream.mjpg, /snapshot.jpg, /healthz, /metrics; on 127.0.0.1.",
            "[HOST:]PORT",
        ),
    ] = None
    http_token_file: Annotated[
        Path | None,
        option(NETWORK, "Holds the token that clients must show; another HOST than this machine needs it.", "FILE"),
    ] = None
    mqtt: Annotated[
        str | None,
        option(
            NETWORK,
            "Broker for kestrel/ID/available, /state and /events; user name and password in KESTREL_MQTT_USER "
            "and KESTREL_MQTT_PASSWORD, or in a file.",
            "HOST[:PORT]",
        ),
    ] = None
    mqtt_id: Annotated[str | None, option(NETWORK, "Device id in the topics.  [default: the host's name]", "ID")] = None
    mqtt_login_file: Annotated[Path | None, option(NETWORK, "User name, and password below it.", "FILE")] = None
    mqtt_tls: Annotated[bool, option(NETWORK, "Encrypt, and trust the system's authorities.", name="--mqtt-tls")] = (
        False
    )
    mqtt_ca: Annotated[Path | None, option(NETWORK, "Encrypt, and trust this authority alone.", "FILE")] = None

    def asked(self) -> "SharedOptions":
        """The same, as the code knows it.

        Raises:
            InvalidValueError: an address is none, a file cannot be read, or an option stands alone.
        """
        if self.http is None:
            refuse_idle(self, ("http_token_file",), "used together with --http")
        if self.mqtt is None:
            refuse_idle(self, ("mqtt_id", "mqtt_login_file", "mqtt_tls", "mqtt_ca"), "used together with --mqtt")
        from edge.sinks.shared import SharedOptions

        if self.http is None and self.mqtt is None:
            return SharedOptions()
        from edge.sinks.address import parse_address

        address = None if self.http is None else parse_address("http", self.http, "127.0.0.1", HTTP_PORT, least_port=0)
        if self.mqtt is None:
            return SharedOptions(address, self.http_token_file)
        from edge.sinks.mqtt import MqttOptions, default_device, find_login

        tls = self.mqtt_tls or self.mqtt_ca is not None
        broker = parse_address("mqtt", self.mqtt, "127.0.0.1", MQTT_TLS_PORT if tls else MQTT_PORT)
        device = default_device() if self.mqtt_id is None else self.mqtt_id
        login = find_login(self.mqtt_login_file)
        return SharedOptions(address, self.http_token_file, MqttOptions(broker, device, login, tls, self.mqtt_ca))
