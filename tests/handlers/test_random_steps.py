"""The number of steps changes from batch to batch, as a function of the iteration alone, and is put back."""

from types import SimpleNamespace

from ignite.engine import Engine, Events

from pipeline.handlers.random_steps import RandomSteps
from pipeline.ode.solve import Solver


def steps_seen(epochs, *, begin=0, seed=0):
    flow = SimpleNamespace(solver=Solver(method="midpoint", steps=2))
    seen, between = [], []
    trainer = Engine(lambda engine, batch: seen.append(flow.solver.steps))
    RandomSteps(flow, [2, 2, 3, 4], seed=seed).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: between.append(flow.solver))
    trainer.load_state_dict({"epoch": begin, "max_epochs": epochs, "epoch_length": 20})
    trainer.run([None] * 20, max_epochs=epochs)
    assert between == [Solver(method="midpoint", steps=2)] * (epochs - begin)
    return seen


def test_every_number_is_drawn_about_as_often_as_it_is_named():
    seen = steps_seen(10)
    assert 70 <= seen.count(2) <= 130 and 25 <= seen.count(3) <= 75 and 25 <= seen.count(4) <= 75
    assert len(seen) == 200


def test_a_resumed_run_draws_what_the_whole_run_drew():
    assert steps_seen(3, begin=2) == steps_seen(3)[40:]
    assert steps_seen(3, seed=1) != steps_seen(3)
