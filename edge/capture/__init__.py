"""What runs in a process of its own: cameras and streams, whose calls may hang, leak or crash.

    sources/live.py  ->  capture/process.py  ~~pipe~~>  capture/child.py  ->  camera.py | stream.py | pattern.py | ...

The child reads its camera as fast as pictures come and keeps the newest alone. The parent asks for a picture whenever
it is ready for one: one question, one answer (messages.py). The picture itself lies in memory that both share; the
child writes it only between a question and its answer, so the parent never sees half of one.
"""
