import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import InvalidValueError
from edge.service import CONFIG, FILE_NAMES, ServiceKind, command_line, private_folder, service_files, unit, write_files


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_unit_is_supervised_without_root_on_a_read_only_system():
    said = lines(unit("/opt/kestrel/bin/kestrel", CONFIG, None))
    for line in (
        "Type=notify",
        "ExecStart=/opt/kestrel/bin/kestrel watch --config /etc/kestrel/kestrel.toml",
        "WatchdogSec=30",
        "Restart=always",
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
    ):
        assert line in said
    assert "User=bird" in lines(unit("kestrel", CONFIG, "bird"))
    assert "DynamicUser=yes" not in unit("kestrel", CONFIG, "bird")


@pytest.mark.parametrize(
    ("config", "word"),
    [("/a/b.toml", "/a/b.toml"), ("/a b/c.toml", '"/a b/c.toml"'), ("/100%/$x\"'", '"/100%%/$$x\\"\'"')],
)
def test_words_are_quoted_as_systemd_reads_them(config, word):
    assert f"ExecStart=kestrel watch --config {word}" in lines(unit("kestrel", Path(config), None))


def test_a_configuration_that_lies_here_is_found_from_where_the_service_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"ExecStart=kestrel watch --config {tmp_path}/kestrel.toml" in lines(
        unit("kestrel", Path("kestrel.toml"), None)
    )


@pytest.mark.parametrize("user", ["", "a\nExecStartPre=/bin/x", "a b", "%u", "-x"])
def test_a_user_that_is_no_name_is_refused_rather_than_run_as_root(user):
    with pytest.raises(InvalidValueError, match="user must be the name of a user, got"):
        unit("kestrel", Path("/etc/kestrel.toml"), user)


def test_a_line_break_in_a_path_is_no_line_of_the_unit():
    with pytest.raises(InvalidValueError, match="config must be a path without control characters"):
        unit("kestrel", Path("/etc/a\nUser=root"), None)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_finds_no_fault_in_the_unit(tmp_path, user):
    file = tmp_path / "kestrel.service"
    file.write_text(unit(command_line(), tmp_path / "with a space.toml", user))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_container_runs_without_root_too():
    texts = service_files("kestrel", Path("/elsewhere.toml"), None)
    assert re.search(r"^USER (?!root|0)", texts[ServiceKind.docker], re.MULTILINE)
    assert '"/etc/kestrel/kestrel.toml"' in texts[ServiceKind.docker]
    yaml = pytest.importorskip("yaml")
    for text in (texts[ServiceKind.compose], texts[ServiceKind.compose].replace("    # ", "    ")):
        service = yaml.safe_load(text.replace("A camera of", "#").replace("With `http", "#"))["services"]["kestrel"]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_files_are_written_and_never_replaced_unasked(tmp_path):
    texts = service_files("kestrel", CONFIG, None)
    files = write_files(tmp_path / "new", texts, overwrite=False)
    assert [file.name for file in files] == [*FILE_NAMES.values()] == ["kestrel.service", "Dockerfile", "compose.yaml"]
    assert files[1].read_text() == texts[ServiceKind.docker]
    with pytest.raises(InvalidValueError, match="--overwrite"):
        write_files(tmp_path / "new", texts, overwrite=False)
    write_files(tmp_path / "new", texts, overwrite=True)
    with pytest.raises(InvalidValueError, match="can be written to"):
        write_files(files[0] / "below", texts, overwrite=False)


def test_a_place_that_the_service_cannot_reach_is_found(tmp_path):
    tmp_path.chmod(0o700)
    assert private_folder(Path("/usr/bin/env")) is None
    assert private_folder(tmp_path / "venv" / "bin" / "kestrel") is not None
    assert command_line().startswith((str(Path(sys.executable).parent), '"'))
