"""Parquet files of the shapes that the hub has for the data sets of texts, with a row or two of made-up text each.

python datasets/tests/hub/make_parquet.py    (pyarrow 26; writes datasets/tests/hub/parquet/*.parquet)
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent / "parquet"


def write(name, rows, schema=None):
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, HERE / f"{name}.parquet", compression="snappy")


HERE.mkdir(exist_ok=True)
write(
    "e2e",
    [
        {"meaning_representation": "name[The Oak], eatType[pub]", "human_reference": "The Oak isn't a café, it's a pub."},
        {"meaning_representation": "name[The Oak], eatType[pub]", "human_reference": "A pub: The Oak."},
    ],
)
write(
    "samsum",
    [
        {"id": "1", "dialogue": "Ann: Hi\r\nBo: Hello", "summary": "Ann and Bo greet."},
        {"id": "2", "dialogue": None, "summary": "Nothing."},
    ],
)
text = pa.string()
lists = pa.list_(text)
triples = pa.list_(lists)
write(
    "webnlg",
    [
        {
            "category": "Airport",
            "size": 2,
            "modified_triple_sets": {"mtriple_set": [["A_B | leaderName | C", "C | age | 7"]]},
            "lex": {"comment": ["good", "toFix", "good"], "lid": ["Id1", "Id2", "Id3"], "text": ["C leads.", "No.", "C."]},
            "test_category": "",
        }
    ],
    pa.schema(
        {
            "category": text,
            "size": pa.int32(),
            "modified_triple_sets": pa.struct({"mtriple_set": triples}),
            "lex": pa.struct({"comment": lists, "lid": lists, "text": lists}),
            "test_category": text,
        }
    ),
)
write(
    "dart",
    [
        {
            "tripleset": [["A & B", "JOINED", "1973"]],
            "subtree_was_extended": False,
            "annotations": {"source": ["x", "x"], "text": ["A & B joined.", "It joined."]},
        }
    ],
    pa.schema(
        {
            "tripleset": triples,
            "subtree_was_extended": pa.bool_(),
            "annotations": pa.struct({"source": lists, "text": lists}),
        }
    ),
)
write(
    "wikisql",
    [
        {
            "phase": 1,
            "question": "Who was first?",
            "table": {
                "header": ["Pick #", "Name"],
                "page_title": "Draft",
                "page_id": "",
                "types": ["real", "text"],
                "id": "1-1",
                "section_title": "",
                "caption": "",
                "rows": [["1", "Ann"], ["2.5", "Bo"]],
                "name": "table_1_1",
            },
            "sql": {
                "human_readable": "SELECT Name FROM table WHERE Pick # = 1",
                "sel": 1,
                "agg": 0,
                "conds": {"column_index": [0], "operator_index": [0], "condition": ["1"]},
            },
        }
    ],
    pa.schema(
        {
            "phase": pa.int32(),
            "question": text,
            "table": pa.struct(
                {
                    "header": lists,
                    "page_title": text,
                    "page_id": text,
                    "types": lists,
                    "id": text,
                    "section_title": text,
                    "caption": text,
                    "rows": triples,
                    "name": text,
                }
            ),
            "sql": pa.struct(
                {
                    "human_readable": text,
                    "sel": pa.int32(),
                    "agg": pa.int32(),
                    "conds": pa.struct(
                        {"column_index": pa.list_(pa.int32()), "operator_index": pa.list_(pa.int32()), "condition": lists}
                    ),
                }
            ),
        }
    ),
)
