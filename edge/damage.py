"""Which pictures of damaged video are made up.

A decoder conceals what it lost and says so of that frame alone, if at all; those that are predicted from it come out
smeared, and look whole. So nothing is trusted from a damage on until a keyframe that was sent after it.

Live streams go by time (`Doubt`). Files go by the order of packets and frames (`Damage`), since times may begin anew
within one, and a decoder's threads give frames late.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edge.nal import is_without_picture

_NEAR_PACKETS = 2  # FFmpeg's parser puts the mark of a damage on the packet before it
_HEALED_S, _HEALED_FRAMES = 10.0, 25  # streams without keyframes (intra refresh) heal within this time, or so many


@dataclass(frozen=True, slots=True)
class Doubt:
    """Since when pictures are taken for corrupt: from damaged data to the next keyframe; None where they are whole."""

    since_s: float | None = None
    packets: int = 0  # that came since the damage


def after_packet(doubt: Doubt, *, damaged: bool, now_s: float) -> Doubt:
    """The doubt after a packet; every damage begins it anew."""
    if damaged:
        return Doubt(now_s)
    if doubt.since_s is None or now_s - doubt.since_s > _HEALED_S:
        return Doubt()
    return Doubt(doubt.since_s, doubt.packets + 1)


def after_picture(doubt: Doubt, *, corrupt: bool, key: bool, now_s: float) -> Doubt:
    """The doubt about a picture: a keyframe ends it, unless it is so near to the damage that it may be what was hit."""
    if corrupt:
        return Doubt(now_s)
    return Doubt() if key and doubt.packets > _NEAR_PACKETS else doubt


class Damage:
    """Follows the packets and the frames of one file."""

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
            self._too_near = _NEAR_PACKETS
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
        if len(waiting) > _NEAR_PACKETS:
            yield waiting.popleft(), tuple(waiting)
    while waiting:
        yield waiting.popleft(), tuple(waiting)


def _begins_anew(packet: "Packet[VideoStream]", following: Sequence["Packet[VideoStream]"]) -> bool:
    """Whether another recording follows, as where files of MPEG-TS were joined: its times go back."""
    return any(
        after.is_keyframe and before.dts is not None and after.dts is not None and after.dts < before.dts
        for before, after in pairwise((packet, *following))
    )
