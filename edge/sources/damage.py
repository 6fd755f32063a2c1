"""Which frames of a damaged video file are made up.

A decoder conceals what it lost and says so of that frame alone, if at all; those that are predicted from it come out
smeared, and look whole. So nothing is trusted from a damage on until a keyframe that was sent after it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge.capture.stream import NEAR_PACKETS
from edge.nal import is_without_picture

_HEALED_S, _HEALED_FRAMES = 10.0, 25  # streams without keyframes (intra refresh) heal within this time, or so many


class Damage:
    """Follows the packets and the frames of one stream. It goes by their order: times may begin anew within a file."""

    def __init__(self, stream: VideoStream, fps: float) -> None:
        codec = stream.codec_context
        self._predicts = not codec.codec.intra_only
        self._codec, self._description = codec.name, codec.extradata
        self._patience = max(_HEALED_FRAMES, round(_HEALED_S * fps))
        self._frames_left = 0  # that are not to be trusted, unless a keyframe comes; 0: all is well
        self._key_sent = True  # since the damage
        self._too_near = 0  # packets to come whose keyframe may be what was hit
        # One of these is meant where the decoder refuses a packet: those that its threads hold, and the latest.
        self._recent: deque[Packet[VideoStream]] = deque(maxlen=codec.thread_count + 1)

    def packet_sent(self, packet: "Packet[VideoStream]", following: Sequence["Packet[VideoStream]"]) -> None:
        """Before it is decoded. The container may mark it as damaged; FFmpeg marks a packet before the one that was
        hit, or near the end of a file that another one was joined to."""
        self._recent.append(packet)
        if packet.is_corrupt and not _begins_anew(packet, following):
            self._begins(key_sent=False)
            self._too_near = NEAR_PACKETS
        elif self._too_near:
            self._too_near -= 1
        elif packet.is_keyframe:
            self._key_sent = True

    def packet_refused(self) -> None:
        """The decoder refused a packet, this one or, having threads, one shortly before."""
        for packet in self._recent:
            if is_without_picture(packet, self._codec, self._description):  # as decoders do with these
                self._recent.remove(packet)
                return
        self._begins(key_sent=False)

    def spoils(self, frame: VideoFrame) -> bool:
        """Whether the next frame, in order of presentation, is not to be trusted."""
        if frame.is_corrupt:
            self._begins(key_sent=True)  # or will be, before it is given
            return True
        if self._key_sent and frame.key_frame:
            self._frames_left = 0
        self._frames_left = max(0, self._frames_left - 1)
        return self._frames_left > 0

    def _begins(self, *, key_sent: bool) -> None:
        if self._predicts:
            self._frames_left, self._key_sent = self._patience, key_sent


def with_following(
    packets: Iterable["Packet[VideoStream]"],
) -> Iterator[tuple["Packet[VideoStream]", Sequence["Packet[VideoStream]"]]]:
    """Each packet, and those that come soon after it."""
    waiting: deque[Packet[VideoStream]] = deque()
    for packet in packets:
        waiting.append(packet)
        if len(waiting) > NEAR_PACKETS:
            yield waiting.popleft(), tuple(waiting)
    while waiting:
        yield waiting.popleft(), tuple(waiting)


def _begins_anew(packet: "Packet[VideoStream]", following: Sequence["Packet[VideoStream]"]) -> bool:
    """Whether another recording follows, as where files of MPEG-TS were joined: its times go back."""
    return any(
        after.is_keyframe and before.dts is not None and after.dts is not None and after.dts < before.dts
        for before, after in pairwise((packet, *following))
    )
