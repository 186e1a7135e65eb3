"""Whether a plot can be written, before the work that it shows."""

from __future__ import annotations

from pathlib import Path

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.local_extra import require_extra
from guardalign_middleware.writing import check_target


def check_plot(target: Path) -> None:
    """Find out before long work whether matplotlib can write this file.

    Raises:
        ConfigError: it is not installed, does not know the format, or the file cannot be written.
    """
    require_extra("report", "Plots need", ("matplotlib",))
    from matplotlib.figure import Figure

    kinds = Figure().canvas.get_supported_filetypes()
    if target.suffix and target.suffix[1:].lower() not in kinds:
        raise ConfigError(
            f"Cannot write {target}: plots have no such format.",
            remedy=f"Its name should end in .{', .'.join(sorted(kinds))}.",
        )
    check_target(target)
