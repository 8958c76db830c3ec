"""Which recorded call answers a request: each recorded session's calls, every one used once, in their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.replay.difference import difference, nearest_of
from pytest_agentcap.replay.form import Form, Rules, form_of
from pytest_agentcap.replay.recording import RecordedSession, Recording


@dataclass(frozen=True, slots=True)
class Identity:
    """Say which session replays: its task and trial, its agent and corpus, and the model that it asks."""

    task_id: str
    trial: int
    agent: str
    corpus: str
    model: str


@dataclass(frozen=True, slots=True)
class Miss:
    """Tell of a request that is not in the recording: in one line, and by its difference from the nearest one."""

    summary: str
    difference: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hold a recorded session's calls with their forms, and the places of each form."""

    calls: tuple[CallRecord, ...]
    forms: tuple[Form, ...]
    places: dict[bytes, list[int]]

    @classmethod
    def of(cls, session: RecordedSession, rules: Rules) -> Candidate:
        """Read a session. Raises RecordingError."""
        calls = session.load()
        forms = [form_of(call.text("path") or "", call.text("query") or "", call.request, rules) for call in calls]
        places: dict[bytes, list[int]] = {}
        for at, form in enumerate(forms):
            places.setdefault(form.digest, []).append(at)
        return cls(tuple(calls), tuple(forms), places)


def candidates_for(identity: Identity, recording: Recording) -> list[RecordedSession]:
    """Return the recorded sessions that one may be a repetition of, the likeliest first.

    These are the sessions of its task and trial; where there are none, all of its task; where there are none, all. Of
    these, those of its agent, should there be any.
    """
    told = recording.sessions
    found = (
        [session for session in told if session.task == (identity.task_id, identity.trial)]
        or [session for session in told if session.key[2] == identity.task_id]
        or told
    )
    own = [session for session in found if session.agent == identity.agent]
    return sorted(own or found, key=lambda each: (each.model != identity.model, each.key[1] != identity.corpus))


class Matcher:
    """Find the recorded call for each request of one session.

    Every process comes to the same answers, because nothing counts but the recording and the session's own requests.
    As long as several recorded sessions may be meant, those stay that hold everything that was asked so far.
    """

    def __init__(self, candidates: Sequence[Candidate], rules: Rules) -> None:
        self._candidates = list(candidates)
        self._rules = rules
        self._asked: Counter[bytes] = Counter()

    def find(self, path: str, query: str, body: bytes) -> CallRecord | Miss:
        """Return the next recorded call that asks the same."""
        form = form_of(path, query, body, self._rules)
        before = self._asked[form.digest]
        able = [each for each in self._candidates if len(each.places.get(form.digest, ())) > before]
        if not able:
            return self._miss(form, before)
        self._candidates = able
        self._asked[form.digest] += 1
        return able[0].calls[able[0].places[form.digest][before]]

    @property
    def unasked(self) -> int:
        """Return how many calls of the recorded session were not asked for."""
        return len(self._candidates[0].calls) - self._asked.total() if self._candidates else 0

    def _miss(self, form: Form, before: int) -> Miss:
        calls = [(each, at) for each in self._candidates for at in range(len(each.calls))]
        if not calls:
            return Miss("the recording holds no session that this may be", ())
        if before:
            return Miss(f"the same request was recorded {before}× and was asked once more", ())
        unused = [(each, at) for each, at in calls if not self._used(each, at)] or calls
        forms = [each.forms[at] for each, at in unused]
        nearest = nearest_of(form, forms)
        assert nearest is not None
        each, at = unused[nearest]
        told = difference(forms[nearest], form)
        return Miss(f"the nearest recorded request is call {at + 1}, {each.calls[at].rid[:8]}", tuple(told))

    def _used(self, candidate: Candidate, at: int) -> bool:
        digest = candidate.forms[at].digest
        return candidate.places[digest].index(at) < self._asked[digest]
