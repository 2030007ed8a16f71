"""Inverse evolution layers that are added one after another while a network learns."""

from __future__ import annotations

from ignite.engine import Engine, Events

from pipeline.layers.inverse_evolution import InverseEvolution


class LayerRamp:
    """Before each epoch: sets how many layers of a stack work, from none to all of them in the first `epochs` epochs.

    The number depends on the epoch only, so a resumed run goes on with the right one. Without this handler all layers
    work from the start.
    """

    def __init__(self, stack: InverseEvolution, *, epochs: int) -> None:
        if epochs < 0:
            raise ValueError(f"epochs is {epochs}, it must be 0 (all layers at once) or more")
        self.stack, self.epochs = stack, epochs

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        self.stack.active = self.layers(engine.state.epoch)

    def layers(self, epoch: int) -> int:
        """How many layers work in this epoch; the first is 1."""
        if epoch > self.epochs:
            return self.stack.layers
        return self.stack.layers * (epoch - 1) // self.epochs
