"""How many guards there are, and what error is behind one of Ray's."""

from __future__ import annotations

import pytest

from guardalign_middleware.errors import AuditError, ConfigError
from guardalign_middleware.scale.engine import Actors, own_error
from guardalign_middleware.testing import red_config


def config(device: str):  # type: ignore[no-untyped-def]
    made = red_config()
    encoder = made.detection.encoder.model_copy(update={"device": device})
    detection = made.detection.model_copy(update={"encoder": encoder})
    return made.model_copy(update={"detection": detection})


def test_a_guard_gets_half_a_gpu_where_it_may_use_one() -> None:
    with_gpus, without = {"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}
    assert Actors().gpus_in(with_gpus, config("auto")) == 0.5
    assert Actors().gpus_in(with_gpus, config("cuda:0")) == 0.5
    assert Actors().gpus_in(with_gpus, config("cpu")) == 0.0
    assert Actors().gpus_in(without, config("auto")) == 0.0
    assert Actors(gpus=1.0).gpus_in(without, config("cpu")) == 1.0


@pytest.mark.parametrize(
    "fields", [{"least": 0}, {"least": 3, "most": 2}, {"gpus": -0.5}, {"gpus": float("nan")}]
)
def test_impossible_numbers_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="Received"):
        Actors(**fields)  # type: ignore[arg-type]


class Wrapped(Exception):
    """As Ray's: the error of another process is an attribute."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("an actor failed")
        self.cause = cause


def test_the_guards_own_error_is_found_behind_those_of_ray() -> None:
    own = AuditError("It cannot be recorded.", remedy="Make space.")
    outer = RuntimeError("the job failed")
    outer.__cause__ = Wrapped(Wrapped(own))
    assert own_error(outer) is own
    circle = Wrapped(ValueError("no"))
    circle.cause.__context__ = circle
    assert own_error(circle) is None
