"""What must not survive: one line of the timer broken at a time, and the tests that turn red."""

from dataclasses import dataclass

TIMER = ("tests/test_timing.py",)
PATH = ("tests/test_accelerator.py",)
STEP = ("tests/test_step.py",)
ROWS = ("tests/test_aggregate.py",)
RUNNER = ("tests/test_runner.py",)
STATE = ("tests/test_state.py",)
TRUTH = ("tests/test_truth.py",)


@dataclass(frozen=True, slots=True)
class Mutation:
    """`old` stands once in `file`; with `new` in its place a test of `tests` has to fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


TIMING = "bench/worker/timing.py"
MUTATIONS = (
    Mutation(
        "no wait before a span",
        TIMING,
        "            self.device.wait()\n            start = self.clock()",
        "            start = self.clock()",
        TIMER,
    ),
    Mutation(
        "no wait after a span",
        TIMING,
        "                self.step()\n            self.device.wait()\n",
        "                self.step()\n",
        TIMER,
    ),
    Mutation(
        "no wait before the time of events is read",
        TIMING,
        "            events.append(self.device.event())\n            self.device.wait()\n",
        "            events.append(self.device.event())\n",
        TIMER,
    ),
    Mutation(
        "start and end swapped",
        TIMING,
        "return _positive(end - start)",
        "return _positive(start - end)",
        TIMER,
    ),
    Mutation(
        "divided by one call too many",
        TIMING,
        "self.pipelined.append(watch.span_s(ready) / ready)",
        "self.pipelined.append(watch.span_s(ready) / (ready + 1))",
        TIMER,
    ),
    Mutation(
        "divided by the calls asked for, not those made",
        TIMING,
        "self.pipelined.append(watch.span_s(ready) / ready)",
        "self.pipelined.append(watch.span_s(ready) / self.calls)",
        TIMER,
    ),
    Mutation(
        "not divided at all",
        TIMING,
        "self.pipelined.append(watch.span_s(ready) / ready)",
        "self.pipelined.append(watch.span_s(ready))",
        TIMER,
    ),
    Mutation(
        "no warm-up, so that the first calls are samples",
        TIMING,
        "    steady = warm_up(step, device, budget, clock)\n",
        "    steady = Steady(settled=True, call_s=0.001, calls_made=0, timed_s=0.0)\n",
        TIMER,
    ),
    Mutation(
        "a cold first call sizes the samples",
        TIMING,
        "call_s=min(blocks_s)",
        "call_s=max(blocks_s)",
        TIMER,
    ),
    Mutation(
        "warmed up by a fixed count",
        TIMING,
        "settled = full and spent_s >= budget.warmup_s and agree(blocks_s, window)",
        "settled = full",
        TIMER,
    ),
    Mutation(
        "samples too short for the clock",
        TIMING,
        "max(budget.sample_s, RESOLUTIONS_PER_SAMPLE * resolution_s)",
        "resolution_s",
        TIMER,
    ),
    Mutation(
        "calls per sample chosen anew in each replicate",
        TIMING,
        "    if calls is None:\n",
        "    if True:\n",
        TIMER,
    ),
    Mutation(
        "garbage collected inside samples",
        TIMING,
        "    gc.disable()\n",
        "",
        TIMER,
    ),
    Mutation(
        "latency of several calls",
        TIMING,
        "return [self.span_s(1)]",
        "return [self.span_s(3)]",
        TIMER,
    ),
    Mutation(
        "controls counted as samples",
        TIMING,
        "                    now = clock()\n",
        "                    self.between and self.between()\n                    now = clock()\n",
        TIMER,
    ),
    Mutation(
        "the meter runs on while the controls do",
        TIMING,
        "            if self.meter is not None:\n                self.meter.stop()\n",
        "            pass\n",
        TIMER,
    ),
    Mutation(
        "milliseconds of events taken for seconds",
        "bench/worker/device.py",
        "elapsed_time(later._event)) / 1e3",
        "elapsed_time(later._event))",
        PATH,
    ),
    Mutation(
        "the current device is waited for, not the case's own",
        "bench/worker/device.py",
        "self._accelerator.synchronize(self._index)",
        "self._accelerator.synchronize()",
        PATH,
    ),
    Mutation(
        "events recorded on the current device",
        "bench/worker/device.py",
        "event.record(self._accelerator.current_stream(self._index))",
        "event.record()",
        PATH,
    ),
    Mutation(
        "the peak is one since the start",
        "bench/worker/facts.py",
        "    device.reset_peak()\n",
        "",
        PATH,
    ),
    Mutation(
        "the peak is read before the work is done",
        "bench/worker/facts.py",
        "    step()\n    device.wait()\n    peak, reserved",
        "    step()\n    peak, reserved",
        PATH,
    ),
    Mutation(
        "the control's work is not waited for",
        "bench/worker/controls.py",
        "                work()\n                self._device.wait()\n                self.times",
        "                work()\n                self.times",
        PATH,
    ),
    Mutation(
        "zero_grad left out",
        "bench/worker/step.py",
        "            self._optimizer.zero_grad(set_to_none=True)\n",
        "",
        STEP,
    ),
    Mutation(
        "gradients of inputs accumulate",
        "bench/worker/step.py",
        "        self._inputs.drop_gradients()\n",
        "",
        STEP,
    ),
    Mutation(
        "an input that is written to is not restored",
        "bench/worker/step.py",
        "        return tree.twin(kept.detach())\n",
        "        return kept.detach()\n",
        STEP,
    ),
    Mutation(
        "inference with gradients",
        "bench/worker/step.py",
        "with torch.inference_mode(), self._autocast():",
        "with self._autocast():",
        STEP,
    ),
    Mutation(
        "autocast around the backward",
        "bench/worker/step.py",
        "            loss = None if self._seeded else self._loss(self.output)\n",
        "            loss = None if self._seeded else self._loss(self.output)\n"
        "            self._backward(loss)\n",
        STEP,
    ),
    Mutation(
        "a learning rate that moves the weights",
        "bench/worker/step.py",
        "torch.optim.SGD(trained, lr=0.0)",
        "torch.optim.SGD(trained, lr=0.1)",
        STEP,
    ),
    Mutation(
        "a replicate dropped from the rows",
        "bench/read/aggregate.py",
        "for number in sorted(seen.outcomes)]",
        "for number in sorted(seen.outcomes)[1:]]",
        ROWS,
    ),
    Mutation(
        "pooled samples in place of the replicates' medians",
        "bench/read/aggregate.py",
        "    low, high = log_interval(latency_medians) or (None, None)\n",
        "    low, high = log_interval(latency) or (None, None)\n",
        ROWS,
    ),
    Mutation(
        "throughput from single calls",
        "bench/read/aggregate.py",
        '    pipelined_s = figures["pipelined_s"]\n',
        '    pipelined_s = figures["latency_median_s"]\n',
        ROWS,
    ),
    Mutation(
        "percentiles from too few samples",
        "bench/read/samples.py",
        "if len(samples) < MIN_SAMPLES[p]:",
        "if len(samples) < 2:",
        ("tests/test_samples.py",),
    ),
    Mutation(
        "an unsteady case passes for a steady one",
        "bench/read/aggregate.py",
        "    found = {flag for flag, count in counts.items() if 3 * count >= len(ok)}\n",
        "    found = set[str]()\n",
        ROWS,
    ),
    Mutation(
        "a replicate dropped by the runner",
        "bench/runner.py",
        "for replicate in range(self.run.most_replicates):",
        "for replicate in range(1, self.run.most_replicates):",
        RUNNER,
    ),
    Mutation(
        "calls per sample not frozen",
        "bench/runner.py",
        "                        return one.calls_per_sample\n",
        "                        return None\n",
        RUNNER,
    ),
    Mutation(
        "cases in the same order in every replicate",
        "bench/plan.py",
        "shuffle(",
        "sample(",
        ("tests/test_plan.py",),
    ),
    Mutation(
        "state not held against what was asked for",
        "bench/worker/state.py",
        "    return found + _arithmetic_problems(case, state)\n",
        "    return []\n",
        STATE,
    ),
    Mutation(
        "a wrong result passes",
        "bench/worker/truth.py",
        "        elif difference > bound:\n",
        "        elif difference > 1e300:\n",
        TRUTH,
    ),
    Mutation(
        "page faults of all blocks divided by nothing",
        "bench/worker/telemetry.py",
        "sum(one or 0 for one in faults) / calls",
        "sum(one or 0 for one in faults)",
        ("tests/test_telemetry.py",),
    ),
)
