"""A `bench.toml` for one subject, with comments: `bench init` writes it, `bench run` reads it."""

import json
from collections.abc import Sequence
from string import Template

# $$ is a dollar; each value is one of TOML's basic strings, which JSON's strings are as well.
_TEXT = Template(
    """\
# What `bench run` measures in this folder.  Flags of the command replace what stands here:
# `bench run --batch 32` measures that batch size alone.  `bench run --list` shows all cases.

[run]
replicates = 5      # fresh processes for each case; an interval needs several
precision = 0.10    # more replicates where an interval is wider than ± 10 %
budget_s = 320      # after so many seconds nothing is started; `--resume` goes on
accelerator_budget_s = 300   # so much more for each accelerator that is measured

# `bench run` measures the plain cases on a CPU as a plain process as well, without this suite's
# settings of the C library's allocator, unless a sweep names an allocator.

[[sweep]] # the network under two memory formats
subject = $subject
$input
mode = ["inference", "training"]
batch = $batch
memory_format = $memory_format

[[sweep]] # autocast
subject = $subject
$input
mode = ["inference", "training"]
batch = $last
amp = "bfloat16"
emulated = false    # not on a CPU without bfloat16 instructions, where it is slow

[[sweep]] # cuDNN searches the fastest algorithm for each shape
on = "accelerators"
subject = $subject
$input
mode = ["inference", "training"]
batch = $last
cudnn_benchmark = "on"

[[sweep]] # TF32 in matrix products as well; torch's default has it in convolutions
on = "accelerators"
subject = $subject
$input
mode = ["inference", "training"]
batch = $last
tf32 = "on"

# [[sweep]] # torch.compile; the first compilation of a training step takes half a minute or more
# subject = $subject
# $input
# mode = ["inference", "training"]
# batch = $last
# compile = "default"

# [[sweep]] # each layer, on the input that it gets inside the network
# subject = $subject
# $input
# layers = true
# mode = ["inference", "training"]
# batch = $last
"""
)


def text(subject: str, input_: str | None, batches: Sequence[int], *, images: bool) -> str:
    """Return the file for a subject as it is named on the command line.

    input_: a value of the axis `input`; None = the network's own `example_inputs`.
    images: whether an input is an image, so that channels_last makes sense.
    """
    formats = ["contiguous", "channels_last"] if images else ["contiguous"]
    return _TEXT.substitute(
        subject=json.dumps(subject, ensure_ascii=False),
        input=(
            f"input = {json.dumps(input_, ensure_ascii=False)}  # the shape without the batch"
            if input_
            else "# input: the network's own example_inputs"
        ),
        batch=json.dumps([str(one) for one in batches]).replace('"', ""),
        last=batches[-1],
        memory_format=json.dumps(formats),
    )
