"""Kestrel at boot: the files for systemd, Docker, and Docker Compose, as text, and written to a folder."""

import os
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from edge.errors import InvalidValueError

CONFIG = Path("/etc/kestrel/kestrel.toml")


class ServiceKind(StrEnum):
    """What is to start Kestrel."""

    systemd = "systemd"
    docker = "docker"
    compose = "compose"


_USER = re.compile(r"\w[\w.-]*\$?", re.ASCII)

_UNIT = """\
# Kestrel as a service of systemd. As root:
#   kestrel service > /etc/systemd/system/kestrel.service
#   mkdir -p {config_folder}
#   kestrel watch 'rtsp://${{CAMERA_USER}}:${{CAMERA_PASSWORD}}@10.0.0.5/live' --print-config > {config}
#   install -D -m 600 /dev/null /etc/kestrel/secrets.env    # then write CAMERA_USER=... and CAMERA_PASSWORD=... into it
#   systemctl daemon-reload && systemctl enable --now kestrel && systemctl status kestrel
# Results: /var/lib/kestrel/; rotate-mb and video-max-mb in {config} bound them. Log: journalctl -u kestrel.

[Unit]
Description=Kestrel, pedestrians in live video
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} watch --config {config_word}
WorkingDirectory=%S/kestrel
StateDirectory=kestrel
EnvironmentFile=-/etc/kestrel/secrets.env
Environment=HOME=%S/kestrel MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1

# Again and again, but not where the configuration itself is refused (2).
Restart=always
RestartSec=2
RestartPreventExitStatus=2
# Fed with every record, a few times in this span. Kestrel asks for more time while a model loads.
WatchdogSec=30
TimeoutStartSec=90
TimeoutStopSec=10
KillMode=mixed

# Nobody's rights, in a system that it cannot change.
{user}
SupplementaryGroups=video
UMask=0027
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
# Not ProtectClock nor PrivateDevices: both would hide cameras and GPUs.

[Install]
WantedBy=multi-user.target
"""

_DOCKERFILE = """\
# Kestrel in a container, without root. In a checkout of Kestrel:
#   kestrel service --write . && docker build -t kestrel .
#   docker run --read-only --tmpfs /tmp --env-file secrets.env \\
#     -v "$PWD/kestrel.toml:{config}:ro" -v kestrel-results:/var/lib/kestrel kestrel
# Or: docker run kestrel watch --help

FROM python:3.12-slim-bookworm
RUN apt-get update \\
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \\
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,target=/src,rw pip install --no-cache-dir /src
RUN useradd --system --uid 10001 --groups video --home-dir /var/lib/kestrel --create-home kestrel
USER kestrel
WORKDIR /var/lib/kestrel
VOLUME /var/lib/kestrel
ENV MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1
STOPSIGNAL SIGTERM
ENTRYPOINT ["kestrel"]
CMD ["watch", "--config", "{config}"]
"""

_COMPOSE = """\
# docker compose up -d --build, beside Dockerfile, kestrel.toml and secrets.env (CAMERA_USER=... a line).
services:
  kestrel:
    build: .
    image: kestrel
    restart: unless-stopped
    read_only: true
    tmpfs: [/tmp]
    shm_size: 256m
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    stop_grace_period: 10s
    env_file: [secrets.env]
    volumes:
      - ./kestrel.toml:{config}:ro
      - results:/var/lib/kestrel
    # A camera of this machine:
    # devices: [/dev/video0]
    # With `http = "127.0.0.1:8080"` in kestrel.toml:
    # healthcheck:
    #   test: [CMD, python, -c, "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
volumes:
  results:
"""


def unit(command: str, config: Path, user: str | None) -> str:
    """The unit of systemd. `command` begins its command line, see `command_line`; without `user` systemd makes one."""
    if user is not None and not _USER.fullmatch(user):
        raise InvalidValueError("user", "the name of a user", user, "leave it out, and systemd makes one")
    if not str(config).isprintable():
        raise InvalidValueError("config", "a path without control characters", str(config))
    config = config.absolute()  # the service starts in a folder of its own
    return _UNIT.format(
        command=command,
        config=config,
        config_word=_word(str(config)),
        config_folder=config.parent,
        user="DynamicUser=yes" if user is None else f"User={user}",
    )


def service_files(command: str, config: Path, user: str | None) -> Mapping[ServiceKind, str]:
    """The text of each kind. In a container the configuration lies where it always does."""
    return {
        ServiceKind.systemd: unit(command, config, user),
        ServiceKind.docker: _DOCKERFILE.format(config=CONFIG),
        ServiceKind.compose: _COMPOSE.format(config=CONFIG),
    }


# How the file of each kind is called.
FILE_NAMES = {
    ServiceKind.systemd: "kestrel.service",
    ServiceKind.docker: "Dockerfile",
    ServiceKind.compose: "compose.yaml",
}


def command_line() -> str:
    """How this installation is started, in systemd's quoting: its `kestrel`, or its Python."""
    script = Path(sys.executable).with_name("kestrel")
    return _word(str(script)) if script.is_file() else f"{_word(sys.executable)} -m edge"


def private_folder(path: Path) -> Path | None:
    """The first folder on the way to `path`, or to what it links to, that other users cannot enter; None: they can."""
    for folder in (*reversed(path.absolute().parents), *reversed(path.resolve().parents)):
        try:
            if not folder.stat().st_mode & 0o001:
                return folder
        except OSError:
            return folder
    return None


def write_files(folder: Path, texts: Mapping[ServiceKind, str], *, overwrite: bool) -> list[Path]:
    """Write each under its name; which files those are.

    Raises:
        InvalidValueError: one is there already and is not to be replaced, or the folder cannot be written to.
    """
    files = [folder / FILE_NAMES[kind] for kind in texts]
    for file in files:
        if os.path.lexists(file) and not overwrite:
            raise InvalidValueError("write", "a folder without these files", str(file), "add --overwrite to replace it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in zip(files, texts.values(), strict=True):
            file.write_text(text)
    except OSError as error:
        raise InvalidValueError(
            "write", "a folder that can be written to", str(folder), error.strerror or type(error).__name__
        ) from None
    return files


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """One word of a command line of systemd."""
    escaped = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t'\"\\;") else escaped
