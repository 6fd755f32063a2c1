"""What a test server shows: grey ground with a square or ball that moves, bright as a person or too dim for one."""

from dataclasses import dataclass

PERSON, NOBODY = "person", "nobody"


@dataclass(frozen=True, slots=True)
class Scene:
    """The model of tests/models.py sees a pedestrian in the bright one. Something moves always: nothing is frozen."""

    shows: str = NOBODY
    width: int = 320
    height: int = 192
    fps: int = 15

    @property
    def colour(self) -> str:
        return "ffffff" if self.shows == PERSON else "404040"

    def ffmpeg_input(self) -> list[str]:
        """Arguments of ffmpeg that make the scene in real time, without end."""
        size = f"s={self.width}x{self.height}:r={self.fps}"
        graph = (
            f"color=c=0x141414:{size}[ground];color=c=0x{self.colour}:s=16x16:r={self.fps}[spot];"
            f"[ground][spot]overlay=x='mod(40*t,{self.width - 40})':y=80"
        )
        return ["-re", "-f", "lavfi", "-i", graph]

    def gstreamer_input(self) -> str:
        """The beginning of a GStreamer pipeline that makes it."""
        return (
            f"videotestsrc is-live=true pattern=ball background-color=0xff141414 foreground-color=0xff{self.colour} ! "
            f"video/x-raw,format=I420,width={self.width},height={self.height},framerate={self.fps}/1"
        )
