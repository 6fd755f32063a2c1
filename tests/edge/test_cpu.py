import pytest

from edge.cpu import cpu_name, int8_support


def test_the_processor_has_a_name_on_every_machine(tmp_path):
    (tmp_path / "pc").write_text("processor\t: 0\nmodel name\t: Some CPU\n")
    (tmp_path / "board").write_text("processor : 0\n\nModel : Some Board Rev 1.4\n")
    assert cpu_name(tmp_path / "pc") == "Some CPU"
    assert cpu_name(tmp_path / "board") == "Some Board Rev 1.4"
    assert cpu_name(tmp_path / "missing") != ""


@pytest.mark.parametrize(
    ("lines", "fast", "reason"),
    [
        ("flags\t\t: fpu avx2 avx512_vnni\n", True, "AVX512-VNNI"),
        ("flags\t\t: fpu avx2 avx_vnni\n", True, "AVX-VNNI"),
        ("Features\t: fp asimd asimddp\n", True, "ARM dot product"),
        ("flags\t\t: fpu avx2 avx512f\n", False, "neither VNNI nor the ARM dot product"),
        ("Features\t: fp asimd\n", False, "neither"),
        ("model name\t: avx512_vnni for sale\n", False, "neither"),
        ("", False, "neither"),
    ],
)
def test_int8_pays_where_the_processor_has_the_instruction(monkeypatch, tmp_path, lines, fast, reason):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    (tmp_path / "cpuinfo").write_text(lines)
    support = int8_support(tmp_path / "cpuinfo")
    assert support.fast is fast
    assert reason in support.reason


def test_a_system_that_tells_nothing_gets_fp32(monkeypatch, tmp_path):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert not int8_support(tmp_path / "none").fast


def test_apple_silicon_is_known_without_a_list(monkeypatch, tmp_path):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert int8_support(tmp_path / "none").fast
