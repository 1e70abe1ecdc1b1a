"""The sentences, the Markdown report and the table of a search."""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.bisect.commits import Commit
from bench.bisect.posterior import Suspects
from bench.bisect.search import ENOUGH, LEAST_PAIRS, Answer, Search
from bench.core import units
from bench.core.text import command, number_of
from bench.verdict.markdown import code, escape
from bench.verdict.text_table import Column, TextTable

MOST_SHOWN = 10  # commits in the table of the terminal and of the report
LEAST_SHARE = 0.005  # less probable commits are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A search that ended.

    good: the hash of GOOD.  case: its name.  pairs: of GOOD and BAD, and of the search.
    values: log(commit / GOOD) of the pairs by commit number.
    """

    good: str
    bad: str
    case: str
    phase: str
    commits: Sequence[Commit]
    answer: Answer
    search: Search
    values: Mapping[int, Sequence[float]]
    directory: str
    confirmation: str = ""  # the folder of the last confirmation

    @property
    def suspects(self) -> Suspects:
        return self.search.suspects()

    @property
    def headline(self) -> str:
        if self.answer is Answer.NO_EFFECT:
            return f"GOOD and BAD do not differ in {self.case}: there is nothing to bisect"
        if self.answer is Answer.UNDECIDED:
            return f"The commit that changed {self.case} is not known yet"
        return f"{self._named(self.suspects)} made {self.case} {self._by()}"

    @property
    def too_few(self) -> bool:
        """Return whether the search ended before two pairs of GOOD and BAD were measured."""
        return len(self.search.effect_values) < LEAST_PAIRS

    @property
    def is_ranked(self) -> bool:
        """Return whether the pairs say something about single commits."""
        return self.answer is not Answer.NO_EFFECT and not self.too_few

    @property
    def _go_on(self) -> str:
        return command("bench", "bisect", "--resume", self.directory)

    def sentences(self) -> list[str]:
        """Return what was found and how sure it is, one finding a sentence."""
        search = self.search
        pairs = number_of(len(search.effect_values), "pair")
        if self.too_few:
            ended = f"The budget ended after {pairs} of GOOD and BAD, which say nothing yet."
            return [f"{ended} To go on: {self._go_on}"]
        low, high = search.interval()
        times = f"{low:.3f} to {high:.3f} times the time of GOOD"
        found = [f"BAD takes {times} (99 % interval over {pairs}, phase {self.phase})."]
        if self.answer is Answer.NO_EFFECT:
            return found
        one = self.suspects
        share = f"{100 * one.share:.0f} %" if one.share < 0.995 else "more than 99 %"
        searched = number_of(search.pairs, "pair")
        found.append(
            f"{self._named(one)} has {share} of the probability after {searched} of the search."
        )
        if self.answer is Answer.FOUND and self.confirmation:
            found.append(
                "A comparison of this commit with the one before it confirms the change: "
                f"{self.confirmation}."
            )
        found += [
            f"{self._named(refuted)} was an earlier answer, but does not differ from the commit "
            "before it."
            for refuted in search.refuted
        ]
        if search.broken:
            count = number_of(len(search.broken), "commit")
            found.append(
                f"{count} could not be measured: "
                + "; ".join(
                    f"{self.commits[number - 1].short}: {why}"
                    for number, why in sorted(search.broken.items())
                )
            )
        if self.answer is Answer.UNDECIDED:
            found.append(self._undecided())
        return found

    def _undecided(self) -> str:
        """Return why there is no answer, and how to go on."""
        if why := self.search.unconfirmed:
            short = self.commits[self.suspects.last - 1].short
            return (
                f"The comparison of {short} with the commit before it decides nothing "
                f"({self.confirmation}): {why}. To compare again: {self._go_on}"
            )
        return (
            f"The search stops at {100 * ENOUGH:.0f} %. Several commits may share the change. "
            f"To go on: {self._go_on}"
        )

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return the most probable commits: hash, subject, probability, pairs, time of GOOD."""
        shares = self.search.shares()
        likely = sorted(range(1, len(shares) + 1), key=lambda one: -shares[one - 1])
        shown = [one for one in likely if shares[one - 1] >= LEAST_SHARE][:MOST_SHOWN]
        found = []
        for number in sorted(shown):
            commit, values = self.commits[number - 1], self.values.get(number, ())
            found.append(
                (
                    commit.short,
                    commit.subject,
                    f"{100 * shares[number - 1]:.1f} %",
                    str(len(values)),
                    f"{ratio(values):.3f}" if values else "–",
                )
            )
        return found

    def _named(self, one: Suspects) -> str:
        if one.first == one.last:
            return self.commits[one.first - 1].shown
        first, last = self.commits[one.first - 1], self.commits[one.last - 1]
        count = one.last - one.first + 1
        return f"One of {count} commits, {first.short} to {last.shown},"

    def _by(self) -> str:
        effect, _ = self.search.posterior.effect()
        times = math.exp(effect)
        return f"slower, {times:.2f}×" if self.search.posterior.slower else f"faster, {times:.2f}×"


def ratio(values: Sequence[float]) -> float:
    """Return commit / GOOD: the geometric mean of the pairs."""

    return math.exp(statistics.fmean(values))


COLUMNS = ("commit", "date", "subject", "probability", "pairs", "ratio", "not_measured")
HEAD = ("commit", "subject", "probability", "pairs", "time / GOOD")


def text_table(found: Found) -> TextTable:
    """Return the most probable commits as a table for a terminal."""
    right = HEAD[2:]
    made = TextTable(
        "The most probable commits",
        [Column(name, right=name in right, wraps=name == "subject") for name in HEAD],
    )
    for row in found.rows():
        made.add(*row)
    return made


def markdown(found: Found) -> str:
    """Return the content of report.md."""
    lines = [f"**{escape(found.headline)}**", ""]
    count = number_of(len(found.commits), "commit")
    ends = f"GOOD {code(found.good[:9])}, BAD {code(found.bad[:9])}"
    lines.append(f"{ends}, {count} on the first-parent line.")
    lines += ["", *(f"- {escape(one)}" for one in found.sentences()), ""]
    if found.is_ranked:
        lines += ["| " + " | ".join(HEAD) + " |", "|---|---|---:|---:|---:|"]
        lines += ["| " + " | ".join(map(escape, row)) + " |" for row in found.rows()]
    return "\n".join(lines).rstrip() + "\n"


def table(found: Found) -> str:
    """Return the content of bisect.csv: all commits, the oldest first."""
    shares = found.search.shares()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, commit in enumerate(found.commits, start=1):
        values = found.values.get(number, ())
        writer.writerow(
            (
                commit.sha,
                commit.date,
                commit.subject,
                f"{shares[number - 1]:.6f}",
                len(values),
                f"{ratio(values):.6f}" if values else "",
                found.search.broken.get(number, ""),
            )
        )
    return text.getvalue()


def progress(search: Search, commits: Sequence[Commit], pairs: int) -> str:
    """Return the line that follows a pair."""
    if search.last is None:
        number, why = list(search.broken.items())[-1]
        return f"{commits[number - 1].short} cannot be measured: {why}"
    number, value = search.last
    shown = f"{math.exp(value):.3f}×"
    line = f"pair {pairs}: {commits[number - 1].short} takes {shown} the time of GOOD"
    if search.pairs == 0:
        return line
    one = search.suspects()
    named = commits[one.last - 1].short if one.first == one.last else "one group"
    return f"{line}; {named} has {units.percent(one.share)}"
