# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples to batches: fair, bounded, and deaf to strangers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import synthetic
import zmq
from robot_keypoints.core.messages.run_sockets import Hub, Link, SampleReceiver
from robot_keypoints.core.messages.samples import SampleContract, encode_sample
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.images import sensor_effects
from robot_keypoints.trainer.training import replay_store
from robot_keypoints.trainer.training.draws import Draws
from robot_keypoints.trainer.training.replay_store import RawBatch, ReplayStore
from robot_keypoints.trainer.training.run_state import Counters
from robot_keypoints.trainer.training.sample_stream import DropLog, SampleStream

MODEL = synthetic.settings().scene_model()
NOISE = SceneModel((*MODEL.variables, Variable("sensor/noise", Prior.symmetric(0.01, 0.02, 2))))
CONTRACT = SampleContract.of("run", synthetic.WIDTH, synthetic.HEIGHT, 3, MODEL)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub("127.0.0.1", 0)
    yield hub
    hub.close()


def stream_of(hub: Hub, capacity: int = 8, workers: int = 2) -> SampleStream:
    drops = DropLog()
    stream = SampleStream(SampleReceiver(hub.samples, CONTRACT, drops), drops, workers, capacity)
    stream.start()
    return stream


def until(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_workers_wait_while_nothing_is_taken_and_nothing_is_lost(hub: Hub) -> None:
    stream = stream_of(hub)
    link = Link(hub.endpoints, "run")
    rng = np.random.default_rng(0)
    end = time.monotonic() + 1.5
    sent = 0
    try:
        while time.monotonic() < end:
            if link.send(synthetic.sample(MODEL, rng, 0, sent), lambda: time.monotonic() > end):
                sent += 1
        # A sample of 12 kB: what waits is our queue, one in the receiver's hand, ZeroMQ's queues and TCP's buffers.
        assert stream.received <= 9
        assert sent < 2000
        got: list[int] = []
        while len(got) < sent and stream.wait(5.0):
            got += [s.sequence for s in stream.take(100)]
        assert got == list(range(sent))
    finally:
        stream.close()
        link.close()


def test_a_batch_takes_from_the_workers_in_turn(hub: Hub) -> None:
    stream = stream_of(hub, capacity=40)
    links = [Link(hub.endpoints, "run") for _ in range(2)]
    rng = np.random.default_rng(0)
    try:
        for worker, count in ((0, 25), (1, 10)):
            for i in range(count):
                links[worker].send(synthetic.sample(MODEL, rng, worker, i), lambda: False)
        until(lambda: stream.received == 35)
        assert Counter(s.worker for s in stream.take(12)) == {0: 6, 1: 6}
        assert Counter(s.worker for s in stream.take(100)) == {0: 19, 1: 4}
        assert stream.take(5) == []
    finally:
        stream.close()
        for link in links:
            link.close()


def test_hostile_messages_are_counted_and_dropped(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    stream = stream_of(hub)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.linger = 0
    socket.connect(hub.endpoints.url(hub.endpoints.samples))
    rng = np.random.default_rng(0)
    good = [bytes(f) for f in encode_sample(synthetic.sample(MODEL, rng), "run")]
    header = json.loads(good[0])
    hostile = [
        [b""],
        [b"\x80\x04\x95", good[1]],
        [b"[" * 100000, good[1]],
        [good[0], good[1][:-1]],
        [good[0], good[1], b"more"],
        [json.dumps(header | {"run": "another"}).encode(), good[1]],
        [json.dumps(header | {"worker": 7}).encode(), good[1]],
        [json.dumps(header | {"width": 10**9}).encode(), good[1]],
        [json.dumps(header | {"bins": {**header["bins"], "joint/lower": 99}}).encode(), good[1]],
    ]
    try:
        for frames in hostile:
            socket.send_multipart(frames)
        socket.send_multipart(good)
        until(lambda: stream.received == 1)
        assert stream.dropped == len(hostile)
        assert len(stream.take(9)) == 1
    finally:
        stream.close()
        context.destroy(linger=0)
    lines = capfd.readouterr().err.splitlines()
    assert 1 <= len(lines) < len(hostile) and "dropped" in lines[0]


class Waiting:
    """A stream with samples already in it."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(1)
        self.samples = [synthetic.sample(NOISE, rng, 0, i) for i in range(count)]

    def take(self, limit: int) -> list[object]:
        taken, self.samples = self.samples[:limit], self.samples[limit:]
        return taken  # type: ignore[return-value]

    def wait(self, timeout: float) -> bool:
        return bool(self.samples)


def store_of(**changes: float) -> ReplayStore:
    plain = {
        "batch": 8,
        "memory": 40 * synthetic.WIDTH * synthetic.HEIGHT * 4,
        "reuse": 3,
        "fresh_share": 0.5,
        "seed": 0,
    }
    return ReplayStore(synthetic.WIDTH, synthetic.HEIGHT, 3, NOISE, **(plain | changes))  # type: ignore[arg-type]


def batches(store: ReplayStore, stream: Waiting) -> list[RawBatch]:
    found = []
    while (batch := store.next_batch(stream, lambda: not stream.samples)) is not None:  # type: ignore[arg-type]
        found.append(batch)
    return found


def test_a_rendering_is_used_no_oftener_than_allowed_and_never_twice_in_a_batch() -> None:
    stream = Waiting(60)
    known = {s.keypoints.tobytes(): s for s in stream.samples}
    uses: Counter[bytes] = Counter()
    for batch in batches(store_of(), stream):
        keys = [k.tobytes() for k in batch.keypoints]
        assert len(set(keys)) == len(keys)
        for key, image in zip(keys, batch.images, strict=True):
            assert np.array_equal(image, known[key].image)  # image and label still belong together
        uses.update(keys)
    assert max(uses.values()) == 3
    assert sum(uses.values()) > 0.8 * 3 * 60


def test_a_rendering_has_its_own_effects_first_and_others_when_it_is_used_again() -> None:
    stream = Waiting(60)
    own = {s.keypoints.tobytes(): s.latents.values["sensor/noise"] for s in stream.samples}
    seen: dict[bytes, list[float]] = {}
    noise, blur = sensor_effects.NAMES.index("sensor/noise"), sensor_effects.NAMES.index("sensor/blur")
    for batch in batches(store_of(), stream):
        for keypoints, values in zip(batch.keypoints, batch.values, strict=True):
            seen.setdefault(keypoints.tobytes(), []).append(values[noise])
            assert values[blur] == 0  # no variable of this run
    again = [value for key, values in seen.items() for value in values[1:] if value != own[key]]
    assert all(values[0] == own[key] for key, values in seen.items())
    assert len(again) == sum(len(values) - 1 for values in seen.values()) > 50
    assert all(0.01 <= value <= 0.02 for value in again) and np.std(again) > 0.002


def test_reused_renderings_have_effects_of_the_latest_posterior_in_the_share_that_adapts() -> None:
    noise = sensor_effects.NAMES.index("sensor/noise")
    prior = NOISE["sensor/noise"].prior
    middle = (prior.low + prior.high) / 2
    lower = [1e6 if edge < middle - 1e-9 else 1e-6 for edge in prior.edges[:-1]]

    def low_ones(adaptive: float) -> float:
        """Share of the reused renderings with values in the lower half, once only these are likely."""
        stream, draws = Waiting(40), Draws(NOISE, adaptive)
        store = store_of(reuse=1000, fresh_share=1.0, draws=draws)  # type: ignore[arg-type]
        for _ in range(5):
            first = store.next_batch(stream, lambda: False)  # type: ignore[arg-type]
        draws.model = NOISE.with_concentrations({"sensor/noise": lower}, 1)
        store.note(first.numbers, np.zeros(8))  # type: ignore[union-attr]
        found = [store.next_batch(stream, lambda: False) for _ in range(40)]  # type: ignore[arg-type]
        return float(np.mean([batch.values[:, noise] < middle for batch in found if batch is not None]))

    plain = low_ones(0.0)
    assert abs(plain - prior.marginal[: prior.bins // 2].sum()) < 0.08
    assert low_ones(1.0) == 1.0 and abs(low_ones(0.5) - (1.0 + plain) / 2) < 0.08


def test_only_the_first_use_of_a_rendering_is_told_with_its_draw() -> None:
    stream, draws = Waiting(60), Draws(NOISE)
    bins = {s.keypoints.tobytes(): s.latents.bins["sensor/noise"] for s in stream.samples}
    column = [v.name for v in NOISE.variables].index("sensor/noise")
    told: Counter[bytes] = Counter()
    for batch in batches(store_of(draws=draws), stream):  # type: ignore[arg-type]
        first = draws.first_uses(batch.numbers)
        keys = [batch.keypoints[i].tobytes() for i in first.places]
        assert first.bins[:, column].tolist() == [bins[key] for key in keys] and not first.versions.any()
        told.update(keys)
    assert set(told.values()) == {1} and len(told) > 50


def test_fresh_samples_are_rationed_once_there_are_stored_ones() -> None:
    stream, store = Waiting(100), store_of()
    store.next_batch(stream, lambda: False)  # type: ignore[arg-type]
    assert len(stream.samples) == 92  # nothing stored yet: all eight were fresh
    store.next_batch(stream, lambda: False)  # type: ignore[arg-type]
    assert len(stream.samples) == 88


class Arriving:
    """A stream into which so many samples a second come, by a clock that only waits and :meth:`learn` move on."""

    def __init__(self, rate: float, capacity: int = 16) -> None:
        rng = np.random.default_rng(1)
        self.now = 0.0
        self.rendered = 0
        self._some = [synthetic.sample(NOISE, rng, 0, i) for i in range(7)]
        self._gap, self._capacity = 1 / rate, capacity
        self._waiting, self._next = 0, 1 / rate

    def monotonic(self) -> float:
        return self.now

    def learn(self, seconds: float) -> None:
        """Let time go by; a full queue stops those who render."""
        self.now += seconds
        while self._next <= self.now:
            if self._waiting < self._capacity:
                self._waiting += 1
                self.rendered += 1
            self._next += self._gap

    def take(self, limit: int) -> list[object]:
        count = min(limit, self._waiting)
        self._waiting -= count
        return [self._some[i % 7] for i in range(count)]

    def wait(self, timeout: float) -> bool:
        if not self._waiting:
            self.learn(max(0.0, min(timeout, self._next - self.now)) + 1e-9)
        return bool(self._waiting)


@pytest.mark.parametrize(
    ("rate", "reuse", "least_new", "most_new"),
    [(6.0, None, 0.055, 0.07), (25.0, None, 0.23, 0.27), (400.0, None, 0.499, 0.503), (6.0, 4, 0.24, 0.26)],
)
def test_what_arrives_decides_what_is_new_and_how_often_it_is_used(
    rate: float, reuse: int | None, least_new: float, most_new: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer of 100 images a second for two minutes of a clock that only the test moves on."""
    stream, draws, usual = Arriving(rate), Draws(NOISE), TrainingSettings()
    monkeypatch.setattr(replay_store, "time", stream)
    bound = usual.reuse if reuse is None else reuse
    store = store_of(
        batch=8, memory=900 * synthetic.WIDTH * synthetic.HEIGHT * 4, reuse=bound, fresh_share=usual.fresh_share,
        draws=draws,
    )  # type: ignore[arg-type]  # fmt: skip
    counters, uses = Counters(), Counter[int]()
    while stream.now < 120.0:
        batch = store.next_batch(stream, lambda: False)  # type: ignore[arg-type]
        assert batch is not None
        uses.update(batch.numbers.tolist())
        counters.note_uses(len(draws.first_uses(batch.numbers).places), len(batch))
        stream.learn(0.08)
    stalled = store.waited / stream.now
    assert max(uses.values()) <= bound
    assert len(uses) == counters.fresh <= stream.rendered and sum(uses.values()) == counters.renderings
    assert counters.fresh_fraction is not None and least_new < counters.fresh_fraction < most_new
    if reuse is None:
        assert stalled < 0.02
    else:
        assert stalled > 0.5  # so few uses leave a trainer waiting for renderings that come so slowly


def test_the_store_stays_within_its_memory() -> None:
    stream, store = Waiting(300), store_of(reuse=1000, fresh_share=1.0)
    assert store.capacity == 40
    while len(stream.samples) >= 8:
        store.next_batch(stream, lambda: False)  # type: ignore[arg-type]
    assert store.usable == 40


def test_waiting_is_counted_and_can_be_interrupted() -> None:
    store = store_of()

    class Slow(Waiting):
        def wait(self, timeout: float) -> bool:
            time.sleep(timeout)
            return False

    slow = Slow(3)
    assert store.next_batch(slow, lambda: True) is None  # type: ignore[arg-type]
    assert store.waited > 0
    assert store.usable == 3  # they are kept for later


def test_samples_of_high_loss_are_drawn_oftener_where_that_is_wanted() -> None:
    def hard_ones(share: float) -> float:
        """Share of the stored samples in batches whose loss is the high one, where a quarter of all have it."""
        stream, store = Waiting(40), store_of(reuse=1000, fresh_share=1.0, hard_share=share)
        for batch in [store.next_batch(stream, lambda: False) for _ in range(5)]:  # type: ignore[arg-type]
            assert batch is not None
            store.note(batch.numbers, np.where(batch.numbers % 4 == 0, 8.0, 0.5))
        found = [store.next_batch(stream, lambda: False) for _ in range(60)]  # type: ignore[arg-type]
        return float(np.mean([batch.numbers % 4 == 0 for batch in found if batch is not None]))

    assert abs(hard_ones(0.0) - 0.25) < 0.05
    assert hard_ones(0.5) > 0.45
    assert hard_ones(1.0) > hard_ones(0.5) + 0.1


def test_a_loss_is_not_noted_for_a_sample_that_is_gone() -> None:
    stream, store = Waiting(80), store_of(reuse=1, fresh_share=1.0, hard_share=1.0)
    first = store.next_batch(stream, lambda: False)  # type: ignore[arg-type]
    assert first is not None
    for _ in range(6):  # 40 places: the first eight have been given to others
        store.next_batch(stream, lambda: False)  # type: ignore[arg-type]
    store.note(first.numbers, np.full(8, 1e9))
    assert store._loss.max() == 0


def test_what_is_chosen_follows_from_the_seed_and_the_number_of_the_batch() -> None:
    def numbers(count: int, seed: int = 0) -> list[list[int]]:
        stream, store = Waiting(40), store_of(reuse=1000, seed=seed)
        found = [store.next_batch(stream, lambda: False) for _ in range(count)]  # type: ignore[arg-type]
        return [batch.numbers.tolist() for batch in found if batch is not None]

    assert numbers(12) == numbers(12) != numbers(12, seed=1)


def test_a_batch_is_split_in_shares_that_keep_together_what_belongs_together() -> None:
    stream = Waiting(8)
    batch = store_of().next_batch(stream, lambda: False)  # type: ignore[arg-type]
    assert batch is not None
    shares = batch.split(3)
    assert [len(s) for s in shares] == [3, 3, 2]
    assert np.array_equal(np.concatenate([s.keypoints for s in shares]), batch.keypoints)
    assert all(
        np.array_equal(batch.images[batch.numbers == n][0], i)
        for n, i in zip(shares[2].numbers, shares[2].images, strict=True)
    )
