import json
import time

import pytest

from reasoning_lab.rewards.sandbox.values import UnreadableError, read_value


def test_values_are_read_with_their_types() -> None:
    line = b'["dict",["str","61"],["list",["int","-ff"],["float","0x1.8p+0"],["constant","None"]]]'
    assert read_value(line) == {"a": [-255, 1.5, None]}


def test_what_was_raised_is_told() -> None:
    with pytest.raises(UnreadableError) as caught:
        read_value(b'["error","ValueError"]')
    assert caught.value.told == "ValueError"


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b" ", b"ready", b"\xff", b"null", b"true", b"1", b"NaN", b'"text"', b"{}", b"[]"),
        *(b'["eval","1"]', b'["__import__","os"]', b'[["int"],"1"]', b"[{}]", b"[[]]"),
        *(b'["int"]', b'["int",1]', b'["int","1","16"]', b'["int","g"]', b'["int",null]'),
        *(b'["constant","none"]', b'["constant",["int","1"]]', b'["bool","x"]'),
        *(b'["float","x"]', b'["float","0x1p+99999"]', b'["complex","1"]', b'["str","zz"]'),
        *(b'["str","ff"]', b'["str",["str","61"]]', b'["list","x"]', b'["list",1]'),
        *(b'["dict",["int","1"]]', b'["dict",["list"],["int","1"]]', b'["set",["list"]]'),
        *(b'["set",["dict"]]', b'["error"]', b'["error",1,2]', b'["error",["int","1"]]'),
        b'["list",["int","1"]]garbage',
        b'["list",' * 100 + b'["int","1"]' + b"]" * 100,
        b"[" * 100_000,
        b'["int",' + b"9" * 100_000 + b"]",
        json.dumps(["set", *(["int", f"{i * (2**61 - 1):x}"] for i in range(9000))]).encode(),
    ],
    ids=lambda line: repr(line[:30]),
)
def test_anything_else_is_no_value_and_costs_little(line: bytes) -> None:
    started = time.process_time()
    with pytest.raises(UnreadableError):
        read_value(line)
    assert time.process_time() - started < 1


def test_keys_that_collide_cost_little() -> None:
    clash = ["set", *(["int", f"{i * (2**61 - 1):x}"] for i in range(1900))]
    line = json.dumps(["list", *[clash] * 8]).encode()
    started = time.process_time()
    assert len(read_value(line)) == 8
    assert time.process_time() - started < 3
