"""The public names are a contract."""

import guardalign_middleware


def test_the_public_names() -> None:
    assert guardalign_middleware.__all__ == [
        "AuditError",
        "CalibratedRunner",
        "CalibrationError",
        "CalibrationReport",
        "CanonicalImage",
        "ConfigError",
        "ContextOverflow",
        "DetectionError",
        "GuardAlign",
        "GuardAlignConfig",
        "GuardAlignError",
        "GuardError",
        "GuardedChunk",
        "GuardedReply",
        "GuardedStream",
        "ImageGuard",
        "ImageRejected",
        "Message",
        "MessageError",
        "ModelLoadError",
        "OutOfMemory",
        "Overloaded",
        "Region",
        "RemoteImageGuard",
        "SanitizedImage",
        "Unreachable",
        "Usage",
        "Verdict",
        "available_presets",
    ]


def test_every_public_name_can_be_imported() -> None:
    for name in guardalign_middleware.__all__:
        assert getattr(guardalign_middleware, name) is not None
