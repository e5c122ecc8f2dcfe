"""The reader of documents notices what it is there to notice."""

from __future__ import annotations

import pytest

from tests.docs import reading

OK = '{"op":"ok","id":1,"uid":"u1","token":"…","exp":5,"limits":{…}}'
ANSWER = {"op": "ok", "id": 1, "uid": "u27", "token": "x", "exp": 7, "limits": {"a": 1}}


def test_ids_tokens_and_times_may_be_others() -> None:
    assert reading.differences(reading.pattern(OK), ANSWER) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"op": "err"}, "frame.op: 'err' is not like 'ok'"),
        ({"id": 2}, "frame.id: 2 is not 1"),
        ({"id": "1"}, "frame.id: '1' is of another type than 1"),
        ({"uid": "s1"}, "frame.uid: 's1' is not like 'u1'"),
        ({"token": ""}, "frame.token: '' is not like '…'"),
        ({"exp": 0}, "frame.exp: 0 is no moment"),
        ({"limits": 3}, "frame.limits: 3 is of another type than {'…': 0}"),
        ({"more": 1}, "frame: more is too much"),
    ],
)
def test_a_frame_that_is_not_as_documented_is_told(
    change: dict[str, object], complaint: str
) -> None:
    assert reading.differences(reading.pattern(OK), ANSWER | change) == [complaint]


def test_a_missing_key_is_told_and_an_open_object_takes_more() -> None:
    assert reading.differences({"a": 1}, {}) == ["frame: a is missing"]
    assert reading.differences(reading.pattern('{"a":1,…}'), {"a": 1, "b": 2}) == []


DOCUMENT = """# One: `x`, two

See [there](docs/a.md#part), [site](https://a.example) and `gateway/wire`, `run.py`, `u1/u2`.

```sh
python run.py tree   # the `tree.py`
```

```
$ websocat ws://x
< {"op":"hello"}
> {"op":"hb"}
```
"""


def test_a_document_is_taken_apart() -> None:
    shell, conversation = reading.blocks(DOCUMENT)
    assert list(reading.commands(shell)) == [["python", "run.py", "tree"]]
    assert reading.transcript(conversation) == [
        reading.Line(False, '{"op":"hello"}'),
        reading.Line(True, '{"op":"hb"}'),
    ]
    assert reading.links(DOCUMENT) == ["docs/a.md#part"]
    assert reading.paths(DOCUMENT, frozenset({"gateway"})) == ["gateway/wire", "run.py"]
    assert reading.anchors(DOCUMENT) == {"one-x-two"}
