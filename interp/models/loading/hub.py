"""A hub id to a folder of the local cache, at a revision pinned as a commit; only safetensors, JSON
and tokenizer files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from interp.errors import InterpError, ResourceError, UsageError
from interp.models.loading.folder import (
    INDEX,
    SINGLE,
    SMALL,
    check_config,
    check_weight_names,
    read_json,
    shard_names,
)
from interp.models.loading.names import cache_folder, nearest_names, split_hub_id

_YES = {"1", "ON", "YES", "TRUE"}


def fetch(name: str, *, offline: bool, weights: bool = True) -> tuple[Path, str]:
    """Folder and commit (40 hex digits) of the hub model `name` (`org/name` or
    `org/name@revision`).

    The configuration is checked before weights are downloaded; without `weights`, none are.
    `offline`, or HF_HUB_OFFLINE, uses the cached copy and opens no connection. Raises
    `ResourceError` when access is gated, the network is down or nothing is cached, `UsageError` for
    a repository or revision that does not exist.
    """
    repository, revision = split_hub_id(name)
    with _without_bars():
        if offline or kept_offline():
            folder = _cached(name, repository, revision)
            return folder, folder.name
        try:
            return _download(name, repository, revision, weights=weights)
        except InterpError:
            raise
        except Exception as error:  # the hub client's network errors have no root of their own
            raise _refused(name, repository, error) from error


def kept_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids every connection to the Hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES


def _download(
    name: str, repository: str, revision: str | None, *, weights: bool
) -> tuple[Path, str]:
    """1. The commit and its file list. 2. The configuration, checked. 3. The files that are needed,
    and no others.
    """
    api = HfApi()
    info = api.model_info(repository, revision=revision)
    commit, files = (
        str(info.sha),
        {entry.rfilename for entry in info.siblings or () if "/" not in entry.rfilename},
    )
    if "config.json" in files:
        config = api.hf_hub_download(
            repository, "config.json", revision=commit, cache_dir=cache_folder()
        )
        check_config(read_json(Path(config), "a model has one"), name)
    check_weight_names(files, name)
    wanted = {file for file in files if file.endswith(SMALL)}
    if not weights:
        wanted.discard(INDEX)
    elif INDEX in files:
        index = Path(
            api.hf_hub_download(repository, INDEX, revision=commit, cache_dir=cache_folder())
        )
        wanted.update(shard_names(read_json(index, "it lists the weights"), index))
    else:
        wanted.add(SINGLE)
    # By the name that was asked for, so that the cache knows it when offline; the folder's name is
    # the commit it stood for. Without weights only by the commit: the name must not come to stand
    # for a folder that cannot be loaded.
    asked = revision if weights else commit
    folder = api.snapshot_download(
        repository, revision=asked, allow_patterns=sorted(wanted), cache_dir=cache_folder()
    )
    return Path(folder), Path(folder).name


def _cached(name: str, repository: str, revision: str | None) -> Path:
    """The cached folder, which never holds the whole repository: what it lacks is told when the
    folder is checked.
    """
    config = try_to_load_from_cache(
        repository, "config.json", cache_dir=cache_folder(), revision=revision
    )
    if not isinstance(config, str):
        raise ResourceError(
            f"{name} has no copy in the cache ({cache_folder()}), and the network is not to be "
            f"used (--offline or HF_HUB_OFFLINE). Known here: {', '.join(nearest_names(name))}. "
            "Load it once while online."
        )
    return Path(config).parent


def _refused(name: str, repository: str, error: Exception) -> InterpError:
    page = f"https://huggingface.co/{repository}"
    if isinstance(error, GatedRepoError):
        return ResourceError(
            f"{name} is gated: accept its licence on {page}, then log in or set HF_TOKEN to a "
            f"token of that account.{_copy(repository)}"
        )
    if isinstance(error, RevisionNotFoundError):
        return UsageError(
            f"{name}: the repository has no such revision; its branches and commits are listed "
            f"on {page}/commits."
        )
    if isinstance(error, RepositoryNotFoundError):
        near = ", ".join(nearest_names(name))
        private = "(or it is private: then set HF_TOKEN)"
        return UsageError(f"the hub has no model {repository} {private}. Did you mean {near}?")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
    return ResourceError(f"the hub could not be reached for {name} ({reason}).{_copy(repository)}")


def _copy(repository: str) -> str:
    snapshots = cache_folder() / f"models--{repository.replace('/', '--')}" / "snapshots"
    present = any(snapshots.glob("*/*.safetensors"))
    return " A cached copy is here: --offline uses it." if present else " No cached copy is here."


@contextmanager
def _without_bars() -> Iterator[None]:
    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not silent:
            enable_progress_bars()
