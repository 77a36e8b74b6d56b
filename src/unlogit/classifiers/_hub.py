"""The Hugging Face Hub, asked once before a library asks it for most of a minute."""

from __future__ import annotations

from collections.abc import Sequence

import huggingface_hub as hub

SECONDS = 10
NO_CODE = {"trust_remote_code": False}
"""To every call of transformers: left out, it asks on the terminal whether to run the code of a repository."""


def reach(repo: str, files: Sequence[str]) -> None:
    """Raise at once where none of the files is in the cache and the hub cannot be reached or lacks the repository.

    Args:
        repo: owner/name, also with a revision after @.
        files: any one of them is enough.
    """
    name, _, revision = repo.strip("/").partition("@")
    if not any(isinstance(hub.try_to_load_from_cache(name, file, revision=revision or None), str) for file in files):
        hub.HfApi().model_info(name, revision=revision or None, timeout=SECONDS)
