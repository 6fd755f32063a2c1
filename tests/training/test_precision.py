import pytest
import torch

from edge.errors import InvalidValueError
from training import precision
from training.precision import autocast, computes_bf16, require_precision


@pytest.mark.parametrize(
    ("asked", "hardware", "lowered"),
    [("auto", True, True), ("auto", False, False), ("bf16", False, True), ("fp32", True, False)],
)
def test_auto_is_bf16_only_where_the_machine_is_fast_at_it(monkeypatch, asked, hardware, lowered):
    monkeypatch.setattr(precision, "computes_bf16", lambda device: hardware)
    with autocast(torch.device("cpu"), asked):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if lowered else torch.float32)


def test_the_hardware_is_asked():
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "AVX2":  # no such instructions: fifteen times as slow
        assert not computes_bf16(torch.device("cpu"))
    assert isinstance(computes_bf16(torch.device("cpu")), bool)


def test_a_precision_that_is_none_is_refused():
    with pytest.raises(InvalidValueError, match="precision must be auto, bf16 or fp32, got 'fp8'"):
        require_precision("fp8")
