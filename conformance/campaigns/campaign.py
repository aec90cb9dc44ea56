"""What `gradoracle campaign` does: shards on the workers of a Dask cluster, until there are enough.

A worker that is lost takes with it only what it was checking, which Dask gives to another.  A shard
that was with several workers as they ended, or that fails, is checked once more with no other
beside it: only if that ends in the same way is it to blame, and reported.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from multiprocessing import resource_tracker
from pathlib import Path
from time import monotonic
from typing import Any, Self

import dask
from distributed import CancelledError, Client, Future, KilledWorker, LocalCluster, wait
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gradoracle.conformance import DOMAIN, POLICIES
from gradoracle.conformance.backends.caller import one_line
from gradoracle.conformance.backends.interrupts import noted
from gradoracle.conformance.backends.registry import UnknownBackend, UnusableBackend
from gradoracle.conformance.campaigns.shards import (
    CampaignError,
    Shard,
    Tally,
    Work,
    judged,
    seed_of,
    surveyed,
)
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.schema import Malformed
from gradoracle.conformance.runs.certify import fresh_seed, operators_named
from gradoracle.conformance.runs.command import Order
from gradoracle.conformance.runs.fingerprint import suite
from gradoracle.conformance.runs.journal import Kept, entries_of, place, require_same
from gradoracle.conformance.runs.progress import Shown

FORMAT = "gradoracle campaign 2"
AHEAD = 2  # shards that a worker has, the one that it is checking among them
# Of a cluster of our own: how many workers may end with a shard before the next one's end raises
# doubts, and no profiles, which nobody reads.
OURS = {"distributed.scheduler.allowed-failures": 2, "distributed.worker.profile.enabled": False}
PATIENCE = 10  # seconds until a scheduler answers, and until it has a worker
TICK = 1.0  # seconds between two looks at who is there
SHOWN = 3  # of what was found broken last


@dataclass(frozen=True)
class Plan:
    """A certification that is repeated from seed to seed: how often, and where."""

    order: Order  # of every shard, but for the seed, which is the campaign's
    calls: int
    scheduler: str = ""  # the address of a Dask scheduler; none: processes of our own
    file: Path | None = None

    @property
    def journal(self) -> Path:
        """The file that shards are written to as they end."""
        return self.file or place(self.order.name).with_suffix(".campaign.jsonl")

    @property
    def work(self) -> str:
        """What a worker is told, as JSON."""
        order = self.order
        work = Work(
            order.name,
            None if order.operators is None else [*order.operators],
            None if order.dtypes is None else [*order.dtypes],
            order.examples,
            order.at_scale,
            asdict(order.confinement.limits),
            [*order.confinement.forbidden],
            os.environ.get(DOMAIN, ""),
            os.environ.get(POLICIES, ""),
        )
        return json.dumps(asdict(work))


def run(plan: Plan, console: Console, troubles: list[str] | None = None) -> Certificate:
    """Check shards until their calls are as many as asked for; return the certificate of all.

    Where the journal cannot be written any more the campaign goes on, and `troubles` says why.

    Raises:
        UnknownBackend, UnusableBackend, ValueError, JournalError, CannotWrite: before anything is
            checked.
        CampaignError: no worker can be had, one has another suite, or the cluster is gone.
    """
    operators_named(plan.order.operators)
    with ExitStack() as stack:
        client = stack.enter_context(_cluster(plan))
        ours, empty = _survey(client, plan.work)
        seed = _seed(plan, ours)
        tally = Tally(replace(empty, seed=seed), plan.calls)
        before = _before(plan, tally, console)
        header = {"format": FORMAT, **ours, "seed": seed}
        told = [] if troubles is None else troubles
        journal = stack.enter_context(closing(Kept(plan.journal, header, before, told)))
        progress = stack.enter_context(Progress(console, tally))
        crew = _Crew(client, plan.work, json.dumps(ours), tally)
        try:
            _judge(crew, tally, journal, progress)
        except CampaignError as error:
            kept = f"{plan.journal} has {tally.judged} shards: --resume goes on"
            raise CampaignError(f"{error}; {kept}") from error
    return tally.certificate()


def _judge(crew: _Crew, tally: Tally, journal: Kept, progress: Progress) -> None:
    """Have shards checked until no more count."""
    with noted() as heed:  # Dask has finalisers, in which Python would lose an interrupt
        while crew.begin():
            for number, told in crew.ended():
                if "lost" in told:
                    tally.lose(number, told["lost"])
                    progress.lost(number, told["lost"])
                else:
                    journal.write(told)
                    shard = Shard.from_entry(told)
                    progress.update(shard, tally.take(shard))
            progress.look(crew.workers)
            heed()


# -- what was checked before -----------------------------------------------------------------------


def _seed(plan: Plan, ours: dict[str, Any]) -> int:
    """Return the campaign's seed: the one asked for, that of the journal, or a fresh one."""
    seed = plan.order.seed
    if plan.order.resume:
        header, _ = entries_of(plan.journal, FORMAT, dict)
        return require_same(plan.journal, header, ours, seed)
    return fresh_seed() if seed is None else seed


