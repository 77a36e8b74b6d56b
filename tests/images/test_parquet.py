import io
import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unlogit.errors import BrokenImage, UnlogitError
from unlogit.images import Loader, View, open_images


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 255 - value, 7)).save(stream, "PNG")
    return stream.getvalue()


def write(path, values, labels=None, *, names=None, image="image", label="label", struct=True, rows=3, **kinds):
    """A file in the Hugging Face layout; image i is filled with red values[i], or holds values[i] if bytes."""
    data = [png(v) if isinstance(v, int) else v for v in values]
    kind = kinds.get("kind", pa.binary())
    column = pa.array([{"bytes": d, "path": None} for d in data], pa.struct({"bytes": kind, "path": pa.string()}))
    columns = {image: column if struct else pa.array(data, kind)}
    if labels is not None:
        columns[label] = pa.array(labels, kinds.get("label_kind", pa.int64()))
    table = pa.table(columns)
    if names:
        info = {"info": {"features": {label: {"_type": "ClassLabel", "names": names}, image: {"_type": "Image"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, path, row_group_size=rows)
    return f"parquet:{path}"


def reds(source) -> list[int]:
    return [int(source.decode(i)[0, 0, 0]) for i in range(len(source))]


def test_several_files_in_the_order_of_their_names(tmp_path):
    write(tmp_path / "b.parquet", [40, 50], [1, 0], names=["cat", "dog"])
    write(tmp_path / "a.parquet", [0, 10, 20, 30], [0, 1, 1, 0], names=["cat", "dog"], rows=2)
    source = open_images(f"parquet:{tmp_path}/*.parquet")
    assert len(source) == 6 and reds(source) == [0, 10, 20, 30, 40, 50]
    assert source.labels.tolist() == [0, 1, 1, 0, 1, 0] and source.labels.dtype == torch.int64
    assert source.class_names == ("cat", "dog")
    assert source.decode(3).shape == (3, 5, 6)
    assert source.spec == f"parquet:{tmp_path}/*.parquet"


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("struct", [True, False])
def test_kinds_of_image_columns(tmp_path, struct, kind):
    source = open_images(write(tmp_path / "a.parquet", [3, 4, 5, 6], [0, 0, 1, 2], struct=struct, kind=kind))
    assert reds(source) == [3, 4, 5, 6]
    assert source.class_names == ("0", "1", "2")  # no names given: the numbers


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.uint8(), pa.int64()])
def test_kinds_of_label_columns(tmp_path, kind):
    source = open_images(write(tmp_path / "a.parquet", [3, 4, 5], [2, None, 0], label_kind=kind))
    assert source.labels.tolist() == [2, -1, 0]


def test_names_may_stand_in_some_files_alone(tmp_path):
    write(tmp_path / "a.parquet", [1], [0])
    write(tmp_path / "b.parquet", [2], [1], names=["cat", "dog"])
    source = open_images(f"parquet:{tmp_path}/*.parquet")
    assert source.class_names == ("cat", "dog") and source.labels.tolist() == [0, 1]


def test_columns_by_usual_and_by_given_names(tmp_path):
    spec = write(tmp_path / "a.parquet", [1, 2], [3, 4], image="img", label="fine_label", names=list("abcde"))
    source = open_images(spec)
    assert reds(source) == [1, 2] and source.labels.tolist() == [3, 4] and source.class_names == tuple("abcde")
    table = pq.read_table(tmp_path / "a.parquet").append_column("coarse", pa.array([1, 0]))
    pq.write_table(table, tmp_path / "b.parquet")
    coarse = open_images(f"parquet:{tmp_path}/b.parquet?label=coarse&image=img")
    assert coarse.labels.tolist() == [1, 0] and coarse.class_names == ("0", "1")


def test_images_without_labels(tmp_path):
    source = open_images(write(tmp_path / "a.parquet", [1, 2]))
    assert source.labels.tolist() == [-1, -1] and source.class_names == ()


def test_broken_and_missing_images_are_skipped_and_counted(tmp_path):
    source = open_images(write(tmp_path / "a.parquet", [1, b"junk", None, 4], [0, 1, 0, 1]))
    for index, reason in ((1, "row 1: cannot identify"), (2, "row 2: holds no bytes")):
        with pytest.raises(BrokenImage, match=reason):
            source.decode(index)
    loader = Loader(source, View(4), 4, seed=0, shuffle=False)
    assert loader.batch(0).indices.tolist() == [0, 3, 3, 3]
    assert set(loader.source.broken.reasons) == {1, 2}


def test_the_fingerprint_follows_the_content(tmp_path):
    prints = []
    for folder, values in (("a", [1, 2]), ("b", [1, 2]), ("c", [2, 1])):
        (tmp_path / folder).mkdir()
        prints.append(open_images(write(tmp_path / folder / "x.parquet", values, [0, 1])).fingerprint())
    assert prints[0] == prints[1] != prints[2]
    pq.write_table(pa.table({"image": [png(1)], "other": [png(2)]}), tmp_path / "two.parquet")
    two = [open_images(f"parquet:{tmp_path}/two.parquet{query}").fingerprint() for query in ("", "?image=other")]
    assert two[0] != two[1]


def test_no_file(tmp_path):
    with pytest.raises(UnlogitError, match=r"no file matches .*parquet:FOLDER"):
        open_images(f"parquet:{tmp_path}/*.parquet")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?image=imge", "unknown column of .* 'imge': must be one of image, label. Did you mean 'image'"),
        ("?label=target", "must be one of image, label"),
        ("?labels=label", "unknown option of .* 'labels': must be one of first, image, label, skip"),
        ("?image=label", "column 'label' is int64; expected binary or a struct with bytes"),
        ("?label=image", "column 'image' is struct.*; labels must be whole numbers or words"),
    ],
)
def test_wrong_columns(tmp_path, query, message):
    spec = write(tmp_path / "a.parquet", [1], [0])
    with pytest.raises(UnlogitError, match=message):
        open_images(spec + query)


