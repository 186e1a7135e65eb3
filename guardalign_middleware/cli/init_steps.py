"""The steps of `guardalign init`, each of which can be repeated alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rich.filesize import decimal
from rich.table import Column, Table

from guardalign_middleware.cli.console import (
    err,
    out,
    plain,
    print_error,
    tracked,
    without_loading_bars,
)
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.detection import Detector, ThresholdProfile
from guardalign_middleware.detection.fit import check_groups
from guardalign_middleware.detector_loading import load_detector
from guardalign_middleware.errors import ConfigError, ImageRejected
from guardalign_middleware.evaluation.metrics import rate
from guardalign_middleware.first_day import questions
from guardalign_middleware.first_day.contact_sheet import write_sheet
from guardalign_middleware.first_day.counts import Counts, configured_ways, explained, explained_fit
from guardalign_middleware.first_day.downloads import Download
from guardalign_middleware.first_day.fitting import (
    Fitted,
    Measured,
    check_pixels_apart,
    check_sources_apart,
    fit,
    measure_all,
    note_split,
    read_split,
)
from guardalign_middleware.first_day.machine import lacks_bfloat16
from guardalign_middleware.first_day.patch_choice import choose_crops
from guardalign_middleware.first_day.picture_sets import Picture, Side, open_set
from guardalign_middleware.first_day.pinned import Pinned, pin, wanted
from guardalign_middleware.first_day.plan import Plan, Step
from guardalign_middleware.first_day.preset_writing import name_profile, write_preset
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.output import load_as_scanned
from guardalign_middleware.start_checks import require_profile
from guardalign_middleware.writing import check_target


class FirstDay:
    """Does the steps; what one leaves, another of the same run need not make again.

    Args:
        plan: what is asked for.
        confirm: asks a question, and whether to go on.
    """

    def __init__(self, plan: Plan, confirm: Callable[[str], bool]) -> None:
        self.plan = plan
        self._confirm = confirm
        self._pictures: dict[Side, list[Picture]] = {}
        self._pinned: tuple[Pinned, ...] | None = None
        self._detector: Detector | None = None
        self._measured: dict[Side, list[Measured]] = {}

    def do(self, step: Step, *, again: bool) -> None:
        """Do a step; `again` also where its file is there.

        Raises:
            GuardAlignError: it cannot be done.
        """
        if step == "download":
            self._download(again=again)
        elif step == "preset":
            self._preset(again=again)
        else:
            {"calibrate": self._calibrate, "review": self._review, "ask": self._ask}[step]()

    def _download(self, *, again: bool) -> None:
        # What a preset that is there pins, and not what the hub has by now.
        there = self.plan.out.exists() and not again
        with err().status("asking the hub"):
            downloads = wanted(self.plan.written() if there else self.plan.start())
        if not downloads:
            out().print("nothing: all models of the preset are in folders")
            self._pinned = ()
            return
        out(soft_wrap=False).print(_table(downloads))
        size = sum(one.to_fetch for one in downloads)
        if size and not self._confirm(f"Download {decimal(size)}?"):
            raise ConfigError("Nothing was downloaded.", remedy="Choose another preset or model.")
        pinned = []
        for one in downloads:
            pinned.append(pin(one))
            files = len(pinned[-1].sha256)
            whole = "1 file is whole" if files == 1 else f"{files} files are whole"
            out().print(f"{plain(one.need.repository)}: {whole}, SHA-256 noted")
        self._pinned = tuple(pinned)

    def _preset(self, *, again: bool) -> None:
        plan = self.plan
        if plan.out.exists() and not again:
            out().print(
                f"{plain(str(plan.out))} is there and stays as it is; --step preset writes it anew"
            )
            return
        start = plan.start()
        pinned = self._pinned
        if pinned is None:
            pinned = tuple(map(pin, wanted(start)))
        detection = start.detection
        for one in pinned:
            if one.need.use == "encoder":  # the files that were looked at, not those of today
                changes = {"revision": one.revision}
                encoder = detection.encoder.model_copy(update=changes)
                detection = detection.model_copy(update={"encoder": encoder})
        sizes = [_size(one, start) for side in ("safe", "unsafe") for one in self._of(side)]
        found = [size for size in sizes if size is not None]
        crops = choose_crops(detection, found, plan.max_crops)
        slow = detection.encoder.precision == "bf16" and lacks_bfloat16(detection.encoder.device)
        write_preset(plan, pinned, crops, precision="fp32" if slow else None)
        out().print(f"{plain(str(plan.out))}: max_crops {crops.max_crops} ({crops.reason})")
        if slow:
            out().print(
                f"{plain(str(plan.out))}: precision fp32 instead of bf16, which this CPU has no "
                "instructions for"
            )
        out().print(f"{plain(str(plan.concepts))}: what is looked for, to be edited")
        if plan.observe:
            out().print(
                f"{plain(str(plan.log))}: where every picture will be recorded, with the key "
                f"{plain(str(plan.key))}"
            )

    def _calibrate(self) -> None:
        plan, config = self.plan, self.plan.written()
        check_target(plan.profile)
        check_sources_apart({"safe": self._of("safe"), "unsafe": self._of("unsafe")})
        # Said before the pictures are measured, which can take hours on a CPU.
        expected = self._expected(config)
        self._say_counts(expected)
        detector = self._loaded(config)
        check_groups(
            detector,
            expected[0].fitted,
            {"unsafe": expected[1].fitted},
            plan.max_false_alarm,
            max_miss=plan.max_miss,
            forms=expected[0].ways,
            held_out=plan.held_out,
        )
        safe, unsafe = self._measure("safe", config), self._measure("unsafe", config)
        if self._found() != expected:
            self._say_counts(self._found())
        fitted = fit(
            detector,
            {"safe": safe, "unsafe": unsafe},
            plan.max_false_alarm,
            plan.max_miss,
            held_out=plan.held_out,
            seed=plan.seed,
        )
        profile = fitted.profile
        profile.save(plan.profile)
        note_split(plan.distances, fitted)
        name_profile(plan)
        _show_rates(profile)
        out().print(f"{plain(str(plan.profile))}: named in {plain(str(plan.out))}")

    def _review(self) -> None:
        plan, config = self.plan, self.plan.written()
        if config.detection.profile is None:
            raise ConfigError(
                f"{plan.out} names no threshold profile yet.",
                remedy="Run `guardalign init --step calibrate` first.",
            )
        # The guard's own thresholds, whatever fitted them, and whatever this run is asked for.
        profile = ThresholdProfile.load(config.detection.profile)
        check_target(plan.review)
        meters = self._loaded(config).meters
        guard = ImageGuard(config, Detector(meters, config.detection, profile))
        safe, unsafe = self._measure("safe", config), self._measure("unsafe", config)
        check_pixels_apart({"safe": safe, "unsafe": unsafe})
        held_out = read_split(plan.distances, profile)
        notes = list(explained_fit(profile))
        if held_out is None:
            notes.append(
                "Which pictures were held out is not known: no step calibrate has kept it for this "
                "profile."
            )
        fitted = Fitted(profile, held_out or frozenset())
        with err().status("writing the contact sheet"):
            write_sheet(plan.review, guard, fitted, safe, unsafe, notes)
        out().print(f"{plain(str(plan.review))}: the pictures nearest to the threshold")

    def _ask(self) -> None:
        plan, config = self.plan, self.plan.written()
        if config.runner is None:
            out().print("the preset has no model that answers; --model names one")
            return
        require_profile(config)
        check_target(plan.answers)
        drawn = questions.drawn(self._of("safe"), self._of("unsafe"), plan.seed)
        without_loading_bars()
        with err().status("loading the models"):
            chain = GuardAlign.from_config(config)

        def shown(items: Iterable[questions.Drawn]) -> Iterable[questions.Drawn]:
            return tracked(items, "questions", len(drawn))

        answers = questions.ask(chain, drawn, shown)
        questions.save(plan.answers, answers)
        table = Table("picture", "question", "plain", "guarded", "guard", show_lines=True)
        for one in answers:
            table.add_row(
                plain(one.picture.rsplit("/", 1)[-1]),
                one.question,
                plain(_short(one.plain)),
                plain(_short(one.guarded)),
                one.decision,
            )
        out(soft_wrap=False).print(table)
        out().print(f"{plain(str(plan.answers))}: all answers in full")

    def _of(self, side: Side) -> list[Picture]:
        if side not in self._pictures:
            found: list[Picture] = []
            there = self.plan.out.exists()
            policy = (self.plan.written() if there else self.plan.start()).intake
            for name in getattr(self.plan, side):
                one = open_set(name, side, policy).some(self.plan.most, self.plan.seed)
                out().print(
                    f"{side}: {len(one.pictures)} of {plain(one.title)}; "
                    f"licence: {plain(one.licence)}"
                )
                found += one.pictures
            self._pictures[side] = found
        return self._pictures[side]

    def _loaded(self, config: GuardAlignConfig) -> Detector:
        if self._detector is None:
            unfitted = config.detection.model_copy(update={"profile": None})
            with err().status("loading the encoder"):
                self._detector = load_detector(config.model_copy(update={"detection": unfitted}))
        return self._detector

    def _measure(self, side: Side, config: GuardAlignConfig) -> list[Measured]:
        if side not in self._measured:
            pictures, detector = self._of(side), self._loaded(config)

            def shown(items: Sequence[Picture], name: str) -> Iterable[Picture]:
                return tracked(items, name, len(items))

            found, problems = measure_all(
                detector,
                config,
                pictures,
                side,
                self.plan.seed,
                shown,
                kept=self.plan.distances,
            )
            for problem in problems:
                print_error(problem)
            if problems:
                raise ImageRejected(
                    f"{len(problems)} of {len(pictures)} {side} pictures cannot be used.",
                    reason="unreadable",
                    remedy="Repair or remove them and run the command again; the others are done.",
                )
            self._measured[side] = found
        return self._measured[side]

    def _expected(self, config: GuardAlignConfig) -> tuple[Counts, Counts]:
        """What the pictures are used for, if no two are equal."""
        forms = configured_ways(config.detection)
        return self._counts(len(self._of("safe")), len(self._of("unsafe")), forms)

    def _found(self) -> tuple[Counts, Counts]:
        """What the pictures are used for, now that they are measured."""
        safe, unsafe = self._measured["safe"], self._measured["unsafe"]
        forms = {form for one in safe for encoder in one.distances for form in encoder}
        return self._counts(len(safe), len(unsafe), len(forms))

    def _counts(self, safe: int, unsafe: int, forms: int) -> tuple[Counts, Counts]:
        share = self.plan.held_out
        return Counts.of(safe, share, max(1, forms)), Counts.of(unsafe, share)

    def _say_counts(self, counts: tuple[Counts, Counts]) -> None:
        plan = self.plan
        for line in explained(*counts, plan.held_out, plan.max_false_alarm, plan.max_miss):
            out().print(plain(line))


def _table(downloads: Sequence[Download]) -> Table:
    # A name is folded and not cut: it is what the user looks up.
    repository = Column("repository", overflow="fold")
    table = Table("for", repository, "revision", "licence", "size", "to fetch")
    for one in downloads:
        model = one.model
        table.add_row(
            one.need.use,
            plain(model.name) + (" (gated)" if model.gated else ""),
            model.revision[:12],
            plain(model.licence or "not declared"),
            decimal(one.size),
            decimal(one.to_fetch),
        )
    return table


def _show_rates(profile: ThresholdProfile) -> None:
    fit = profile.fit
    for name, bound, counts in (
        ("safe pictures flagged", fit.max_false_alarm, fit.held_out_safe),
        ("unsafe pictures missed", fit.max_miss, fit.held_out_unsafe),
    ):
        promised = "" if bound is None else f", promised at most {bound:.3g}"
        if counts is not None and counts[1]:
            said = f"{counts[0]} of {counts[1]} held out: {rate(*counts)}{promised}"
        else:
            said = f"not measured{promised}"
        out().print(f"{name}: {plain(said)}")
    out().print(profile.guarantee)


def _size(picture: Picture, config: GuardAlignConfig) -> tuple[int, int] | None:
    """Width and height as the guard sees them; None for a picture that measuring will refuse."""
    try:
        image = load_as_scanned(picture.read(), config.intake, config.output)
    except ImageRejected:
        return None
    return image.width, image.height


def _short(text: str, length: int = 160) -> str:
    said = " ".join(text.split())
    return said if len(said) <= length else f"{said[:length]}…"