def _before(plan: Plan, tally: Tally, console: Console) -> Iterator[dict[str, Any]]:
    """Take in the shards of the campaign that goes on, and return them for the journal.

    Raises:
        JournalError: the journal has something else than shards of this campaign.
    """
    if not plan.order.resume:
        return iter(())
    for shard in entries_of(plan.journal, FORMAT, partial(_shard, tally))[1]:
        tally.take(shard)
    console.print(
        f"{plan.order.name}: going on after {tally.judged} shards, seed {tally.seed}",
        soft_wrap=True,
    )
    return entries_of(plan.journal, FORMAT, dict)[1]


def _shard(tally: Tally, entry: dict[str, Any]) -> Shard:
    """Return a shard of the campaign.

    Raises:
        Malformed: it is none, is there twice, or is of another campaign.
    """
    shard = Shard.from_entry(entry)
    number = shard.number
    if tally.knows(number):
        raise Malformed(f"number: shard {number} is there twice")
    if shard.seed != seed_of(tally.seed, number):
        wanted = seed_of(tally.seed, number)
        raise Malformed(f"seed: must be {wanted} of shard {number}, got {shard.seed}")
    for at, one in enumerate(shard.outcomes):
        check = [one.formula, one.property_name]
        if check not in tally.expected:
            raise Malformed(f"outcomes[{at}]: {' '.join(check)!r} is no check of this campaign")
    return shard


# -- the cluster ----------------------------------------------------------------------------------


@contextmanager
def _cluster(plan: Plan) -> Iterator[Client]:
    """Yield a client of the scheduler that is named, or of a cluster of our own while it is open.

    Raises:
        CampaignError: nobody answers there, or has no worker.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack, dask.config.set(OURS):
        ours = not plan.scheduler
        client = _local(plan.order.jobs, stack) if ours else _connected(plan.scheduler)
        try:
            yield client
        finally:
            with _uninterrupted():
                client.close()
                stack.close()


def _local(jobs: int, stack: ExitStack) -> Client:
    try:
        # An interrupt is for us: workers, and those that come in their place, would tell of it.
        with _uninterrupted():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=jobs, threads_per_worker=1, processes=True, memory_limit=0,
                    dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
                )
            )  # fmt: skip
            return Client(cluster)
    except (OSError, RuntimeError, TimeoutError) as error:
        raise CampaignError(f"no workers can be started here: {one_line(error)}") from error


def _connected(address: str) -> Client:
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise CampaignError(f"no Dask scheduler answers at {address}: {one_line(error)}") from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        client.close()
        raise CampaignError(
            f"the scheduler at {address} has no worker: start some with  dask worker {address} "
            "--nthreads 1"
        ) from error
    return client


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put an interrupt off; threads and processes that are started meanwhile never get one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would take the block away when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _survey(client: Client, work: str) -> tuple[dict[str, Any], Certificate]:
    """Return what all shards have in common, and a certificate without outcomes.

    Raises:
        UnknownBackend, UnusableBackend: there is nothing to check; the message says why.
        CampaignError: the workers have another suite than this one, or none.
    """
    future = client.submit(surveyed, work, pure=False)
    try:
        told = json.loads(future.result())
    except KilledWorker as error:
        raise CampaignError("every worker ended while it loaded the backend") from error
    except (CancelledError, OSError) as error:
        raise CampaignError(f"the cluster is gone: {one_line(error)}") from error
    except Exception as error:
        raise CampaignError(_cannot_run(error)) from error
    if "unusable" in told:
        raise UnusableBackend(told["unusable"])
    if "unknown" in told:
        raise UnknownBackend(told["unknown"])
    ours = told["settled"]
    if ours["suite"] != suite():
        raise CampaignError(
            f"the workers have another gradoracle: their suite is {ours['suite'][:12]} "
            f"({ours['environment']['gradoracle']}), this one is {suite()[:12]}"
        )
    return ours, Certificate.from_json(told["certificate"])


def _cannot_run(error: BaseException) -> str:
    return (
        f"a worker cannot run this gradoracle, which it needs in the same version: "
        f"{one_line(error)}"
    )


class _Crew:
    """The shards that are with the workers of a cluster."""

    def __init__(self, client: Client, work: str, common: str, tally: Tally) -> None:
        """Have none checked yet."""
        self.client, self.tally = client, tally
        self.workers = len(client.nthreads())
        self._told = work, common
        self._name = f"gradoracle-{secrets.token_hex(8)}"  # others may use the same scheduler
        self._tasks = count()
        self._numbers = count()
        self._flying: dict[Future[Any], int] = {}
        self._doubted: list[int] = []
        self._alone: int | None = None  # the one that no other is beside

    def begin(self) -> bool:
        """Have as many shards checked as are needed and have room; return whether any is."""
        if self.tally.enough:
            return False
        if self._doubted:
            if not self._flying:
                self._alone = min(self._doubted)
                self._doubted.remove(self._alone)
                self._submit(self._alone)
        elif self._alone is None:
            while self._wants_more():
                self._submit(next(n for n in self._numbers if not self.tally.knows(n)))
        return True

    def _wants_more(self) -> bool:
        flying = len(self._flying)
        each = AHEAD if self.tally.judged else 1  # until it is known how many calls a shard has
        expected = self.tally.expects(flying)
        return flying < each * max(self.workers, 1) and expected < self.tally.asked

    def _submit(self, number: int) -> None:
        key = f"{self._name}-{next(self._tasks)}"
        seed = seed_of(self.tally.seed, number)
        future = self.client.submit(judged, *self._told, number, seed, key=key, pure=False)
        self._flying[future] = number

    def ended(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Wait a while and yield the shards that ended meanwhile: their numbers and what they say.

        Raises:
            CampaignError: a worker is another than the others, or the cluster is gone.
        """
        try:
            with suppress(TimeoutError):
                wait([*self._flying], timeout=TICK, return_when="FIRST_COMPLETED")
            self.workers = len(self.client.nthreads())
        except (CancelledError, OSError) as error:
            raise CampaignError(f"the cluster is gone: {one_line(error)}") from error
        done = [future for future in self._flying if future.done()]
        for future in sorted(done, key=self._flying.__getitem__):
            number = self._flying.pop(future)
            told = self._read(future, number)
            if told is not None:
                yield number, told

    def _read(self, future: Future[Any], number: int) -> dict[str, Any] | None:
        """Return what a shard that ended says; None where it is checked once more."""
        alone, self._alone = number == self._alone, None
        try:
            told: dict[str, Any] = json.loads(future.result())
        except KilledWorker as error:
            told = {"lost": f"{error.allowed_failures + 1} workers ended while they checked it"}
        except (CancelledError, OSError) as error:
            raise CampaignError(f"the cluster is gone: {one_line(error)}") from error
        except Exception as error:
            raise CampaignError(_cannot_run(error)) from error
        if "refused" in told:
            holders = self.client.who_has([future]).values()
            where = ", ".join(address for found in holders for address in found)
            raise CampaignError(f"the worker {where} checks something else: {told['refused']}")
        if "lost" in told and not alone:
            self._doubted.append(number)
            return None
        return told


