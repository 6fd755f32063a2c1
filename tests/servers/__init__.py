"""Real servers on loopback for the tests: RTSP by GStreamer, MPEG-TS and MJPEG by ffmpeg.

Every process of theirs is killed when its context ends, and by `timeout` should the tests die themselves.
"""
