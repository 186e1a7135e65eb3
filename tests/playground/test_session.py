"""A session holds one picture for one visitor, and forgets it."""

import pytest

from guardalign_middleware.errors import ConfigError, ImageRejected, Overloaded
from guardalign_middleware.playground.inspection import Inspector
from guardalign_middleware.playground.session import Session, Sessions
from guardalign_middleware.playground.settings import Settings
from guardalign_middleware.testing import picture, png, red_guard

OWN = Settings(0.0, 0.0, None)


@pytest.fixture
def session() -> Session:
    return Session(Inspector(red_guard(), 10**6), OWN)


def test_a_picture_is_shown_moved_and_cleaned(session: Session) -> None:
    session.show(png(picture(red=True)))
    assert session.verdict.decision == "mask"
    assert session.masks == tuple(region.box for region in session.verdict.regions)
    cleaned = session.clean()
    assert session.clean() is cleaned
    assert session.masks == cleaned.boxes
    session.move(Settings(0.0, 0.5, None))
    assert session.cleaned is None
    assert session.clean().masked_fraction > cleaned.masked_fraction


def test_the_record_says_what_was_moved(session: Session) -> None:
    session.show(picture(red=True))
    session.move(Settings(0.1, 0.2, None))
    record = session.record()
    assert record["decision"] == "mask"
    assert record["settings"] == {"threshold_factor": 10**0.1, "margin": 0.2, "gamma": None}
    assert "cleaning" not in record
    session.clean()
    assert session.record()["cleaning"]["rounds"] >= 1


def test_a_refused_picture_leaves_nothing_of_the_one_before(session: Session) -> None:
    session.show(picture(red=True))
    with pytest.raises(ImageRejected):
        session.show(b"no picture")
    assert session.inspection is None
    with pytest.raises(ConfigError, match="no picture"):
        session.record()
    with pytest.raises(ConfigError, match="no picture"):
        session.clean()


def test_what_is_cleaned_while_a_slider_moves_is_not_kept(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.show(picture(red=True))
    clean = Inspector.clean

    def slow(*arguments: object) -> object:
        session.move(Settings(0.5, 0.0, None))
        return clean(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Inspector, "clean", slow)
    session.clean()
    assert session.cleaned is None


def test_there_are_only_so_many_sessions(session: Session) -> None:
    sessions = Sessions(most=1)
    session.show(picture())
    sessions.open(session)
    other = Session(Inspector(red_guard(), 10**6), OWN)
    assert other.token != session.token
    with pytest.raises(Overloaded, match="limit"):
        sessions.open(other)
    sessions.close(session)
    assert session.inspection is None
    sessions.open(other)
    assert len(sessions) == 1
