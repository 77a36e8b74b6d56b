"""What a study found, with its intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlmodel import col, select

from unlogit.errors import UnlogitError
from unlogit.statistics import ALPHA, Difference, Estimate, correct_family, enclosing, wilson
from unlogit.web.study import NAMING, SIMULATED
from unlogit.web.study.design import ComparisonTrial, NamingTrial, Trial
from unlogit.web.study.tables import Database, Participant, Study, Vote

try:
    from scipy.stats import binomtest  # type: ignore[import-untyped]
except ImportError as missing:
    raise UnlogitError(f"the study needs {missing.name}: pip install 'unlogit[study]'") from missing

MISSES = 0.25
"""A person who fails more than this share of the attention checks they answered is left out of the results."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Judgement:
    """One answer.

    Attributes:
        subject: pseudonym, such as P0001, or the name of an automated observer.
        automated: whether a metric answered.
        order: place in the subject's own order, from 0.
        trial: what was shown.
        chosen: "left" or "right", or the chosen name.
        milliseconds, shows, received: as in `Vote`.
        simulated: whether `unlogit study simulate` answered.
    """

    subject: str
    automated: bool
    order: int
    trial: Trial
    chosen: str
    milliseconds: int
    shows: int
    received: str
    simulated: bool = False

    @property
    def maker(self) -> str:
        """The maker of the chosen image of a comparison, or of the only image of a naming trial."""
        if isinstance(self.trial, NamingTrial):
            return self.trial.maker
        assert isinstance(self.trial, ComparisonTrial)
        return self.trial.left if self.chosen == "left" else self.trial.right

    @property
    def correct(self) -> bool | None:
        """Whether the right choice was made; None where the question has none."""
        return None if self.trial.correct is None else self.chosen == self.trial.correct


@dataclass(frozen=True)
class Preference:
    """How often the first of a pair was chosen over the second.

    Attributes:
        share: with Wilson's interval over judgements, as if they were independent.
        subjects: the same share with the percentile bootstrap interval over subjects (they are resampled whole);
            n is their number. None where there is one subject only.
        p: of the two-sided exact binomial test against one half, over judgements.
        p_holm: the same, corrected for its family in the study (`correct_preferences`).
        agreement: of two subjects on one image, how often they choose alike; None where no image has two answers.
        alpha: Krippendorff's for nominal data, which is Fleiss' kappa for large samples and also holds where
            images have unequal numbers of answers; 0 is chance, 1 is full agreement.
    """

    first: str
    second: str
    share: Estimate
    subjects: Estimate | None
    p: float
    p_holm: float
    agreement: float | None
    alpha: float | None

    @property
    def verdict(self) -> str:
        """Verdict on the hypothesis that both are chosen equally often, by the corrected p."""
        return "differs significantly" if self.p_holm < ALPHA else "not significant"


@dataclass(frozen=True)
class Item:
    """One image's answers for one pair.

    Attributes:
        chosen: how often the first of the pair, of `n`.
    """

    place: int
    first: str
    second: str
    chosen: int
    n: int


@dataclass(frozen=True)
class Accuracy:
    """How often the class was named of images of one maker: under one condition.

    Attributes:
        maker: `ORIGINAL` or an inverter's name.
        share: with Wilson's interval over judgements, as if they were independent.
        subjects: the same share with the percentile bootstrap interval over participants, who are resampled whole; n is
            their number. None where there is one participant only.
    """

    maker: str
    share: Estimate
    subjects: Estimate | None


@dataclass(frozen=True)
class NamedItem:
    """Names given to one image under one condition.

    Attributes:
        label: name of the original's class.
        named: how often it was chosen, of `n`.
        most_chosen: the name that was chosen most often, the first in the alphabet among equals.
    """

    place: int
    maker: str
    label: str
    named: int
    n: int
    most_chosen: str


@dataclass(frozen=True)
class Observation:
    """Answers of one kind of observer: people, or one metric.

    Attributes:
        observer: "people", "simulated" or the metric's name.
        automated: whether it is a metric.
        subjects: that count.
        finished: of those, how many answered everything.
        excluded: pseudonyms that failed too many attention checks.
        checks: share of attention checks that were passed, the excluded included; None where there were none.
        seconds: median time to a choice; None of a metric.
        left: share of choices of the left side, in a comparison.
        preferences: of pairs that have an answer.
        items: likewise.
        accuracies: of conditions that have an answer, in a naming study.
        named: likewise.
    """

    observer: str
    automated: bool
    subjects: int
    finished: int
    excluded: tuple[str, ...]
    checks: Estimate | None
    seconds: float | None
    left: Estimate | None
    preferences: tuple[Preference, ...]
    items: tuple[Item, ...]
    accuracies: tuple[Accuracy, ...] = ()
    named: tuple[NamedItem, ...] = ()

    def accuracy(self, maker: str) -> Accuracy | None:
        return next((a for a in self.accuracies if a.maker == maker), None)

    def preference(self, pair: tuple[str, str]) -> Preference | None:
        return next((p for p in self.preferences if (p.first, p.second) == pair), None)


