"""`hf:OWNER/NAME`: a dataset of the Hugging Face Hub, or a local folder of one; needs the extra `hf`.

`hf:uoft-cs/cifar100?split=test&label=fine_label` downloads once, and then reads any image at will. A local folder is
one that `datasets` can load, or has written with `save_to_disk`. Options: `split` (train unless given; also a slice,
`train[:1000]`), `config`, `revision`, `column` and `label` (found by their types and usual names unless given), and
`streaming=N`: the first N images alone, without downloading the rest; they are kept in memory, encoded. Where a data
set is sorted by class, those show few classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unlogit import registry, specs
from unlogit.errors import BrokenImage, UnlogitError, one_line, unknown
from unlogit.images._base import Hash, ImageSource, add_file
from unlogit.images._decoding import decode, decode_file
from unlogit.images._inventory import Inventory
from unlogit.images._labels import LABEL_COLUMNS, classes
from unlogit.outside import data
from unlogit.settings import Checked, Count


class HubImages(ImageSource):
    """Rows with an encoded image each.

    Args:
        rows: by index, a mapping whose `column` holds `bytes` or, where those are None, a `path`.
        values: a label each, see `classes`.
        identity: the dataset's own fingerprint.
    """

    def __init__(
        self, rows: Any, column: str, values: Sequence[object], names: Sequence[str], spec: str, identity: str
    ) -> None:
        self.spec = spec
        self._rows = rows
        self._column = column
        self._identity = identity
        if not len(rows):
            raise UnlogitError(f"{spec}: holds no images")
        self._labels, self.class_names = classes(values, spec, names)
        self.inventory = Inventory("rows", len(rows))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def labels(self) -> Tensor:
        return self._labels

    def decode(self, index: int) -> Tensor:
        name = f"{self.spec} row {index}"
        try:
            encoded = self._rows[index][self._column]
        except Exception as error:  # a damaged file of the dataset, of which datasets raises whatever Arrow does
            raise BrokenImage(f"{name}: {one_line(error)}") from error
        if encoded is None or (encoded["bytes"] is None and encoded["path"] is None):
            raise BrokenImage(f"{name}: holds no image")
        if encoded["bytes"] is not None:
            return decode(encoded["bytes"], name)
        return decode_file(Path(encoded["path"]))

    def _add_images(self, digest: Hash) -> None:
        digest.update(data(self._identity))
        if isinstance(self._rows, list):
            for row in self._rows:
                encoded = row[self._column] or {}
                digest.update(hashlib.sha256(encoded.get("bytes") or b"").digest())
                if encoded.get("bytes") is None and encoded.get("path") is not None:
                    add_file(digest, encoded["path"], encoded["path"])
            return
        for file in self._rows.cache_files:
            add_file(digest, "", file["filename"])
        # Images that stay in files of their own, as in a folder of them.
        column = self._rows.with_format("arrow")[:].column(self._column)
        for chunk in column.chunks:
            outside = chunk.field("path").filter(chunk.field("bytes").is_null())
            for path in outside.drop_null().to_pylist():
                add_file(digest, path, path)


@dataclass(frozen=True)
class Options(Checked):
    """Options of this source; see the module."""

    split: str = "train"
    config: str | None = None
    revision: str | None = None
    column: str | None = None
    label: str | None = None
    streaming: Count | None = None


def open_source(rest: str, spec: str) -> HubImages:
    name, options = specs.read(Options, rest, spec)
    datasets = registry.import_optional("datasets", "hf", spec)
    dataset = _load(datasets, name, options, spec)
    features = dataset.features
    if features is None:
        raise UnlogitError(f"{spec}: has no column types, so that it cannot be streamed; leave out streaming")
    identity = str(getattr(dataset, "_fingerprint", ""))
    column = _image_column(datasets, features, options.column, spec)
    label = _label_column(datasets, features, options.label, spec)
    names = getattr(features[label], "names", None) or () if label else ()
    columns = [column] if label is None else [column, label]
    dataset = dataset.select_columns(columns).cast_column(column, datasets.Image(decode=False))
    if options.streaming is not None:
        rows = list(dataset.take(options.streaming))
        values = [row[label] if label else None for row in rows]
        return HubImages(rows, column, values, names, spec, identity)
    values = [None] * len(dataset)
    if label is not None:
        values = dataset.select_columns([label]).with_format("arrow")[:].column(label).to_pylist()
    return HubImages(dataset.select_columns([column]), column, values, names, spec, identity)


def _load(datasets: Any, name: str, options: Options, spec: str) -> Any:
    """The split, random-access or streaming."""
    folder, split = Path(name).expanduser(), options.split
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = datasets.load_from_disk(folder)
            if split not in splits:
                raise unknown(f"split of '{spec}'", split, splits)
            return splits[split]
        if (folder / "state.json").is_file():
            return datasets.load_from_disk(folder)
        if not folder.is_dir():
            _reach(datasets, name, spec)
        arguments = {"name": options.config, "revision": options.revision, "split": split}
        return datasets.load_dataset(
            str(folder) if folder.is_dir() else name, **arguments, streaming=options.streaming is not None
        )
    except UnlogitError:
        raise
    # datasets has errors of every kind for what is missing, private, damaged, or of no known form.
    except Exception as error:
        raise UnlogitError(f"{spec}: cannot be opened ({one_line(error)})") from error


def _reach(datasets: Any, name: str, spec: str) -> None:
    """Fail at once where the hub is needed and cannot be reached; datasets itself would try for half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if (Path(datasets.config.HF_DATASETS_CACHE) / name.replace("/", "___")).is_dir():
        return
    try:
        HfApi().dataset_info(name, timeout=10)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise UnlogitError(
            f"{spec}: '{name}' is neither a local folder nor a dataset of the Hub that you can access; write it as "
            "hf:OWNER/NAME or hf:FOLDER"
        ) from error
    except Exception as error:  # no network, a proxy, a certificate: one remedy
        raise UnlogitError(
            f"{spec}: '{name}' is not a local folder, and the Hub cannot be reached ({type(error).__name__}); for a "
            "local copy, write hf:FOLDER or parquet:FOLDER/*.parquet"
        ) from error


def _image_column(datasets: Any, features: Any, requested: str | None, spec: str) -> str:
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if requested is None and len(columns) == 1:
        return columns[0]
    if requested is not None and requested in columns:
        return requested
    if requested is not None and requested not in features:
        raise unknown(f"column of '{spec}'", requested, columns or features)
    if not columns:
        raise UnlogitError(f"{spec}: none of its columns {', '.join(features)} holds images")
    raise UnlogitError(f"{spec}: its images are in {', '.join(columns)}; choose with column={columns[0]}")


def _label_column(datasets: Any, features: Any, requested: str | None, spec: str) -> str | None:
    if requested is not None:
        if requested not in features:
            raise unknown(f"column of '{spec}'", requested, features)
        return requested
    usual = next((name for name in LABEL_COLUMNS if name in features), None)
    if usual is not None:
        return usual
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(columns) > 1:
        raise UnlogitError(f"{spec}: its labels are in {', '.join(columns)}; choose with label={columns[0]}")
    return columns[0] if columns else None
