"""Which frames of a damaged video file are made up.

A decoder conceals what it lost and says so of that frame alone, if at all; those that are predicted from it come out
smeared, and look whole. So nothing is trusted from a damage on until a keyframe that was sent after it.
"""

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_HEALED_S = 10.0  # streams without keyframes (intra refresh) heal within this time


class Damage:
    """Follows the packets and the frames of one stream. It goes by their order: times may begin anew within a file."""

    def __init__(self, stream: VideoStream, usual_fps: float) -> None:
        self._predicts = not stream.codec_context.codec.intra_only
        self._patience = round(_HEALED_S * float(stream.average_rate or usual_fps))
        self._frames_left = 0  # that are not to be trusted, unless a keyframe comes; 0: all is well
        self._key_sent = True  # since the damage

    def packet_sent(self, packet: "Packet[VideoStream]") -> None:  # quoted: generic in PyAV's stubs only
        """Before it is decoded; the container may mark it as damaged."""
        if packet.is_corrupt:
            self.packet_lost()
        elif packet.is_keyframe:
            self._key_sent = True

    def packet_lost(self) -> None:
        """The decoder refused a packet, this one or, having threads, one shortly before."""
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
