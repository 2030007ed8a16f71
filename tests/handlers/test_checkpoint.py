"""Checkpoints and EpochSeed: a run that was stopped ends bitwise where an uninterrupted one ends."""

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer

from pipeline.errors import InputError
from pipeline.handlers.checkpoint import Checkpoints, half_precision
from pipeline.handlers.epoch_seed import EpochSeed


class Noise(Dataset):
    """Eight samples whose noise depends on the epoch."""

    def set_epoch(self, epoch):
        self.noise = torch.randn(8, 3, generator=torch.Generator().manual_seed(epoch))

    def __init__(self):
        super().__init__(list(range(8)))
        self.set_epoch(0)

    def _transform(self, index):
        return {"image": self.noise[index], "label": self.noise[index].sum(0, keepdim=True)}


class Stopped(Exception):
    """Stands for a killed process."""


def run(folder, epochs=4, *, stop_in=None, nan_in=None, scores=(0.1, 0.5, 0.3, 0.4), **settings):
    """Trains a small network, as a fresh process would; returns its weights and the handler."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=4 * 4)
    dataset = Noise()
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(dataset, batch_size=2, shuffle=True),
        network=network,
        optimizer=optimizer,
        loss_function=torch.nn.MSELoss(),
    )
    evaluator = Engine(lambda engine, batch: batch)
    evaluator.state.key_metric_name = "score"
    Average().attach(evaluator, "score")
    EpochSeed(dataset, seed=5).attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: schedule.step())
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: evaluator.run([scores[e.state.epoch - 1]]))
    checkpoints = Checkpoints(
        folder, network=network, optimizer=optimizer, lr_scheduler=schedule, evaluator=evaluator, **settings
    )
    checkpoints.attach(trainer)
    if stop_in is not None:

        @trainer.on(Events.ITERATION_STARTED)
        def stop(engine):
            if engine.state.iteration == stop_in:
                raise Stopped

    if nan_in is not None:  # as one broken sample does

        @trainer.on(Events.ITERATION_COMPLETED(once=nan_in))
        def spoil(_):
            network[2].bias.data.fill_(torch.nan)

    trainer.run()
    return network.state_dict(), checkpoints


def test_a_stopped_run_ends_bitwise_where_an_uninterrupted_one_ends(tmp_path):
    whole, kept = run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "parts", stop_in=11)  # in the middle of the third epoch
    continued, kept_again = run(tmp_path / "parts")
    assert all(torch.equal(whole[name], continued[name]) for name in whole)
    assert (kept.best_epoch, kept.best_score) == (kept_again.best_epoch, kept_again.best_score) == (2, 0.5)
    best, best_again = (torch.load(tmp_path / d / "model.pt", weights_only=True) for d in ("whole", "parts"))
    assert all(torch.equal(best[name], best_again[name]) for name in best)


def test_the_best_weights_survive_worse_epochs_after_a_resume(tmp_path):
    run(tmp_path, scores=(0.9, 0.1, 0.1, 0.1))
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    with pytest.raises(Stopped):
        run(tmp_path / "b", scores=(0.9, 0.1, 0.1, 0.1), stop_in=7)
    run(tmp_path / "b", scores=(0.9, 0.1, 0.1, 0.1))
    again = torch.load(tmp_path / "b" / "model.pt", weights_only=True)
    assert all(torch.equal(best[name], again[name]) for name in best)


def test_the_shipped_weights_are_half_precision_and_load_by_themselves(tmp_path):
    _, checkpoints = run(tmp_path)
    shipped = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {t.dtype for t in shipped.values()} == {torch.float16}
    checkpoints.network.load_state_dict(shipped)
    assert checkpoints.network[0].weight.dtype == torch.float32
    assert all(torch.equal(half_precision(checkpoints.network)[name], shipped[name]) for name in shipped)


def test_a_score_that_is_not_a_number_keeps_nothing(tmp_path):
    run(tmp_path, scores=(float("nan"),) * 4)
    assert not (tmp_path / "model.pt").exists()


def test_weights_that_are_no_numbers_end_the_run_and_replace_nothing(tmp_path):
    two_epochs = 2 * 4  # iterations
    with pytest.raises(InputError, match=r"after epoch 3 weights are NaN .*0\.weight.* learning_rate"):
        run(tmp_path, nan_in=two_epochs + 1)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["epoch"] == 2
    weights = torch.load(tmp_path / "model.pt", weights_only=True)  # of epoch 2, the best
    assert all(weight.isfinite().all() for weight in [*kept["network"].values(), *weights.values()])
    assert run(tmp_path)[1].best_score == 0.5  # the run goes on from there
    with pytest.raises(InputError, match="after epoch 1"):
        run(tmp_path / "at once", nan_in=1)
    assert not (tmp_path / "at once/model.pt").exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match="choose another output_dir"):
        run(tmp_path, epochs=3)
    with pytest.raises(InputError, match="resume is false"):
        run(tmp_path, resume=False)


def test_a_finished_run_is_not_run_again(tmp_path):
    first, _ = run(tmp_path)
    again, _ = run(tmp_path)
    assert all(torch.equal(first[name], again[name]) for name in first)


def epochs_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)["epoch"]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (None, 4)])
def test_a_run_ends_when_its_patience_does(tmp_path, patience, epochs):
    run(tmp_path, patience=patience)  # the best epoch is the second
    assert epochs_of(tmp_path) == epochs


def test_a_run_that_was_stopped_ends_where_an_uninterrupted_one_does(tmp_path):
    scores = (0.5, 0.3, 0.2, 0.6)  # the better fourth is never seen
    with pytest.raises(Stopped):
        run(tmp_path, scores=scores, patience=2, stop_in=9)  # an epoch was waited for already
    run(tmp_path, scores=scores, patience=2)
    assert epochs_of(tmp_path) == 3
    run(tmp_path, scores=scores, patience=2)
    assert epochs_of(tmp_path) == 3
    run(tmp_path, scores=scores)
    assert epochs_of(tmp_path) == 4


def test_a_patience_of_no_epoch_is_refused(tmp_path):
    with pytest.raises(InputError, match="1 epoch or more"):
        run(tmp_path, patience=0)


def test_the_scaler_of_monais_mixed_precision_is_kept_too(tmp_path):
    network, evaluator, trainer = torch.nn.Linear(1, 1), Engine(lambda *_: None), Engine(lambda *_: None)
    optimizer = torch.optim.SGD(network.parameters())
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    kept = Checkpoints(tmp_path, network=network, optimizer=optimizer, lr_scheduler=schedule, evaluator=evaluator)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    trainer.state.max_epochs, trainer.state.epoch_length = 1, 1
    trainer.scaler.scale(torch.zeros(1))  # makes the scale a tensor
    kept.save(trainer)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    kept.load(trainer)
    assert trainer.scaler.get_scale() == 2.0