def test_labels_that_count_nothing(tmp_path):
    with pytest.raises(UnlogitError, match="has a label 18446744073709551615; labels must count from 0"):
        open_images(write(tmp_path / "a.parquet", [1], [2**64 - 1], label_kind=pa.uint64()))
    with pytest.raises(UnlogitError, match="has a label 123456789; labels must count from 0"):
        open_images(write(tmp_path / "a.parquet", [1], [123456789]))
    assert open_images(write(tmp_path / "a.parquet", [1, 2], [-7, 0])).labels.tolist() == [-1, 0]


def test_a_question_mark_is_a_wildcard_or_begins_options(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.parquet", [1, 2], [0, 1], label="kind")
    assert len(open_images(f"parquet:{tmp_path}/?.parquet")) == 4
    source = open_images(f"parquet:{tmp_path}/?.parquet?label=kind")
    assert source.labels.tolist() == [0, 1, 0, 1]


def test_no_image_column(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "number": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UnlogitError, match=r"columns text, number is known.*\?image=COLUMN"):
        open_images(f"parquet:{tmp_path}/a.parquet")


def test_a_struct_without_bytes(tmp_path):
    pq.write_table(pa.table({"image": [{"path": "a.png"}]}), tmp_path / "a.parquet")
    with pytest.raises(UnlogitError, match="expected binary or a struct with bytes"):
        open_images(f"parquet:{tmp_path}/a.parquet")


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.99])
def test_a_truncated_file(tmp_path, share):
    write(tmp_path / "a.parquet", [1, 2, 3], [0, 1, 2])
    os.truncate(tmp_path / "a.parquet", int((tmp_path / "a.parquet").stat().st_size * share))
    with pytest.raises(UnlogitError, match=r"a\.parquet: not a readable parquet file"):
        open_images(f"parquet:{tmp_path}/a.parquet")


def test_no_rows(tmp_path):
    with pytest.raises(UnlogitError, match="1 files hold no rows"):
        open_images(write(tmp_path / "a.parquet", [], []))


def test_names_must_agree_and_suffice(tmp_path):
    write(tmp_path / "a.parquet", [1], [0], names=["cat", "dog"])
    write(tmp_path / "b.parquet", [1], [0], names=["dog", "cat"])
    with pytest.raises(UnlogitError, match="class names differ"):
        open_images(f"parquet:{tmp_path}/*.parquet")
    with pytest.raises(UnlogitError, match=r"has a label 5, but only 2 classes are named"):
        open_images(write(tmp_path / "c.parquet", [1], [5], names=["cat", "dog"]))


@given(st.binary(max_size=200))
def test_any_metadata_are_read_or_left(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("meta") / "a.parquet"
    table = pa.table({"image": [png(1)], "label": [0]}).replace_schema_metadata({"huggingface": junk})
    pq.write_table(table, path)
    assert open_images(f"parquet:{path}").class_names == ("0",)


def test_indices_beyond_the_first_row_group(tmp_path):
    values = list(np.random.default_rng(0).integers(0, 256, 40).tolist())
    source = open_images(write(tmp_path / "a.parquet", values, [0] * 40, rows=7))
    assert reds(source) == values


def test_a_slice_of_rows(tmp_path):
    write(tmp_path / "a.parquet", [0, 10, 20, 30], [0, 1, 1, 0], rows=2)
    write(tmp_path / "b.parquet", [40, 50], [1, 0])
    everything = open_images(f"parquet:{tmp_path}/*.parquet")
    first, rest = (open_images(f"parquet:{tmp_path}/*.parquet?{option}=3") for option in ("first", "skip"))
    assert reds(first) + reds(rest) == reds(everything)
    assert torch.cat([first.labels, rest.labels]).equal(everything.labels)
    middle = open_images(f"parquet:{tmp_path}/*.parquet?skip=1&first=4")
    assert reds(middle) == [10, 20, 30, 40]
    assert reds(open_images(f"parquet:{tmp_path}/*.parquet?first=100")) == reds(everything)
    assert len({source.fingerprint() for source in (everything, first, rest, middle)}) == 4


@pytest.mark.parametrize(
    ("option", "allowed"),
    [
        ("first=0", "first 0: must be at least 1"),
        ("skip=-1", "skip -1: must be at least 1"),
        ("first=two", "must be a whole number"),
        ("skip=1.5", "must be a whole number"),
    ],
)
def test_a_slice_takes_whole_numbers_of_rows(tmp_path, option, allowed):
    spec = write(tmp_path / "a.parquet", [1, 2])
    with pytest.raises(UnlogitError, match=f"{option}'.*: {allowed}"):
        open_images(f"{spec}?{option}")


def test_a_slice_of_no_rows_says_how_many_there_are(tmp_path):
    with pytest.raises(UnlogitError, match="hold 2 rows, none of them in the slice; lower skip"):
        open_images(f"{write(tmp_path / 'a.parquet', [1, 2])}?skip=2")
