"""Scanning a dataset of Ray: a column of files becomes columns with what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardalign_middleware import __version__
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.identity import scan_identity
from guardalign_middleware.scale.engine import ACTOR_CPUS, Actors, pool_of
from guardalign_middleware.scale.extra import require_ray
from guardalign_middleware.scale.rows import ScanRows
from guardalign_middleware.scale.store import digest_of
from guardalign_middleware.start_checks import require_profile

if TYPE_CHECKING:
    from ray.data import Dataset

_ROWS = 16


def scan_dataset(
    ds: Dataset,
    config: GuardAlignConfig | str | Path,
    *,
    column: str = "bytes",
    name: str | None = "path",
    results: str | Path | None = None,
    cleaned: bool = False,
    actors: Actors | None = None,
    batch_rows: int = _ROWS,
) -> Dataset:
    """A dataset with what the guard says of each file; every row stays, damaged files too.

    New columns, which begin with `guardalign_`:

    - `decision`: "allow", "mask" or "block"; "observe" of a guard that only observes, whose
      `records` hold `would_be`. Of several frames the worst. None = not scanned.
    - `error`: why not; None = it was.
    - `category`, `distance`, `threshold`: of the picture that decided.
    - `records`: a line of JSON for each picture, as `guardalign scan --resume` writes it.
    - `cleaned`, if asked for: the file without what was found; None = blocked, not scanned, or of
      several frames.

    Example:
        ```python
        files = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
        scanned = scan_dataset(files, "clip-vit-b-32", results="s3://bucket/scanned")
        scanned.filter(expr="guardalign_decision == 'allow'").write_parquet("s3://bucket/safe")
        ```

    Args:
        ds: with a column of image files, as `ray.data.read_binary_files` makes it.
        config: of the guard, a preset's name, or a path. Its files have to be on all machines.
        column: with the bytes of the files.
        name: column with their names, for errors and records; None = there is none.
        results: folder on storage that all machines share, or an address such as "s3://…". Contents
            whose results are there are not scanned again, by any job of the same guard.
        cleaned: whether cleaned files are wanted.
        actors: how many guards scan at once; None = one, and more while files wait.
        batch_rows: files that an actor takes at a time.

    Raises:
        ConfigError: the extra `ray` is missing, the guard has no threshold profile, or an argument
            is invalid. While the dataset runs, Ray wraps an error of the guard in its own.
    """
    require_ray()
    import ray

    if not isinstance(config, GuardAlignConfig):
        config = GuardAlignConfig.load(config)
    require_profile(config)
    if batch_rows < 1:
        raise ConfigError(f"batch_rows should be at least 1. Received {batch_rows}.")
    actors = actors or Actors()
    place = None if results is None else str(results)
    if place is not None and "://" not in place:
        place = str(Path(place).resolve())
    store = None
    if place is not None:
        made = f"{scan_identity(config)} {cleaned}"
        store = (place, digest_of(made.encode()))
    gpus = actors.gpus_in(ray.cluster_resources(), config)
    return ds.map_batches(
        ScanRows,
        fn_constructor_args=(config, column, name, store, cleaned, __version__),
        compute=pool_of(actors),
        batch_size=batch_rows,
        batch_format="pyarrow",
        num_cpus=ACTOR_CPUS,
        num_gpus=gpus or None,
    )
