"""What must not survive: one line of the timer broken at a time, and the tests that turn red."""

from dataclasses import dataclass

TIMER = ("tests/worker/timing/test_measure.py",)
PATH = ("tests/whole/test_accelerator.py",)
# Of a file whose other tests take seconds, the one that has to fail.
PEAK = (f"{PATH[0]}::test_the_peak_is_that_of_the_call_and_not_of_what_ran_before",)
CONTROLS = (
    f"{PATH[0]}::test_controls_take_what_they_take_on_the_device_whatever_the_case_left_there",
)
TURNS = (f"{PATH[0]}::test_a_layers_inputs_take_turns_until_they_exceed_what_a_cache_holds",)
FLUSH = (f"{PATH[0]}::test_a_restored_input_is_driven_out_of_the_cache_before_the_call",)
STEP = ("tests/worker/model/test_step.py",)
ROWS = ("tests/results/test_aggregate.py",)
CORRECTED = ("tests/results/test_corrected.py",)
RUNNER = ("tests/engine/test_scheduler.py",)
STATE = ("tests/worker/checks/test_state.py",)
TRUTH = ("tests/worker/checks/test_numerics.py",)
ODD = ("tests/worker/checks/test_odd_outputs.py",)
READY = ("tests/worker/jobs/test_prepare.py",)
CHILD = ("tests/worker/test_case_process.py",)
COMPILED = ("tests/worker/model/test_compile.py",)
PLAN = ("tests/plan/test_expand.py",)
SESSION = ("tests/engine/test_fork_server.py",)