# -- how it shows itself --------------------------------------------------------------------------


class Progress(Shown):
    """Shards, calls and what was found: a line that changes in a terminal, else one a shard."""

    def __init__(self, console: Console, tally: Tally) -> None:
        """Show on `console` what `tally` comes to."""
        self.console, self.tally = console, tally
        self.workers: int | None = None
        self.found: list[str] = [f"{f} breaks {p}: {why}" for (f, p), why in tally.broken.items()]
        self._before, self._start = tally.calls, monotonic()
        self._live = Live(
            console=console, get_renderable=self.table, refresh_per_second=2
        ) if console.is_terminal else None  # fmt: skip

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def update(self, shard: Shard, new: list[str]) -> None:
        """Tell of a shard that was checked, and of what is broken and was not known to be."""
        self.found += new
        if self._live is not None:
            return
        for text in new:
            self.console.print(text, style="red", soft_wrap=True)
        self.console.print(
            f"shard {shard.number}: {shard.calls} calls; {self.tally.calls} of {self.tally.asked}, "
            f"{self.rate:.0f} calls/s, {len(self.tally.broken)} mismatches",
            soft_wrap=True,
        )

    def lost(self, number: int, reason: str) -> None:
        """Tell of a shard that cannot be checked."""
        text = f"shard {number} cannot be checked: {reason}"
        self.found.append(text)
        if self._live is None:
            self.console.print(text, style="red", soft_wrap=True)

    def look(self, workers: int) -> None:
        """Tell how many workers there are; in a terminal always, else where all went or came."""
        if self._live is None and self.workers is not None and bool(workers) != bool(self.workers):
            told = f"{workers} workers are there again" if workers else "no worker is there"
            self.console.print(f"{told}: waiting" if not workers else told, soft_wrap=True)
        self.workers = workers

    @property
    def rate(self) -> float:
        """Calls a second, since this process began."""
        return (self.tally.calls - self._before) / max(monotonic() - self._start, 1e-9)

    def table(self) -> Any:
        """Return the state as a table, what was found last below it."""
        tally = self.tally
        table = Table(box=None, pad_edge=False)
        for title in ("shards", "calls", "of", "calls/s", "mismatches", "workers"):
            table.add_column(title, justify="right")
        table.add_row(
            str(tally.judged), str(tally.calls), str(tally.asked), f"{self.rate:.0f}",
            str(len(tally.broken) or ""), "" if self.workers is None else str(self.workers),
            style="red" if tally.broken else "",
        )  # fmt: skip
        lines = (
            Text(text, style="red", no_wrap=True, overflow="ellipsis")
            for text in self.found[-SHOWN:]
        )
        return Group(table, *lines)
