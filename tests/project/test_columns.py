from bench.core.records import COLUMNS
from bench.results.csv_files import SAMPLE_COLUMNS
from tests.support.paths import ROOT
from tools import columns

PAGE = ROOT / "results" / "README.md"

CONTRACT = """
run_id, case_id, subject, mode, phase, batch, input, device, dtype, amp, memory_format, compile,
cudnn_benchmark, tf32, threads, allocator, grad_mode, status, flags, reason, replicates, nodes,
samples, latency_median_s, latency_low_s, latency_high_s, latency_error_ratio,
latency_between_ratio,
latency_corrected_ratio, latency_min_s, latency_mean_s, latency_p90_s, latency_p95_s, latency_p99_s,
pipelined_s, pipelined_low_s, pipelined_high_s, pipelined_error_ratio, pipelined_between_ratio,
pipelined_corrected_ratio, earlier_runs, device_s, host_issue_s, images_per_s, process_start_s,
first_call_s, tuning_s, compile_cold_s, compile_warm_s, parameters, largest_batch, peak_bytes,
reserved_bytes, process_peak_bytes, flops, flop_per_s, bytes_moved, bytes_per_s, operators,
relative_error, graph_breaks, recompiles, layout_flips, page_faults, instructions,
cycles, contention_ratio, control_s, control_factor,
sm_clock_hz, power_w, temperature_c, gpu_utilization_ratio, energy_j_per_image,
device_name, torch_version, machine_id
"""


def test_the_columns_and_their_order_are_the_contract() -> None:
    assert list(COLUMNS) == CONTRACT.replace("\n", " ").strip().replace(" ", "").split(",")


def test_the_page_about_the_columns_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == columns.text()


def test_the_page_has_a_line_for_every_column_of_the_samples() -> None:
    for name in SAMPLE_COLUMNS:
        assert f"| {name} |" in columns.SAMPLES