@dataclass(frozen=True, slots=True)
class Mutation:
    """`old` stands once in `file`; with `new` in its place one of `tests` has to fail.

    tests: files, or single tests of them.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


TIMING = "bench/worker/timing/measure.py"
STOPWATCH = "bench/worker/timing/stopwatch.py"
SAMPLER = "bench/worker/timing/sampler.py"
MUTATIONS = (
    Mutation(
        "no wait before a span",
        STOPWATCH,
        "            self.device.wait()\n            start = self.clock()",
        "            start = self.clock()",
        TIMER,
    ),
    Mutation(
        "no wait after a span",
        STOPWATCH,
        "else self.clock()\n            self.device.wait()\n",
        "else self.clock()\n",
        TIMER,
    ),
    Mutation(
        "the host's issuing is read after the wait",
        STOPWATCH,
        "        self.issued_s = issued - start\n",
        "        self.issued_s = end - start\n",
        TIMER,
    ),
    Mutation(
        "no wait before the time of events is read",
        STOPWATCH,
        "            events.append(self.device.event())\n            self.device.wait()\n",
        "            events.append(self.device.event())\n",
        TIMER,
    ),
    Mutation(
        "start and end swapped",
        STOPWATCH,
        "return _positive(end - start)",
        "return _positive(start - end)",
        TIMER,
    ),
    Mutation(
        "divided by one call too many",
        SAMPLER,
        "self.pipelined.append(watch.span_s(ready) / ready)",
        "self.pipelined.append(watch.span_s(ready) / (ready + 1))",
        TIMER,
    ),
    Mutation(
        "divided by the calls asked for, not those made",
        SAMPLER,
        "self.pipelined.append(watch.span_s(ready) / ready)",
        "self.pipelined.append(watch.span_s(ready) / self.calls)",
        TIMER,
    ),
    Mutation(
        "not divided at all",
        SAMPLER,
        "self.pipelined.append(watch.span_s(ready) / ready)",
        "self.pipelined.append(watch.span_s(ready))",
        TIMER,
    ),
    Mutation(
        "no warm-up, so that slow first calls are samples",
        TIMING,
        "    steady = warm_up(step, device, budget, clock)\n",
        "    call_s = first_call(step, device, clock)\n"
        "    steady = Steady(settled=True, call_s=call_s, calls_made=1, timed_s=call_s)\n",
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
        "settled = full and spent_s >= budget.warmup_s and settling.settled(blocks_s, window)",
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
        STOPWATCH,
        "    gc.disable()\n",
        "",
        TIMER,
    ),
    Mutation(
        "latency of several calls",
        STOPWATCH,
        "        self.step.prepare(1)\n        if not marked:\n"
        "            return [self.span_s(1)]\n",
        "        self.step.prepare(3)\n        if not marked:\n"
        "            return [self.span_s(3)]\n",
        TIMER,
    ),
    Mutation(
        "controls counted as samples",
        SAMPLER,
        "                    now = clock()\n",
        "                    self.between and self.between()\n                    now = clock()\n",
        TIMER,
    ),
    Mutation(
        "the meter runs on while the controls do",
        SAMPLER,
        "            if self.meter is not None:\n                self.meter.stop()\n",
        "            pass\n",
        TIMER,
    ),
    Mutation(
        "milliseconds of events taken for seconds",
        "bench/worker/device/device.py",
        "elapsed_time(later._event)) / 1e3",
        "elapsed_time(later._event))",
        PATH,
    ),
    Mutation(
        "the current device is waited for, not the case's own",
        "bench/worker/device/device.py",
        "self._accelerator.synchronize(self._index)",
        "self._accelerator.synchronize()",
        PATH,
    ),
    Mutation(
        "events recorded on the current device",
        "bench/worker/device/device.py",
        "event.record(self._accelerator.current_stream(self._index))",
        "event.record()",
        PATH,
    ),
    Mutation(
        "the peak is one since the start",
        "bench/worker/jobs/static_metrics.py",
        "    device.reset_peak()\n",
        "",
        PEAK,
    ),
    Mutation(
        "the peak is read before the work is done",
        "bench/worker/jobs/static_metrics.py",
        "    step()\n    device.wait()\n    peak, reserved",
        "    step()\n    peak, reserved",
        PEAK,
    ),
    Mutation(
        "the control's work is not waited for",
        "bench/worker/device/reference_work.py",
        "                work()\n                self._device.wait()\n                self.times",
        "                work()\n                self.times",
        CONTROLS,
    ),
    Mutation(
        "zero_grad left out",
        "bench/worker/model/step.py",
        "            self._optimizer.zero_grad(set_to_none=True)\n",
        "",
        STEP,
    ),
    Mutation(
        "gradients of inputs accumulate",
        "bench/worker/model/step.py",
        "        self._inputs.drop_gradients()\n",
        "",
        STEP,
    ),
    Mutation(
        "an input that is written to is not restored",
        "bench/worker/model/step_inputs.py",
        "        return twins.twin(kept.detach())\n",
        "        return kept.detach()\n",
        STEP,
    ),
    Mutation(
        "inference with gradients",
        "bench/worker/model/step.py",
        "with self._grad_mode(), self._autocast():",
        "with self._autocast():",
        STEP,
    ),
    Mutation(
        "autocast around the backward",
        "bench/worker/model/step.py",
        "        if mark:\n            mark()\n        self._backward(loss)\n",
        "            if mark:\n                mark()\n            self._backward(loss)\n",
        STEP,
    ),
    Mutation(
        "a learning rate that moves the weights",
        "bench/worker/model/step.py",
        "torch.optim.SGD(trained, lr=0.0)",
        "torch.optim.SGD(trained, lr=0.1)",
        STEP,
    ),
    Mutation(
        "a replicate dropped from the rows",
        "bench/results/aggregate.py",
        "for number in sorted(seen.outcomes)]",
        "for number in sorted(seen.outcomes)[1:]]",
        ROWS,
    ),
    Mutation(
        "pooled samples in place of the replicates' medians",
        "bench/results/aggregate.py",
        'kinds = {"latency": latency_medians, ',
        'kinds = {"latency": latency, ',
        ROWS,
    ),
    Mutation(
        "throughput from single calls",
        "bench/results/aggregate.py",
        '    pipelined_s = figures["pipelined_s"]\n',
        '    pipelined_s = figures["latency_median_s"]\n',
        ROWS,
    ),
    Mutation(
        "percentiles from too few samples",
        "bench/stats/percentiles.py",
        "if len(samples) < MIN_SAMPLES[p]:",
        "if len(samples) < 2:",
        ("tests/stats/test_percentiles.py",),
    ),
    Mutation(
        "an unsteady case passes for a steady one",
        "bench/results/aggregate.py",
        "    found = {flag for flag, count in counts.items() if 3 * count >= len(ok)}\n",
        "    found = set[str]()\n",
        ROWS,
    ),
    Mutation(
        "a replicate dropped by the runner",
        "bench/engine/scheduler.py",
        "for replicate in range(self.run.most_replicates):",
        "for replicate in range(1, self.run.most_replicates):",
        RUNNER,
    ),
    Mutation(
        "calls per sample not frozen",
        "bench/engine/scheduler.py",
        "                        return one.calls_per_sample\n",
        "                        return None\n",
        RUNNER,
    ),
    Mutation(
        "state not held against what was asked for",
        "bench/worker/checks/state.py",
        "    return found + _arithmetic_problems(case, state)\n",
        "    return []\n",
        STATE,
    ),
    Mutation(
        "whole numbers are not compared",
        "bench/worker/checks/numerics.py",
        "            self._compare_choices(group, differ, differences.describe_labels)\n",
        "            pass\n",
        ODD,
    ),
    Mutation(
        "complex weights lose their imaginary part",
        "bench/worker/model/build.py",
        "torch_private.apply(module, lambda tensor: tensor.to(dtypes.like(tensor.dtype, real)))",
        "module.to(dtype=real)",
        ODD,
    ),
    Mutation(
        "a jump passes at any place",
        "bench/worker/checks/stability.py",
        " and float(own[stable].norm()) <= where\n",
        "\n",
        ("tests/worker/checks/test_stability.py",),
    ),
    Mutation(
        "a wrong result passes",
        "bench/worker/checks/numerics.py",
        "        elif difference > bound:\n",
        "        elif difference > 1e300:\n",
        TRUTH,
    ),
    Mutation(
        "page faults of all blocks divided by nothing",
        "bench/worker/timing/contention.py",
        "sum(one or 0 for one in faults) / calls",
        "sum(one or 0 for one in faults)",
        ("tests/worker/timing/test_contention.py",),
    ),
    Mutation(
        "untimed calls counted as sampled",
        TIMING,
        "calls_sampled=sampler.calls_sampled",
        "calls_sampled=watch.calls_made",
        TIMER,
    ),
    Mutation(
        "the first call after a control is a sample",
        SAMPLER,
        "                self.watch.span_s(1)  # untimed",
        "                self.latency.append([self.watch.span_s(1)])  # untimed",
        TIMER,
    ),
    Mutation(
        "controls once, and not in turn with the samples",
        SAMPLER,
        "budget.block_s\n",
        "1e9\n",
        TIMER,
    ),
    Mutation(
        "a step without its last phase",
        STOPWATCH,
        "_positive(readings[-1] - readings[0])",
        "_positive(readings[-2] - readings[0])",
        TIMER,
    ),
    Mutation(
        "a device whose work is not waited for is opened",
        "bench/worker/device/device.py",
        "        torch.accelerator.synchronize(index)\n    except",
        "    except",
        PATH,
    ),
    Mutation(
        "a layer's input stays in the cache",
        "bench/worker/model/step_inputs.py",
        "self._turn = (self._turn + 1) % len(self._turns)",
        "self._turn = 0",
        TURNS,
    ),
    Mutation(
        "a restored input is left in the cache",
        "bench/worker/model/step_inputs.py",
        "            self._flush.zero_()\n",
        "            pass\n",
        FLUSH,
    ),
    Mutation(
        "autocast entered once, outside",
        "bench/worker/model/step.py",
        "    return lambda: torch.autocast(device_type, dtype=dtype)\n",
        "    torch.autocast(device_type, dtype=dtype).__enter__()\n"
        "    return contextlib.nullcontext\n",
        STEP,
    ),
    Mutation(
        "inputs of zeros",
        "bench/worker/model/inputs.py",
        "torch.randn(shape, generator=generator, dtype=torch.float32)",
        "torch.zeros(shape, dtype=torch.float32)",
        ("tests/worker/model/test_inputs.py",),
    ),
    Mutation(
        "the first call is timed after others",
        "bench/worker/jobs/prepare.py",
        "    first_call_s = measure.first_call(step, ready.device)\n",
        "    step.prepare(1)\n    step()\n"
        "    first_call_s = measure.first_call(step, ready.device)\n",
        READY,
    ),
    Mutation(
        "GradScaler looks for its scale among the samples",
        "bench/worker/jobs/prepare.py",
        "    step.settle()\n",
        "",
        READY,
    ),
    Mutation(
        "skipped steps pass for optimizer time",
        "bench/worker/jobs/prepare.py",
        "    if step.skipped_steps > begun.skipped_steps:\n",
        "    if False:\n",
        READY,
    ),
    Mutation(
        "state not read back before the samples",
        "bench/worker/jobs/prepare.py",
        "    refuse(state.problems(case, seen, ready.asked))\n    if not compiles:\n",
        "    if not compiles:\n",
        READY,
    ),
    Mutation(
        "state not read back after the samples",
        "bench/worker/jobs/prepare.py",
        "    refuse(state.problems(case, after, ready.asked))\n",
        "",
        READY,
    ),
    Mutation(
        "state of compiled layers not read back",
        "bench/worker/jobs/prepare.py",
        "        seen |= _eager_state(ready)\n"
        "        refuse(state.problems(case, seen, ready.asked))\n",
        "        seen |= _eager_state(ready)\n",
        READY,
    ),
    Mutation(
        "an output of infinities passes",
        "bench/worker/jobs/prepare.py",
        "    refuse(finite.problems(step.output, begun.infinite))\n",
        "",
        READY,
    ),
    Mutation(
        "eager code passes for compiled code",
        "bench/worker/jobs/prepare.py",
        "    refuse([problem] if problem else [])\n",
        "",
        READY,
    ),
    Mutation(
        "recompiling is allowed",
        "bench/worker/jobs/prepare.py",
        'torch.compiler.set_stance("fail_on_recompile")',
        "contextlib.nullcontext()",
        READY,
    ),
    Mutation(
        "compiled code is sampled before it has settled",
        "bench/worker/jobs/prepare.py",
        "SETTLE_CALLS = 3",
        "SETTLE_CALLS = 0",
        READY,
    ),
    Mutation(
        "recompiling is allowed while samples are taken",
        "bench/worker/case_process.py",
        "    with prepare.no_recompiles(request.case):\n",
        "    with contextlib.nullcontext():\n",
        CHILD,
    ),
    Mutation(
        "the child says nothing of an unsteady case",
        "bench/worker/case_process.py",
        "    flags = [*doubts, *prepare.flags(seen)]\n",
        "    flags = list[str]()\n",
        CHILD,
    ),
    Mutation(
        "the child says nothing of a contended case",
        "bench/worker/case_process.py",
        "    if load.contended:\n",
        "    if False:\n",
        CHILD,
    ),
    Mutation(
        "page faults divided by the calls of the warm-up as well",
        "bench/worker/case_process.py",
        "load.columns(times.calls_sampled)",
        "load.columns(times.calls_made)",
        CHILD,
    ),
    Mutation(
        "the child chooses its own calls per sample",
        "bench/worker/case_process.py",
        "            calls=request.calls,\n",
        "",
        CHILD,
    ),
    Mutation(
        "no controls",
        "bench/worker/case_process.py",
        "            between=known,\n",
        "",
        CHILD,
    ),
    Mutation(
        "failed frames pass for compiled ones",
        "bench/worker/model/compile.py",
        "    if failed and eager is None:\n",
        "    if False:\n",
        COMPILED,
    ),
    Mutation(
        "the recompile limit passes for compiled code",
        "bench/worker/model/compile.py",
        "    if after.recompile_limit:\n",
        "    if False:\n",
        COMPILED,
    ),
    Mutation(
        "skipped CUDA graphs pass for recorded ones",
        "bench/worker/model/compile.py",
        "    if cuda_graphs and after.cudagraph_skips:\n",
        "    if False:\n",
        COMPILED,
    ),
    Mutation(
        "the allocator as the C library has it",
        "bench/host/allocator.py",
        "        found |= THRESHOLDS\n",
        "        pass\n",
        SESSION,
    ),
    Mutation(
        "a user's own allocator settings left in place",
        "bench/host/allocator.py",
        "for name, value in given.items() if name not in THRESHOLDS}",
        "for name, value in given.items()}",
        SESSION,
    ),
    Mutation(
        "one interpreter for both allocators",
        "bench/engine/workers.py",
        "server = self._open.get(allocator)",
        "server = next(iter(self._open.values()), None)",
        RUNNER,
    ),
    Mutation(
        "one interpreter for all replicates",
        "bench/engine/workers.py",
        "        for pool in pools:\n            pool.close()\n",
        "        pass\n",
        RUNNER,
    ),
    Mutation(
        "a disturbed measurement is kept",
        "bench/engine/policy.py",
        "best = min(best, other, key=self.disturbance)",
        "best = max(best, other, key=self.disturbance)",
        RUNNER,
    ),
    Mutation(
        "a side that something outside killed is not tried again",
        "bench/ab/workers.py",
        "lambda one: one[1].killed or one[2].killed\n",
        "lambda one: False\n",
        ("tests/ab/test_workers.py",),
    ),
    Mutation(
        "a case that grows is told to look for a quiet machine",
        "bench/insights/collect.py",
        'if not (flag == "unsteady" and "growing" in own)]',
        "]",
        ("tests/insights/test_collect.py",),
    ),
    Mutation(
        "more pairs advised than a look lets in",
        "bench/verdict/power.py",
        "    if not adds(MOST_PAIRS):\n",
        "    if False:\n",
        ("tests/ab/test_further.py",),
    ),
    Mutation(
        "more replicates for every case",
        "bench/engine/scheduler.py",
        "if self.seen.half_width(case) > self.run.precision]",
        "]",
        RUNNER,
    ),
    Mutation(
        "cases are not shuffled",
        "bench/plan/expand.py",
        '        random.Random(f"{seed}:{replicate}").shuffle(cases)\n',
        "",
        PLAN,
    ),
    Mutation(
        "the same order in every replicate",
        "bench/plan/expand.py",
        'random.Random(f"{seed}:{replicate}")',
        "random.Random(seed)",
        PLAN,
    ),
    Mutation(
        "the seed is ignored",
        "bench/plan/expand.py",
        'random.Random(f"{seed}:{replicate}")',
        "random.Random(replicate)",
        PLAN,
    ),
    Mutation(
        "an order that no seed decides",
        "bench/plan/expand.py",
        'random.Random(f"{seed}:{replicate}")',
        "random.Random()",
        PLAN,
    ),
    Mutation(
        "weights that no seed decides",
        "bench/worker/model/build.py",
        "    torch.manual_seed(seed)\n",
        "    torch.seed()\n",
        ("tests/worker/model/test_build.py",),
    ),
    Mutation(
        "the mean of a replicate's samples",
        "bench/results/aggregate.py",
        "return [statistics.median(times) for one",
        "return [statistics.fmean(times) for one",
        ROWS,
    ),
    Mutation(
        "the mean over the replicates",
        "bench/results/aggregate.py",
        "return centre(medians) if medians else None",
        "return statistics.fmean(medians) if medians else None",
        ROWS,
    ),
    Mutation(
        "latency from calls in a row",
        "bench/results/aggregate.py",
        'latency_medians = _medians(ok, phase, "latency")',
        'latency_medians = _medians(ok, phase, "pipelined")',
        ROWS,
    ),
    Mutation(
        "percentiles from calls in a row",
        "bench/results/aggregate.py",
        '_pooled(ok, phase, "latency"), ',
        '_pooled(ok, phase, "pipelined"), ',
        ROWS,
    ),
    Mutation(
        "latency passes for device time",
        "bench/results/aggregate.py",
        '_centre(_medians(ok, phase, "device"))',
        "_centre(latency_medians)",
        ROWS,
    ),
    Mutation(
        "an invalid replicate is outvoted",
        "bench/results/aggregate.py",
        "    if invalid:\n",
        "    if len(invalid) > len(ok):\n",
        ROWS,
    ),
    Mutation(
        "an unverified result passes for a verified one",
        "bench/results/aggregate.py",
        "    if seen.unverified:\n",
        "    if False:\n",
        ROWS,
    ),
    Mutation(
        "images a second for a batch of one",
        "bench/results/aggregate.py",
        '"images_per_s": batch / pipelined_s',
        '"images_per_s": 1 / pipelined_s',
        ROWS,
    ),
    Mutation(
        "a normal quantile in place of Student's",
        "bench/stats/intervals.py",
        "half = t_quantile(len(logs) - 1)",
        "half = 1.96",
        ("tests/stats/test_intervals.py",),
    ),
    Mutation(
        "an interval over samples that never narrows",
        "bench/stats/intervals.py",
        "statistics.stdev(logs) / math.sqrt(len(logs))",
        "statistics.stdev(logs)",
        ("tests/stats/test_intervals.py",),
    ),
    Mutation(
        "an interval without what runs differ by",
        "bench/stats/between_runs.py",
        "parts = [part, between.part, *more]",
        "parts = [part, *more]",
        ROWS,
    ),
    Mutation(
        "times that stand corrected taken for measured ones",
        "bench/verdict/check.py",
        "run, history = uncorrected(run), [uncorrected(one) for one in history]",
        "run, history = run, list(history)",
        CORRECTED,
    ),
    Mutation(
        "earlier runs that were corrected teach as if they were measured",
        "bench/results/history.py",
        "for row in uncorrected(run).rows:",
        "for row in run.rows:",
        CORRECTED,
    ),
    Mutation(
        "a correction that is taken for sure",
        "bench/results/corrected.py",
        "more=rule.uncertainty(control),",
        "more=(),",
        CORRECTED,
    ),
    Mutation(
        "one odd run that decides",
        "bench/stats/control_rule.py",
        " and self.worst <= CLEAR",
        "",
        ("tests/stats/test_control_rule.py",),
    ),
    Mutation(
        "runs that agree by chance",
        "bench/stats/control_rule.py",
        " and self.p <= SURE",
        "",
        ("tests/stats/test_control_rule.py",),
    ),
    Mutation(
        "what runs differ by left out between two runs",
        "bench/stats/ratios.py",
        "*([between] if between else [])",
        "",
        ("tests/verdict/test_check.py",),
    ),
    Mutation(
        "pairs of replicates torn apart",
        "bench/stats/ratios.py",
        "math.log(base[one]) - math.log(value[one]) for one in shared",
        "math.log(base[one]) - math.log(value[two])\n"
        "        for one, two in zip(shared, reversed(shared), strict=True)",
        ("tests/stats/test_ratios.py",),
    ),
)
