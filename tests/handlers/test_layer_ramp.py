"""The number of working layers over the epochs."""

import pytest
from ignite.engine import Engine, Events

from pipeline.handlers.layer_ramp import LayerRamp
from pipeline.layers.inverse_evolution import HeatFlow, InverseEvolution


def run(epochs, *, ramp, layers=20):
    """The number of active layers in each epoch of a run."""
    stack, seen = InverseEvolution(HeatFlow(), layers=layers), []
    engine = Engine(lambda *_: None)
    LayerRamp(stack, epochs=ramp).attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: seen.append(stack.active))
    engine.run([0], max_epochs=epochs)
    return seen


def test_layers_are_added_from_none_to_all():
    assert run(6, ramp=4) == [0, 5, 10, 15, 20, 20]


def test_a_ramp_longer_than_the_stack_waits_between_layers():
    assert run(7, ramp=6, layers=2) == [0, 0, 0, 1, 1, 1, 2]


def test_without_a_ramp_all_layers_work_at_once():
    assert run(2, ramp=0) == [20, 20]


def test_a_resumed_run_finds_the_number_of_its_epoch():
    stack = InverseEvolution(HeatFlow(), layers=20)
    engine = Engine(lambda *_: None)
    engine.add_event_handler(Events.STARTED, lambda e: setattr(e.state, "epoch", 2))
    LayerRamp(stack, epochs=4).attach(engine)
    engine.run([0], max_epochs=3)
    assert stack.active == 10


def test_a_negative_ramp_is_refused():
    with pytest.raises(ValueError, match="epochs is -1, it must be 0"):
        LayerRamp(InverseEvolution(HeatFlow()), epochs=-1)
