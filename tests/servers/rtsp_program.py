"""The server itself; run by the system's Python: `rtsp_program.py PORT PIPELINE`, `--check` only looks for its parts.

Standard input may hold three lines: basic or digest, user, password. Says its port when it is ready.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402  # versions come first

ENCODER = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 threads=1"


def main() -> int:
    Gst.init(None)
    missing = [name for name in ("videotestsrc", "x264enc", "rtph264pay") if Gst.ElementFactory.find(name) is None]
    if missing or sys.argv[1] == "--check":
        return 1 if missing else 0
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {sys.argv[2]} ! {ENCODER} ! rtph264pay name=pay0 pt=96 config-interval=1 )")
    factory.set_shared(True)
    lines = sys.stdin.read().split("\n")
    if len(lines) == 3:
        ask_for_login(server, factory, *lines)
    server.get_mount_points().add_factory("/live", factory)
    if server.attach(None) == 0:
        return 1
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()
    return 0


def ask_for_login(server: object, factory: object, kind: str, user: str, password: str) -> None:
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", permission, True)
    factory.set_permissions(permissions)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    login = GstRtspServer.RTSPAuth()
    if kind == "digest":
        login.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        login.add_digest(user, password, token)
    else:
        login.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(login)


if __name__ == "__main__":
    sys.exit(main())
