"""The contract holds for the sink that the recorder's tests use."""

import pytest

from tests.unit.exporters.sink_contract import MemoryHarness, SinkContract


class TestMemorySink(SinkContract):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