@dataclass(frozen=True)
class Results:
    """A study's answers and what they amount to; people first, then metrics by name."""

    study: Study
    judgements: tuple[Judgement, ...]
    observations: tuple[Observation, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(first, second) for first, second in self.study.pairs]

    @property
    def chance(self) -> float:
        """Accuracy of guessing in a naming study."""
        return 1 / len(self.study.choices[0])

    @staticmethod
    def read(database: Database, study: Study, simulated: bool = False) -> Results:
        """Read all answers that are in the database now; with `simulated`, analyse those of simulated participants too.

        Simulated participants are never mixed with people: they are an observer of their own.
        """
        judgements = tuple(read_judgements(database, study))
        by = defaultdict(list)
        for judgement in judgements:
            by[judgement.subject if judgement.automated else SIMULATED * judgement.simulated].append(judgement)
        people = [_observe("people", by.pop("", []), study, automated=False)]
        if (answers := by.pop(SIMULATED, [])) and simulated:
            people.append(_observe(SIMULATED, answers, study, automated=False))
        metrics = [_observe(name, by[name], study, automated=True) for name in sorted(by)]
        return Results(study, judgements, correct_preferences((*people, *metrics)))

    @property
    def simulated(self) -> int:
        """Number of simulated participants, whether they are analysed or not."""
        return len({one.subject for one in self.judgements if one.simulated})


def read_judgements(database: Database, study: Study) -> list[Judgement]:
    """All answers, in the order of subjects and of what they were shown; people first."""
    asked = (
        select(Vote, Participant)
        .join(Participant, col(Participant.id) == col(Vote.participant))
        .where(Participant.study == study.id)
        .order_by(col(Participant.observer), col(Participant.number), col(Vote.trial))
    )
    kind = NamingTrial if study.trial == NAMING else ComparisonTrial
    with database.reading() as session:
        return [
            Judgement(
                subject=subject(who),
                automated=who.observer not in ("", SIMULATED),
                simulated=who.observer == SIMULATED,
                order=vote.trial,
                trial=kind.recorded(vote),
                chosen=vote.chosen,
                milliseconds=vote.milliseconds,
                shows=vote.shows,
                received=vote.received.isoformat(timespec="milliseconds"),
            )
            for vote, who in session.exec(asked)
        ]


def subject(who: Participant) -> str:
    """Return what stands for a participant in every export, such as P0001, S0001 for a simulated one, or a metric."""
    if who.observer not in ("", SIMULATED):
        return who.observer
    return f"{'S' if who.observer else 'P'}{who.number + 1:04}"


def _observe(name: str, judgements: Sequence[Judgement], study: Study, *, automated: bool) -> Observation:
    checks = defaultdict(list)
    answered: dict[str, int] = defaultdict(int)
    for one in judgements:
        answered[one.subject] += 1
        if one.trial.check:
            checks[one.subject].append(bool(one.correct))
    excluded = tuple(s for s, passed in checks.items() if passed.count(False) > MISSES * len(passed))
    passed = [each for of_subject in checks.values() for each in of_subject]
    counted = [one for one in judgements if not one.trial.check and one.subject not in excluded]
    subjects = {one.subject for one in counted}
    full = study.pictures * len(study.pairs) if automated else study.trials + study.checks
    preferences, items = [], []
    for first, second in study.pairs:
        asked = [one for one in counted if _makers(one.trial) == {first, second}]
        if asked:
            preferences.append(prefer(first, second, asked))
            items += _items(first, second, asked)
    by_condition = {maker: [one for one in counted if one.maker == maker] for maker in study.conditions}
    return Observation(
        observer=name,
        automated=automated,
        subjects=len(subjects),
        finished=sum(answered[subject] == full for subject in subjects),
        excluded=excluded,
        checks=wilson(sum(passed), len(passed)) if passed else None,
        seconds=float(np.median([one.milliseconds for one in counted])) / 1000 if counted and not automated else None,
        left=wilson(sum(one.chosen == "left" for one in counted), len(counted)) if counted and study.pairs else None,
        preferences=tuple(preferences),
        items=tuple(items),
        accuracies=tuple(measure_accuracy(maker, asked) for maker, asked in by_condition.items() if asked),
        named=tuple(
            sorted(
                (item for maker, asked in by_condition.items() for item in _named(maker, asked)),
                key=lambda item: item.place,
            )
        ),
    )


