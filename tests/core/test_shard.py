"""A shard's share of the replicates, and its text."""

import pytest

from bench.core.shard import Shard, ShardError, parse


def test_shards_share_all_replicates_and_no_two_have_the_same_number() -> None:
    for replicates in range(1, 12):
        for count in range(1, 12):
            shards = [Shard(index, count) for index in range(1, count + 1)]
            numbers = [
                one.first + step * one.count
                for one in shards
                for step in range(one.share(replicates))
            ]
            assert sorted(numbers) == list(range(replicates))


def test_a_shard_reads_as_it_is_written() -> None:
    assert parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "-1/4", "1/0", "1/4/2", " 1/4", "¹/4"])
def test_a_text_that_is_not_a_shard_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ShardError, match=r"expected i/n with i from 1 to n, for example 2/8"):
        parse(text)
