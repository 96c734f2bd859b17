"""A Ray cluster (extra `ray`): the one that is there, or one of this machine for as long as it is
needed.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from interp.errors import ResourceError


@contextmanager
def ray_cluster(workers: int) -> Iterator[Any]:
    """The module `ray`, joined to the cluster that RAY_ADDRESS names, or that this process has
    joined already; else to one of this machine with so many workers, which ends with the block.

    Raises `ResourceError` where Ray is not installed, or can be neither started nor joined.
    """
    try:
        import ray
    except ImportError as error:
        raise ResourceError(
            "executor ray needs the extra `ray`: pip install 'emotion-interp[ray]'."
        ) from error
    if ray.is_initialized():
        yield ray
        return
    alone: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    where = {} if os.environ.get("RAY_ADDRESS") else alone
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ResourceError(
            f"Ray cannot be started or joined ({told}): see RAY_ADDRESS."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