def correct_preferences(observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Correct the p-values of all preferences of one study for multiple tests (Holm).

    The answers of people to all pairs are one family, those of simulated participants another, and those of all metrics
    together a third: adding a metric leaves the result for people as it is.
    """
    families: dict[object, dict[tuple[str, str, str], Difference]] = defaultdict(dict)
    for seen in observations:
        family = families[seen.automated or seen.observer]
        for one in seen.preferences:
            family[seen.observer, one.first, one.second] = Difference(one.share, one.p)
    corrected = {key: test.p for family in families.values() for key, test in correct_family(family).items()}

    def correct(seen: Observation) -> Observation:
        preferences = [replace(one, p_holm=corrected[seen.observer, one.first, one.second]) for one in seen.preferences]
        return replace(seen, preferences=tuple(preferences))

    return tuple(correct(seen) for seen in observations)


def measure_accuracy(maker: str, judgements: Sequence[Judgement]) -> Accuracy:
    """Return how often the class was named, from judgements of images of one maker, at least one."""
    by_subject = defaultdict(list)
    for one in judgements:
        by_subject[one.subject].append(bool(one.correct))
    tallies = [(sum(right), len(right)) for right in by_subject.values()]
    share = wilson(sum(right for right, _ in tallies), len(judgements))
    return Accuracy(maker, share, over_subjects(tallies))


def prefer(first: str, second: str, judgements: Sequence[Judgement]) -> Preference:
    """Return the preference between two makers from judgements of that pair alone, at least one.

    `p_holm` is p itself until `correct_preferences` corrects it for the other tests of its family.
    """
    chose = [one.maker == first for one in judgements]
    by_subject, by_place = defaultdict(list), defaultdict(list)
    for one, won in zip(judgements, chose, strict=True):
        by_subject[one.subject].append(won)
        by_place[one.trial.place].append(won)
    tallies = [(sum(won), len(won)) for won in by_place.values()]
    p = float(binomtest(sum(chose), len(chose)).pvalue)
    return Preference(
        first,
        second,
        share=wilson(sum(chose), len(chose)),
        subjects=over_subjects([(sum(won), len(won)) for won in by_subject.values()]),
        p=p,
        p_holm=p,
        agreement=observed_agreement(tallies),
        alpha=krippendorff(tallies),
    )


def over_subjects(tallies: Sequence[tuple[int, int]], seed: int = 0, level: float = 0.95) -> Estimate | None:
    """Share of successes, with the percentile bootstrap interval over subjects, of (successes, n) a subject.

    None with fewer than two subjects.
    """
    if len(tallies) < 2:
        return None
    won, n = np.array(tallies, dtype=np.int64).T
    drawn = np.random.default_rng(seed).integers(len(tallies), size=(RESAMPLES, len(tallies)))
    shares = won[drawn].sum(1) / n[drawn].sum(1)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return enclosing(float(won.sum() / n.sum()), low, high, len(tallies))


def observed_agreement(tallies: Iterable[tuple[int, int]]) -> float | None:
    """How often two answers to one item are alike, of (successes, n) an item, each item weighing as its answers do.

    None where no item has two answers.
    """
    paired = [(k, n) for k, n in tallies if n > 1]
    if not paired:
        return None
    alike = sum((k * (k - 1) + (n - k) * (n - k - 1)) / (n - 1) for k, n in paired)
    return alike / sum(n for _, n in paired)


def krippendorff(tallies: Iterable[tuple[int, int]]) -> float | None:
    """Krippendorff's alpha of two nominal values, of (successes, n) an item (Krippendorff 2011, section C).

    None where no item has two answers, or all answers are one value, of which chance would give as much.
    """
    paired = [(k, n) for k, n in tallies if n > 1]
    observed = observed_agreement(paired)
    ones, total = sum(k for k, _ in paired), sum(n for _, n in paired)
    if observed is None or ones in (0, total):
        return None
    expected = 2 * ones * (total - ones) / (total * (total - 1))
    return 1 - (1 - observed) / expected


def _items(first: str, second: str, judgements: Sequence[Judgement]) -> list[Item]:
    won = defaultdict(list)
    for one in judgements:
        won[one.trial.place].append(one.maker == first)
    return [Item(place, first, second, sum(won[place]), len(won[place])) for place in sorted(won)]


def _named(maker: str, judgements: Sequence[Judgement]) -> list[NamedItem]:
    by_trial = defaultdict(list)
    for one in judgements:
        by_trial[one.trial.place, one.trial.correct or ""].append(one.chosen)
    return [
        NamedItem(place, maker, label, names.count(label), len(names), max(sorted(set(names)), key=names.count))
        for (place, label), names in sorted(by_trial.items())
    ]


def _makers(trial: Trial) -> set[str]:
    assert isinstance(trial, ComparisonTrial)
    return {trial.left, trial.right}
